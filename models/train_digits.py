"""Train the networks of the zoo's entries ``digits`` and ``digits-narrow`` and write the files that ship.

``python -m lhc.models.train_digits [FOLDER]`` writes ``digits.onnx``, ``digits-narrow.onnx`` and ``digits.npz``
(default: this package's ``data`` folder); a minute or two on one core. It needs scikit-learn, whose digits it uses:
1,797 images of 8x8 pixels (E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998). 1,000 of
them train the networks; the other 797 are written to ``digits.npz``, are never trained on, and the schedules are
fixed: a network is the last one of its schedule. They did decide two things: the width of ``digits`` between its first
blocks and the length of its schedule were chosen with what noise costs there, so that there is a choice to make.

``digits`` is wide inside its blocks (240 of a tile's 255 columns), where tiles pay, and narrow between them, where
noise goes through. ``digits-narrow`` is 14 layers of 8 channels: too narrow for tiles to save anything, quick to
emulate. Its width, depth, schedule and budget were chosen on the split of seed 0; the files are from that of seed 1.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnx

if TYPE_CHECKING:
    import torch
    from torch import nn

TRAINING_SAMPLES = 1000
SPLIT_SEED, TRAINING_SEED = 1, 1
BATCH, WEIGHT_DECAY = 100, 0.01

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Split = tuple[tuple[Images, Labels], tuple[Images, Labels]]
"""Images and labels to train on, and those held out."""


def _wide() -> "nn.Module":
    from lhc.models.residual_networks import ExpandingNet

    return ExpandingNet(channels=1, widths=(8, 16, 80), blocks=(2, 4, 5), expanded=240, classes=10)


def _narrow() -> "nn.Module":
    from lhc.models.residual_networks import ResidualNet

    return ResidualNet(channels=1, widths=(8, 8), blocks=3, classes=10)


@dataclass(frozen=True)
class Recipe:
    """Recipe of a network: its layers, and how it is trained.

    Attributes:
        epochs: over the training samples.
        learning_rate: greatest of the cycle.
    """

    network: "Callable[[], nn.Module]"
    epochs: int
    learning_rate: float


RECIPES: Mapping[str, Recipe] = {"digits": Recipe(_wide, 30, 0.002), "digits-narrow": Recipe(_narrow, 100, 0.01)}
"""By name of the zoo's entry."""


def digits_split(seed: int = SPLIT_SEED) -> Split:
    """scikit-learn's digits as images ``(n, 1, 8, 8)`` in 0..1, split with the same share of every class."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, np.newaxis]
    labels = digits.target.astype(np.int64)
    training, held_out = train_test_split(
        np.arange(len(labels)), train_size=TRAINING_SAMPLES, stratify=labels, random_state=seed
    )
    return (images[training], labels[training]), (images[held_out], labels[held_out])


def train(images: Images, labels: Labels, recipe: Recipe, seed: int = TRAINING_SEED) -> "nn.Module":
    """Train on one thread: AdamW, one learning-rate cycle, images shifted by up to one pixel."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    network = recipe.network().train()
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    steps = recipe.epochs * (len(x) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps)
    for _ in range(recipe.epochs):
        order = torch.randperm(len(x))
        for batch in order[: len(x) // BATCH * BATCH].reshape(-1, BATCH):
            loss = functional.cross_entropy(network(_shift(x[batch])), y[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval()


def _shift(images: "torch.Tensor") -> "torch.Tensor":
    """Move a batch by -1, 0 or 1 pixel down and right; what comes in is background."""
    import torch
    from torch.nn import functional

    down, right = (int(offset) for offset in torch.randint(0, 3, (2,)))
    return functional.pad(images, (1, 1, 1, 1))[:, :, down : down + 8, right : right + 8]


def write(folder: Path, recipes: Mapping[str, Recipe] = RECIPES) -> dict[str, tuple[float, float]]:
    """Train, then write the networks and ``digits.npz``; gives each one's accuracy on both parts of the split."""
    import torch

    from lhc.models.export import export_onnx
    from lhc.models.residual_networks import fold_batch_norms

    (images, labels), (held_out, held_out_labels) = digits_split()
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "digits.npz", x=held_out, labels=held_out_labels)
    accuracies = {}
    for name, recipe in recipes.items():
        network = fold_batch_norms(train(images, labels, recipe))
        onnx.save(export_onnx(network, torch.zeros(2, *images.shape[1:])), folder / f"{name}.onnx")
        accuracies[name] = _accuracy(network, images, labels), _accuracy(network, held_out, held_out_labels)
    return accuracies


def _accuracy(network: "nn.Module", images: Images, labels: Labels) -> float:
    import torch

    with torch.no_grad():
        classes = network(torch.from_numpy(images)).argmax(1).numpy()
    return float((classes == labels).mean())


def main(arguments: list[str] | None = None) -> None:
    """Command line: an optional folder to write to."""
    arguments = sys.argv[1:] if arguments is None else arguments
    folder = Path(arguments[0]) if arguments else Path(__file__).parent / "data"
    for name, (training, held_out) in write(folder).items():
        print(f"{name}: accuracy: training {training:.2%}, held out {held_out:.2%}")
    print(f"written to {folder}")


if __name__ == "__main__":
    main()
