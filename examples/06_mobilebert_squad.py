"""LionHeart's second run: MobileBERT on SQuAD v1.1, two points of F1 allowed.

    python 06_mobilebert_squad.py --data FOLDER --weights CHECKPOINT

FOLDER holds ``dev-v1.1.json`` (rajpurkar.github.io/SQuAD-explorer) and BERT's word pieces, as `lhc.models.squad` and
`lhc.models.tokens` look for them below ``LHC_DATA``. CHECKPOINT is a folder that ``save_pretrained`` of Hugging Face's
transformers wrote of ``csarron/mobilebert-uncased-squad-v1``, the checkpoint that LionHeart's code names; without
``--weights`` it is ``FOLDER/models/mobilebert-uncased-squad-v1``. Needs ``pip install 'lhc[mobilebert]'``.

LionHeart tries 169 layers, training for each. Here lhc ranks the 362 products and searches, without a training: its own
``--retrain`` of this network takes days on a processor. Even so it takes hours; ``--samples`` and ``--draws`` cut it.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime

import lhc
from lhc.errors import LhcError
from lhc.models.mobilebert import FOLDER, MobileBert
from lhc.models.zoo_entry import DATA_VARIABLE

BUDGET = 0.02


def f1(session: lhc.HybridSession | onnxruntime.InferenceSession, task: lhc.Task) -> float:
    """Mean F1 of the answers, by SQuAD's own rule."""
    assert task.targets is not None
    spans = [session.run(None, dict(feeds))[0] for _, feeds in task.blocks(8)]
    return float(np.mean(task.metric.score(np.concatenate(spans), task.targets)))


def arguments() -> argparse.Namespace:
    """What the user wants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--weights", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--samples", type=int, default=1000, help="questions that decide; as many others confirm")
    parser.add_argument("--draws", type=int, default=5, help="chips that judge a placement")
    parser.add_argument("--chips", type=int, default=5, help="fresh chips that confirm it")
    parser.add_argument("-o", "--out", type=Path, help="keep the placed network here")
    return parser.parse_args()


def main() -> None:
    """Partition with the first questions, then confirm with others on fresh chips."""
    options = arguments()
    os.environ[DATA_VARIABLE] = str(options.data.resolve())
    entry = MobileBert()
    task = entry.task()
    weights = options.weights or options.data / FOLDER
    if not (weights / "config.json").is_file():
        raise SystemExit(
            f"no checkpoint of MobileBERT in {weights}: save csarron/mobilebert-uncased-squad-v1 there by"
            " save_pretrained of transformers, or name its folder by --weights"
        )
    given = entry.model(weights)
    deciding = task.head(options.samples)
    others = task.take(slice(options.samples, 2 * options.samples))
    result = lhc.partition(given, deciding, max_drop=BUDGET, draws=options.draws, objective="macs")
    print(result.summary)
    if options.out is not None:
        result.save(options.out)
    digital = f1(onnxruntime.InferenceSession(given.SerializeToString()), others)
    found = []
    for chip in range(options.chips):
        session = lhc.HybridSession(result.model, placement=result.plan, seed=1000 + chip)
        if session.hardware.corrects_outputs:
            session.calibrate(deciding)
        found.append(f1(session, others))
    spread = f", standard deviation {np.std(found, ddof=1):.2%}" if len(found) > 1 else ""
    print(f"F1 {digital:.2%} digital, {np.mean(found):.2%} on {options.chips} fresh chips{spread}")


if __name__ == "__main__":
    try:
        main()
    except LhcError as error:
        sys.exit(f"error: {error}")
