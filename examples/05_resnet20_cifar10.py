"""LionHeart's first run: ResNet20 for CIFAR-10, layer by layer, trained under noise, two points allowed.

    python 05_resnet20_cifar10.py --data FOLDER
    python 05_resnet20_cifar10.py --data FOLDER --weights resnet20.onnx --samples 2000
    python 05_resnet20_cifar10.py --data FOLDER --no-training     # lhc's own search, without a training: minutes

FOLDER holds CIFAR-10 as torchvision lays it out (``cifar-10-batches-py``, from www.cs.toronto.edu/~kriz/cifar.html), or
in another layout of `lhc.models.cifar10`. Weights are an ONNX file of ``python -m lhc.models.train_resnet20 --cifar
FOLDER``, or a state dict or ``.npz`` with the names of github.com/akamaster/pytorch_resnet_cifar10 (``resnet20-*.th``
there); without ``--weights`` they are looked for in FOLDER.

LionHeart's walk trains for every layer that it tries: hours on a processor. ``--steps`` and ``--rounds`` cut it short.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import lhc
from lhc.errors import LhcError
from lhc.models import cifar10, zoo_entry
from lhc.samples.metrics import get_metric

NAMES = ("resnet20.onnx", "resnet20_cifar10.npz", "models/resnet20_cifar10.npz", "resnet20-12fca82f.th")
BUDGET = 0.02


def images(split: cifar10.Split, folder: Path) -> lhc.Task:
    """Images and labels, judged by accuracy."""
    where = folder / "cifar10" if (folder / "cifar10").is_dir() else folder
    x, labels = cifar10.load(split, where)
    return lhc.Task({"x": x}, labels, get_metric("accuracy"), finite=True)


def network(folder: Path, weights: Path | None) -> onnx.ModelProto:
    """ResNet20 with the weights that were given, or are found."""
    path = weights or next((folder / name for name in NAMES if (folder / name).is_file()), None)
    if path is None:
        raise SystemExit(
            f"no weights of ResNet20 in {folder}: expected {' or '.join(NAMES)}. Take resnet20-12fca82f.th from"
            " github.com/akamaster/pytorch_resnet_cifar10, or train them: python -m lhc.models.train_resnet20"
            f" --cifar {folder} -o {folder / NAMES[0]}"
        )
    return onnx.load(path) if path.suffix == ".onnx" else zoo_entry("resnet20").model(path)


def accuracy(session: lhc.HybridSession | onnxruntime.InferenceSession, task: lhc.Task) -> float:
    """Share of images whose greatest logit is that of their label."""
    classes = [session.run(None, dict(feeds))[0].argmax(1) for _, feeds in task.blocks(250)]
    return float((np.concatenate(classes) == task.targets).mean())


def arguments() -> argparse.Namespace:
    """What the user wants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--weights", type=Path, metavar="FILE")
    parser.add_argument("--no-training", action="store_true", help="lhc's search instead of LionHeart's walk")
    parser.add_argument("--samples", type=int, default=5000, help="test images that decide; the others confirm")
    parser.add_argument("--steps", type=int, default=390, help="of a round of training: one epoch of batches of 128")
    parser.add_argument("--rounds", type=int, help="at most so many rounds for a layer")
    parser.add_argument("--draws", type=int, default=10, help="chips that judge a placement")
    parser.add_argument("--chips", type=int, default=10, help="fresh chips that confirm it")
    parser.add_argument("-o", "--out", type=Path, help="keep the placed network here")
    return parser.parse_args()


def main() -> None:
    """Partition with the first test images, then confirm with the others on fresh chips."""
    options = arguments()
    test = images("test", options.data)
    given = network(options.data, options.weights)
    deciding, others = test.head(options.samples), test.take(slice(options.samples, None))
    how = {"max_drop": BUDGET, "draws": options.draws, "objective": "macs"}
    if not options.no_training:
        how |= {
            "strategy": "lionheart-original",
            "retrain": True,
            "train_data": images("train", options.data),
            "augment": "crop-flip",
            "steps": options.steps,
            "rounds": options.rounds,
        }
    result = lhc.partition(given, deciding, **how)
    print(result.summary)
    if options.out is not None:
        result.save(options.out)
    digital = accuracy(onnxruntime.InferenceSession(given.SerializeToString()), others)
    found = []
    for chip in range(options.chips):
        session = lhc.HybridSession(result.model, placement=result.plan, seed=1000 + chip)
        if session.hardware.corrects_outputs:
            session.calibrate(deciding)
        found.append(accuracy(session, others))
    spread = f", standard deviation {np.std(found, ddof=1):.2%}" if len(found) > 1 else ""
    print(f"{digital:.2%} digital as given, {np.mean(found):.2%} on {options.chips} fresh chips{spread}")


if __name__ == "__main__":
    try:
        main()
    except LhcError as error:
        sys.exit(f"error: {error}")
