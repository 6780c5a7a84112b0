"""Folders and archives from anywhere: what is whole is read as numpy reads it, what is not is refused by name."""

import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lhc.samples.npy_files
from lhc.errors import DataError
from lhc.samples.metrics import Array
from lhc.samples.npy_files import open_npy, read_npz
from lhc.samples.sample_folder import Shards, read_folder

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def npy_bytes(array: Array, version: tuple[int, int] | None = None) -> bytes:
    stream = BytesIO()
    np.lib.format.write_array(stream, array, version)
    return stream.getvalue()


def header_bytes(text: str, version: int = 1, length: int | None = None) -> bytes:
    """A .npy file of no values with this header, and the length it declares for it."""
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode()


def declaring(shape: str = "(4, 3)", dtype: str = "<f4", order: str = "False") -> bytes:
    return header_bytes(f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}}}\n")


def write_zip(path: Path, members: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


# What is whole

plain = st.sampled_from(["f2", "f4", "f8", ">f4", "i1", "u1", "i4", ">i8", "u8", "?", "c8", "U3", "S2"]).map(np.dtype)
wholes = plain.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=7))
)
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(array=wholes, data=st.data())
@in_one_folder
def test_rows_of_a_file_are_those_of_the_array(array: Array, data: st.DataObject, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array)
    found = read_folder(tmp_path)["x"]
    assert (found.shape, found.dtype, found.ndim, len(found)) == (array.shape, array.dtype, array.ndim, len(array))
    where = data.draw(st.slices(len(array)))
    assert found[where].tobytes() == array[where].tobytes()
    if len(array):
        indices = data.draw(hnp.arrays(np.int64, st.integers(0, 9), elements=st.integers(0, len(array) - 1)))
        assert found[indices].tobytes() == array[indices].tobytes()
    assert np.asarray(found).tobytes() == array.tobytes()


