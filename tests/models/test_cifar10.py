import io
import lzma
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from lhc.errors import DataError
from lhc.models import cifar10

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@pytest.fixture
def images() -> tuple[Pixels, Labels]:
    """Ten images ``(10, 32, 32, 3)`` with their labels."""
    rng = np.random.default_rng(20250817)
    return rng.integers(0, 256, (10, 32, 32, 3), np.uint8), rng.integers(0, 10, 10)


class _Python2Pickler(pickle._Pickler):
    """Writes texts and bytes as Python 2 did, whose texts were bytes."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def _save_text(self: Any, value: str | bytes) -> None:
        raw = value if isinstance(value, bytes) else value.encode("latin1")
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch[str] = _save_text
    dispatch[bytes] = _save_text


def _python2(batch: object) -> bytes:
    file = io.BytesIO()
    _Python2Pickler(file, protocol=2).dump(batch)
    return file.getvalue()


def _batches(folder: Path, pixels: Pixels, labels: Labels, dump: Callable[[object], bytes]) -> None:
    batch = folder / "cifar-10-batches-py"
    batch.mkdir()
    rows = pixels.transpose(0, 3, 1, 2).reshape(-1, 3072)
    (batch / "test_batch").write_bytes(dump({"data": rows, "labels": labels.tolist()}))
    for number in range(5):
        part = slice(2 * number, 2 * number + 2)
        content = {"data": rows[part], "labels": labels[part].tolist()}
        (batch / f"data_batch_{number + 1}").write_bytes(dump(content))


def _compressed(pixels: Pixels) -> bytes:
    green = pixels[..., 1]
    planes = np.stack([green, pixels[..., 0] - green, pixels[..., 2] - green])
    planes = np.diff(planes, axis=2, prepend=np.zeros((3, len(pixels), 1, 32), np.uint8))
    planes = np.diff(planes, axis=3, prepend=np.zeros((3, len(pixels), 32, 1), np.uint8))
    return lzma.compress(planes.tobytes())


def _write_torchvision(folder: Path, pixels: Pixels, labels: Labels) -> None:
    _batches(folder, pixels, labels, _python2)


def _write_repickled(folder: Path, pixels: Pixels, labels: Labels) -> None:
    _batches(folder, pixels, labels, lambda batch: pickle.dumps(batch, protocol=2))


def _write_npz_nhwc(folder: Path, pixels: Pixels, labels: Labels) -> None:
    for split in ("test", "train"):
        np.savez(folder / f"{split}.npz", x=pixels, labels=labels)


def _write_npz_nchw(folder: Path, pixels: Pixels, labels: Labels) -> None:
    for split in ("test", "train"):
        np.savez(folder / f"{split}.npz", x=pixels.transpose(0, 3, 1, 2), labels=labels.astype(np.uint8))


def _write_compact(folder: Path, pixels: Pixels, labels: Labels) -> None:
    (folder / "test.u8.xz").write_bytes(_compressed(pixels))
    for number in range(5):
        (folder / f"train_{number}.u8.xz").write_bytes(_compressed(pixels[2 * number : 2 * number + 2]))
    for split in ("test", "train"):
        np.save(folder / f"{split}_labels.npy", labels.astype(np.uint8))


@pytest.mark.parametrize("split", ["test", "train"])
@pytest.mark.parametrize(
    "write",
    [_write_torchvision, _write_repickled, _write_npz_nhwc, _write_npz_nchw, _write_compact],
    ids=["torchvision", "repickled", "npz-nhwc", "npz-nchw", "compact"],
)
def test_every_layout_gives_the_same_images(
    tmp_path: Path,
    images: tuple[Pixels, Labels],
    write: Callable[[Path, Pixels, Labels], None],
    split: cifar10.Split,
) -> None:
    pixels, labels = images
    write(tmp_path, pixels, labels)

    x, y = cifar10.load(split, tmp_path)

    expected = (pixels / 255 - np.array(cifar10.MEAN)) / np.array(cifar10.STD)
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    np.testing.assert_allclose(x, expected.transpose(0, 3, 1, 2), atol=1e-5)
    np.testing.assert_array_equal(y, labels)


@pytest.mark.parametrize("below", ["cifar10", "."])
def test_the_variable_names_the_folder(
    tmp_path: Path, images: tuple[Pixels, Labels], monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    _write_torchvision(folder, *images)
    monkeypatch.setenv("LHC_DATA", str(tmp_path))

    assert len(cifar10.load("test")[1]) == 10


def test_without_the_variable_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LHC_DATA", raising=False)

    with pytest.raises(DataError, match="set LHC_DATA"):
        cifar10.load("test")


def test_an_empty_folder_is_answered_with_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected cifar-10-batches-py/test_batch or test\.npz or test\.u8\.xz"):
        cifar10.load("test", tmp_path)


class _Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, protocol: int) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    harm = tmp_path / "harm"
    batch = {"data": _Malicious(harm), "labels": [1]}
    (folder / "test_batch").write_bytes(pickle.dumps(batch, protocol=protocol))

    with pytest.raises(DataError, match="refused"):
        cifar10.load("test", tmp_path)

    assert not harm.exists()


def _truncated_pickle(folder: Path) -> None:
    (folder / "cifar-10-batches-py").mkdir()
    (folder / "cifar-10-batches-py" / "test_batch").write_bytes(_python2({"data": [1]})[:-4])


def _list_pickle(folder: Path) -> None:
    (folder / "cifar-10-batches-py").mkdir()
    (folder / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps([1, 2]))


def _object_npz(folder: Path) -> None:
    np.savez(folder / "test.npz", x=np.array([{}], object), labels=np.zeros(1, np.int64))


def _float_npz(folder: Path) -> None:
    np.savez(folder / "test.npz", x=np.zeros((2, 32, 32, 3), np.float32), labels=np.zeros(2, np.int64))


def _fewer_labels(folder: Path) -> None:
    np.savez(folder / "test.npz", x=np.zeros((2, 32, 32, 3), np.uint8), labels=np.zeros(1, np.int64))


def _no_labels(folder: Path) -> None:
    np.savez(folder / "test.npz", x=np.zeros((2, 32, 32, 3), np.uint8))


def _not_a_zip(folder: Path) -> None:
    (folder / "test.npz").write_bytes(b"PK\x03\x04 cut off")


def _truncated_xz(folder: Path) -> None:
    (folder / "test.u8.xz").write_bytes(_compressed(np.zeros((1, 32, 32, 3), np.uint8))[:-20])


@pytest.mark.parametrize(
    "damage",
    [
        _truncated_pickle, _list_pickle, _object_npz, _float_npz,
        _fewer_labels, _no_labels, _not_a_zip, _truncated_xz,
    ],
)  # fmt: skip
def test_damaged_files_give_a_clear_error(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    damage(tmp_path)

    with pytest.raises(DataError, match="CIFAR-10 test"):
        cifar10.load("test", tmp_path)
