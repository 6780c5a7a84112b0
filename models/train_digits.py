"""Train the network of the zoo's entry ``digits`` and write the files that ship with the package.

``python -m lhc.models.train_digits [FOLDER]`` writes ``digits.onnx`` and ``digits.npz`` (default: this package's
``data`` folder). It needs scikit-learn, whose digits it uses: 1,797 images of 8x8 pixels (E. Alpaydin and C. Kaynak,
Optical Recognition of Handwritten Digits, UCI, 1998). 1,000 of them train the network; the other 797 are written to
``digits.npz``, are never trained on, and decide nothing: the network is the last one of a fixed schedule. Width,
depth, schedule and budget were chosen on the split of seed 0; the network that ships is from that of seed 1.

The network is deep and narrow on purpose, 14 layers of 8 channels: few columns to average noise over and many layers
for it to pass. A ResNet-8 of the same width loses half a point when all of it is analog, which leaves no choice.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnx

if TYPE_CHECKING:
    import torch

    from lhc.models.networks import ResidualNet

__all__ = ["Split", "digits_split", "main", "train", "write"]

CHANNELS, WIDTHS, BLOCKS, CLASSES = 1, (8, 8), 3, 10
TRAINING_SAMPLES = 1000
SPLIT_SEED, TRAINING_SEED = 1, 1
EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 100, 100, 0.01, 0.01

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Split = tuple[tuple[Images, Labels], tuple[Images, Labels]]
"""Images and labels to train on, and those held out."""


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


def train(images: Images, labels: Labels, seed: int = TRAINING_SEED, epochs: int = EPOCHS) -> "ResidualNet":
    """Train on one thread: AdamW, one learning-rate cycle, images shifted by up to one pixel."""
    import torch
    from torch.nn import functional

    from lhc.models.networks import ResidualNet

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    network = ResidualNet(CHANNELS, WIDTHS, BLOCKS, CLASSES).train()
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    steps = epochs * (len(x) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(epochs):
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


def write(folder: Path, epochs: int = EPOCHS) -> tuple[float, float]:
    """Train, then write ``digits.onnx`` and ``digits.npz``; gives the accuracy on both parts of the split."""
    import torch

    from lhc.models.export import export_onnx
    from lhc.models.networks import fold_batch_norms

    (images, labels), (held_out, held_out_labels) = digits_split()
    network = fold_batch_norms(train(images, labels, epochs=epochs))
    model = export_onnx(network, torch.zeros(2, *images.shape[1:]))
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "digits.onnx")
    np.savez_compressed(folder / "digits.npz", x=held_out, labels=held_out_labels)
    return _accuracy(network, images, labels), _accuracy(network, held_out, held_out_labels)


def _accuracy(network: "ResidualNet", images: Images, labels: Labels) -> float:
    import torch

    with torch.no_grad():
        classes = network(torch.from_numpy(images)).argmax(1).numpy()
    return float((classes == labels).mean())


def main(arguments: list[str] | None = None) -> None:
    """Command line: an optional folder to write to."""
    arguments = sys.argv[1:] if arguments is None else arguments
    folder = Path(arguments[0]) if arguments else Path(__file__).parent / "data"
    training, held_out = write(folder)
    print(f"accuracy: training {training:.2%}, held out {held_out:.2%}; written to {folder}")


if __name__ == "__main__":
    main()