@given(array=wholes, cuts=st.lists(st.integers(0, 7), max_size=4), packed=st.booleans(), data=st.data())
@in_one_folder
def test_rows_of_shards_are_those_of_the_array(
    array: Array, cuts: list[int], packed: bool, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    save = np.savez_compressed if packed else np.savez
    for number, part in enumerate(np.split(array, sorted(min(cut, len(array)) for cut in cuts))):
        save(folder / f"{number}.npz", x=part if number else np.asfortranarray(part))
    found = read_folder(folder)["x"]
    assert isinstance(found, Shards)
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
    where = data.draw(st.slices(len(array)))
    assert found[where].tobytes() == array[where].tobytes()
    if len(array):
        indices = data.draw(hnp.arrays(np.int64, st.integers(0, 9), elements=st.integers(0, len(array) - 1)))
        assert found[indices].tobytes() == array[indices].tobytes()


def test_shards_are_read_one_at_a_time(tmp_path: Path) -> None:
    for number in range(4):
        np.savez(tmp_path / f"{number}.npz", x=np.full((100, 10_000), number, np.float32))
    shard = 100 * 10_000 * 4
    found = read_folder(tmp_path)["x"]
    tracemalloc.start()
    for start in range(0, 400, 50):
        assert (found[start : start + 50] == start // 100).all()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * shard, "one shard, and the half of one that was asked for; numpy reads in pieces"


def test_links_are_followed_and_other_files_left_alone(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    for path in (elsewhere, folder, folder / "nested"):
        path.mkdir()
    np.save(elsewhere / "a.npy", X)
    (folder / "x.npy").symlink_to(elsewhere / "a.npy")
    (folder / "README.md").write_text("what this is")
    (folder / "._x.npy").write_bytes(b"left by another system")
    np.save(folder / "nested" / "y.npy", X)
    found = read_folder(folder)
    assert set(found) == {"x"}
    np.testing.assert_array_equal(found["x"], X, strict=True)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(version: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(npy_bytes(X, version=version))
    np.testing.assert_array_equal(open_npy(tmp_path / "x.npy"), X, strict=True)


# What is not

FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not an array in .npy format"),
    "text": (b"1, 2, 3\n" * 50, "not an array in .npy format"),
    "magic alone": (b"\x93NUMPY\x01\x00", "the header is damaged"),
    "cut short": (npy_bytes(X)[:-1], r"declares \(4, 3\) float32, 176 bytes, but has 175; it was cut short"),
    "header alone": (declaring(), "it was cut short"),
    "declares far more than there is": (declaring("(10**12, 3)".replace("10**12", str(10**12))), "it was cut short"),
    "product of axes beyond 64 bits": (declaring(f"({2**62}, {2**62})"), "it was cut short"),
    "negative axis": (declaring("(-4, 3)"), "the header is damaged"),
    "axis that is no number": (declaring("('4', 3)"), "the header is damaged"),
    "shape that is no tuple": (declaring("4"), "the header is damaged"),
    "order that is no truth value": (declaring(order="'no'"), "the header is damaged"),
    "type that is none": (declaring(dtype="<q7"), "the header is damaged"),
    "code": (header_bytes("__import__('os').abort()"), "the header is damaged"),
    "open parentheses": (header_bytes("(" * 9000), "the header is damaged"),
    "many signs": (header_bytes("-" * 9000 + "1"), "the header is damaged"),
    "no header": (header_bytes(""), "the header is damaged"),
    "unknown version": (header_bytes("{}", version=9), "the header is damaged"),
    "long header": (header_bytes(" " * 20_000), "has a header of 20000 bytes"),
    "header of four gigabytes": (header_bytes("{}", version=2, length=2**32 - 1), "has a header of 4294967295 bytes"),
    "objects": (npy_bytes(np.array([{}], object)), "holds pickled objects.*refused"),
    "records": (npy_bytes(np.zeros(3, [("a", "f4"), ("b", "i4")])), r"holds values of type .*plain arrays of numbers"),
    "records in records": (declaring(dtype="(1000000,1000000)f4"), "holds values of type|header is damaged"),
    "raw bytes": (npy_bytes(np.zeros(3, "V7")), "holds values of type"),
    "dates": (npy_bytes(np.zeros(3, "M8[s]")), "holds values of type"),
    "strings of no length": (declaring(f"({10**18},)", "|S0"), "holds values of type"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_plain_array_is_refused(case: str, tmp_path: Path) -> None:
    content, message = FILES[case]
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        open_npy(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("case", FILES)
def test_so_it_is_in_an_archive(case: str, packing: int, tmp_path: Path) -> None:
    content, message = FILES[case]
    path = tmp_path / "x.npz"
    write_zip(path, {"y.npy": npy_bytes(X), "x.npy": content}, packing)
    in_archive = message.replace("; it was cut short", "").replace("it was cut short", "declares")
    with pytest.raises(DataError, match=in_archive) as error:
        read_npz(path)
    assert str(error.value).startswith(f"{path}: 'x'")


def test_fortran_order_is_refused_in_a_folder_and_read_in_an_archive(tmp_path: Path) -> None:
    turned = np.asfortranarray(X)
    np.savez(tmp_path / "x.npz", x=turned)
    np.testing.assert_array_equal(read_npz(tmp_path / "x.npz")["x"], X)
    np.save(tmp_path / "x.npy", turned)
    with pytest.raises(DataError, match=r"is in Fortran order.*save numpy.ascontiguousarray"):
        open_npy(tmp_path / "x.npy")


# Archives that lie


def write_lie(path: Path, content: bytes, size: int) -> None:
    """An archive of one packed member, whose directory gives another size."""
    write_zip(path, {"x.npy": content}, zipfile.ZIP_DEFLATED)
    true, told = (struct.pack("<I", number) for number in (len(content), size))
    archive = path.read_bytes()
    assert archive.count(true) == 2, "before the member, and in the directory"
    path.write_bytes(archive.replace(true, told))


def test_an_archive_that_would_unpack_to_far_more_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "zeros.npz"
    np.savez_compressed(path, x=np.zeros((1000, 1000)))
    assert read_npz(path)["x"].shape == (1000, 1000), "harmless at this size, though it packs well"
    monkeypatch.setattr(lhc.samples.npy_files, "RATIO_FREE_BYTES", 2**20)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"would unpack from \d+ bytes to 8000128.*exhaust memory"):
        read_npz(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
    np.savez(path, x=np.zeros((1000, 1000)))
    assert read_npz(path)["x"].shape == (1000, 1000), "as large, but not packed"


def test_many_small_bombs_are_counted_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lhc.samples.npy_files, "RATIO_FREE_BYTES", 2**20)
    np.savez_compressed(tmp_path / "zeros.npz", **{f"x{i}": np.zeros(2**15) for i in range(5)})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="would unpack"):
        read_npz(tmp_path / "zeros.npz")


@pytest.mark.parametrize(("said", "there"), [(10, 10**7), (10**6, 10)], ids=["understated", "overstated"])
def test_a_member_of_another_size_than_the_directory_says_is_found_out(said: int, there: int, tmp_path: Path) -> None:
    """Before it is unpacked."""
    header = declaring(f"({said},)", "|u1")
    write_lie(tmp_path / "x.npz", header + bytes(there), len(header) + said)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"x.npz: not an .npz file, or a damaged one"):
        read_npz(tmp_path / "x.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 10**6


def _damage(path: Path, where: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 0xFF
    path.write_bytes(content)


@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@in_one_folder
def test_a_damaged_file_is_refused_or_holds_what_it_declares(where: float, bit: int, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    content = bytearray(npy_bytes(X))
    content[int(where * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        found = np.asarray(open_npy(path))
    except DataError:
        return
    assert found.nbytes <= len(content)


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@given(where=st.floats(0, 1, exclude_max=True))
@in_one_folder
def test_a_damaged_archive_is_refused_or_read_as_it_was(packing: int, where: float, tmp_path: Path) -> None:
    path, noise = tmp_path / "x.npz", np.random.default_rng(0).integers(0, 5, (40, 50))
    write_zip(path, {"x.npy": npy_bytes(noise)}, packing)
    _damage(path, where)
    try:
        found = read_npz(path)
    except DataError:
        return
    # Bytes that say nothing of the content (a date, a name) may change.
    (array,) = found.values()
    np.testing.assert_array_equal(array, noise, strict=True)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    write_zip(path, {"x.npy": npy_bytes(X)})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not an .npz file, or a damaged one.*password"):
        read_npz(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["x.npy", "x"])
def test_a_key_that_an_archive_holds_twice_is_refused(second: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", npy_bytes(X))
        archive.writestr(second, npy_bytes(-X))
    with pytest.raises(DataError, match="holds 'x' twice"):
        read_npz(tmp_path / "x.npz")


# Folders


@dataclass(frozen=True)
class BadFolder:
    id: str
    write: Callable[[Path], object]
    message: str


def _shards(first: dict[str, Array], second: dict[str, Array]) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        np.savez(folder / "a.npz", **first)  # type: ignore[arg-type]
        np.savez(folder / "b.npz", **second)  # type: ignore[arg-type]

    return write


def _both(folder: Path) -> None:
    np.save(folder / "x.npy", X)
    np.savez(folder / "y.npz", x=X)


BAD_FOLDERS = [
    BadFolder("empty", lambda folder: None, "holds no .npy or .npz files"),
    BadFolder("hidden files only", lambda folder: np.save(folder / ".x.npy", X), "holds no .npy or .npz files"),
    BadFolder("both kinds", _both, "holds both x.npy and y.npz"),
    BadFolder("folder called npy", lambda folder: (folder / "x.npy").mkdir(), r"x.npy: not a file"),
    BadFolder("pipe", lambda folder: os.mkfifo(folder / "x.npy"), r"x.npy: not a file"),
    BadFolder("device", lambda folder: (folder / "x.npz").symlink_to("/dev/zero"), r"x.npz: not a file"),
    BadFolder("dead link", lambda folder: (folder / "x.npy").symlink_to("nowhere"), r"x.npy: no such file"),
    BadFolder("other keys", _shards({"x": X}, {"y": X}), "b.npz: has keys y, a.npz has x; every shard"),
    BadFolder("key missing", _shards({"x": X, "y": X}, {"x": X}), "b.npz: has keys x, a.npz has x, y"),
    BadFolder("other type", _shards({"x": X}, {"x": X.astype(float)}), r"b.npz: 'x' is \(4, 3\) float64, in a.npz"),
    BadFolder("other shape", _shards({"x": X}, {"x": X[:, :2]}), r"b.npz: 'x' is \(4, 2\) .* may differ in the first"),
    BadFolder("other rank", _shards({"x": X}, {"x": X[0]}), r"b.npz: 'x' is \(3,\) float32"),
    BadFolder("axes and none", _shards({"x": X[:, 0]}, {"x": X[0, 0]}), r"b.npz: 'x' is \(\) float32"),
    BadFolder("other scalar", _shards({"x": X, "s": X[0, 0]}, {"x": X, "s": X[0, 1]}), "b.npz: 's' is 1.0, in a.npz"),
    BadFolder(
        "lengths",
        _shards({"x": X, "y": X}, {"x": X, "y": X[:3]}),
        "b.npz: arrays of different length: '[^{]*'y': 3 samples; ",
    ),
    BadFolder(
        "damaged shard", lambda folder: (folder / "a.npz").write_bytes(b"PK\x03\x04 nonsense"), "a.npz: .*damaged"
    ),
]


@pytest.mark.parametrize("case", BAD_FOLDERS, ids=lambda case: case.id)
def test_a_folder_that_makes_no_sense_is_refused(case: BadFolder, tmp_path: Path) -> None:
    case.write(tmp_path)
    with pytest.raises(DataError, match=case.message) as error:
        read_folder(tmp_path)
    assert str(error.value).startswith(str(tmp_path))


def test_a_file_that_is_cut_short_during_a_run(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, X)
    found = read_folder(tmp_path)["x"]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"x.npy: has changed while lhc was reading it"):
        found[:3]
    with pytest.raises(DataError, match=r"x.npy: was cut short while lhc was reading it"):
        found[2:]
    path.unlink()
    with pytest.raises(DataError, match=r"x.npy: cannot be read: No such file"):
        found[:1]


def test_a_file_that_changes_during_a_run(tmp_path: Path) -> None:
    """By name, also where size and type stay, and where another file takes its place."""
    path = tmp_path / "x.npy"
    np.save(path, X)
    found = read_folder(tmp_path)["x"]
    np.testing.assert_array_equal(found[:], X)
    np.save(tmp_path / "other", X + 1)
    (tmp_path / "other.npy").replace(path)
    with pytest.raises(DataError, match=r"x.npy: has changed while lhc was reading it; nothing is kept"):
        found[2:]
    np.testing.assert_array_equal(read_folder(tmp_path)["x"], X + 1)


def test_a_shard_that_changes_during_a_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", x=X)
    found = read_folder(tmp_path)["x"]
    np.savez(tmp_path / "b.npz", x=X[:2])
    np.testing.assert_array_equal(found[:4], X)
    with pytest.raises(DataError, match=r"b.npz: has changed while lhc was reading it"):
        found[4:]
    np.savez(tmp_path / "b.npz", y=X)
    with pytest.raises(DataError, match=r"b.npz: has changed while lhc was reading it"):
        found[4:]
