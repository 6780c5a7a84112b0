"""CIFAR-10 images from a folder, in any of three layouts.

- torchvision's: ``cifar-10-batches-py/`` with ``test_batch`` and ``data_batch_1`` ... ``data_batch_5``. These are
  pickles; they are read by an unpickler that knows arrays and nothing else, so a file cannot run code.
- ``test.npz`` and ``train.npz``: ``x`` uint8, ``(n, 32, 32, 3)`` or ``(n, 3, 32, 32)``, and ``labels``.
- compact: ``test.u8.xz`` with ``test_labels.npy``, ``train_0.u8.xz`` ... ``train_4.u8.xz`` with
  ``train_labels.npy``. The planes G, R-G, B-G (mod 256), of each the differences down, then right (mod 256), then xz.

Data set: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import lzma
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError
from lhc.models.pickled_arrays import unpickled
from lhc.models.zoo_entry import DATA_VARIABLE, data_folder

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Of red, green and blue in 0..1: ImageNet's, which the public ResNet20 weights were trained with."""

Split = Literal["test", "train"]
Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Reader = Callable[[Path, Split], tuple[Pixels, npt.NDArray[np.generic]]]

_BATCHES = {"test": ["test_batch"], "train": [f"data_batch_{number}" for number in range(1, 6)]}
_COMPACT = {"test": ["test.u8.xz"], "train": [f"train_{number}.u8.xz" for number in range(5)]}
_UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, IndexError, AttributeError, TypeError, OverflowError,
    lzma.LZMAError, pickle.UnpicklingError, zipfile.BadZipFile,
)  # fmt: skip


def load(split: Split, folder: Path | None = None) -> tuple[npt.NDArray[np.float32], Labels]:
    """Normalised images ``(n, 3, 32, 32)`` and labels ``(n,)``, in the data set's order.

    Args:
        split: ``test`` or ``train``.
        folder: holds one of the layouts; None looks in ``$LHC_DATA/cifar10``, then in ``$LHC_DATA``.

    Raises:
        DataError: the images are not found or cannot be read; the message says where it looked.
    """
    folders = _default_folders() if folder is None else [folder]
    for where in folders:
        for marker, reader in _readers(split):
            if (where / marker).exists():
                return _read(where, split, reader)
    raise DataError(
        f"no CIFAR-10 {split} images in {' or '.join(map(str, folders))}: expected"
        f" {' or '.join(marker for marker, _ in _readers(split))}"
    )


def normalize(pixels: Pixels) -> npt.NDArray[np.float32]:
    """``(n, 32, 32, 3)`` or ``(n, 3, 32, 32)`` pixels 0..255 to ``(n, 3, 32, 32)``, ``(x / 255 - mean) / std``."""
    planes = pixels.transpose(0, 3, 1, 2) if pixels.shape[-1] == 3 else pixels
    scaled = planes.astype(np.float32, order="C")
    scaled /= np.float32(255)
    scaled -= np.array(MEAN, np.float32).reshape(3, 1, 1)
    scaled /= np.array(STD, np.float32).reshape(3, 1, 1)
    return scaled


def _default_folders() -> list[Path]:
    root = data_folder()
    if root is None:
        raise DataError(f"CIFAR-10 is not part of the package; set {DATA_VARIABLE} to the folder that holds cifar10/")
    return [root / "cifar10", root]


def _readers(split: Split) -> list[tuple[str, Reader]]:
    return [
        (f"cifar-10-batches-py/{_BATCHES[split][0]}", _read_batches),
        (f"{split}.npz", _read_npz),
        (_COMPACT[split][0], _read_compact),
    ]


def _read(folder: Path, split: Split, reader: Reader) -> tuple[npt.NDArray[np.float32], Labels]:
    try:
        pixels, labels = reader(folder, split)
    except _UNREADABLE as error:
        raise DataError(f"{folder}: CIFAR-10 {split} images cannot be read: {error}") from error
    shapes = ((len(labels), 32, 32, 3), (len(labels), 3, 32, 32))
    if pixels.dtype != np.uint8 or pixels.shape not in shapes or labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(
            f"{folder}: CIFAR-10 {split}: expected {len(labels)} uint8 images of 32x32x3 or 3x32x32 with one integer"
            f" label each; found images {pixels.dtype} {pixels.shape}, labels {labels.dtype} {labels.shape}"
        )
    return normalize(pixels), labels.astype(np.int64)


def _read_batches(folder: Path, split: Split) -> tuple[Pixels, npt.NDArray[np.generic]]:
    images, labels = [], []
    for name in _BATCHES[split]:
        batch = unpickled((folder / "cifar-10-batches-py" / name).read_bytes(), encoding="latin1")
        images.append(np.asarray(batch["data"]).reshape(-1, 3, 32, 32))
        labels.append(np.asarray(batch["labels"]))
    return np.concatenate(images), np.concatenate(labels)


def _read_npz(folder: Path, split: Split) -> tuple[Pixels, npt.NDArray[np.generic]]:
    with (folder / f"{split}.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return arrays["x"], arrays["labels"]


def _read_compact(folder: Path, split: Split) -> tuple[Pixels, npt.NDArray[np.generic]]:
    images = [_decode(folder / name) for name in _COMPACT[split]]
    labels = np.load(folder / f"{split}_labels.npy", allow_pickle=False)
    return np.concatenate(images), labels


def _decode(path: Path) -> Pixels:
    """Undo the differences of a compact file: pixels ``(n, 32, 32, 3)``."""
    with lzma.open(path) as file:
        planes = np.frombuffer(file.read(), np.uint8).reshape(3, -1, 32, 32)
    planes = np.cumsum(np.cumsum(planes, 2, dtype=np.uint8), 3, dtype=np.uint8)
    green, red, blue = planes
    return np.stack([red + green, green, blue + green], axis=-1)
