"""Functions that yield samples: blocks of any sizes, written to disk once, and gone afterwards."""

import gc
import itertools
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhc.errors import DataError, UsageError
from lhc.onnx_io import load_model
from lhc.onnx_model import OnnxModel
from lhc.pipeline.inputs.samples import load_task
from lhc.samples.metrics import Array
from lhc.samples.streams import from_function
from lhc.samples.task import Samples

X = np.arange(24, dtype=np.float32).reshape(8, 3)
LABELS = np.arange(8)

MODEL = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 3] x) => (float[N, 3] y) { y = Relu (x) }"""


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return load_model(onnx.parser.parse_model(MODEL))


@pytest.fixture(autouse=True)
def spool(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the samples are written."""
    folder = tmp_path_factory.mktemp("spool")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def read(function: Callable[[], object], samples: int | None = None) -> dict[str, Samples]:
    found = from_function(function, "own:blocks", samples)
    assert isinstance(found, dict)
    return found


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(0, 30))
def test_blocks_of_any_sizes_are_one_array(sizes: list[int], samples: int) -> None:
    ends = list(itertools.accumulate(sizes))
    array = np.random.default_rng(0).normal(size=(ends[-1], 2, 2))

    def blocks() -> Iterator[dict[str, Array]]:
        for start, stop in zip([0, *ends], ends, strict=False):
            yield {"x": array[start:stop], "labels": np.arange(start, stop)}

    for most in (None, samples):
        found = read(blocks, most)
        np.testing.assert_array_equal(found["x"], array[:most], strict=True)
        np.testing.assert_array_equal(found["labels"], np.arange(ends[-1])[:most], strict=True)


def test_a_function_is_called_once_and_its_samples_read_as_often_as_needed(model: OnnxModel) -> None:
    calls = []

    def blocks() -> Iterator[dict[str, Array]]:
        calls.append(1)
        # A generator of random pictures would otherwise give others every time.
        yield {"x": np.random.default_rng(len(calls)).normal(size=(5, 3)).astype(np.float32)}

    task = load_task(blocks, model)
    again = [np.array(feeds["x"]) for _ in range(2) for _, feeds in task.blocks(5)]
    np.testing.assert_array_equal(again[0], again[1])
    assert len(calls) == 1


def test_no_more_is_asked_of_a_function_without_end_than_is_needed(model: OnnxModel) -> None:
    asked = []

    def blocks() -> Iterator[dict[str, Array]]:
        for number in itertools.count():
            asked.append(number)
            yield {"x": np.full((4, 3), number, np.float32)}

    task = load_task(blocks, model, samples=10)
    assert (len(task), asked) == (10, [0, 1, 2])


def test_keys_can_be_what_file_names_cannot() -> None:
    found = read(lambda: [{"a/b": X, "../c": -X, "": 2 * X}])
    np.testing.assert_array_equal(found["a/b"], X)
    np.testing.assert_array_equal(found["../c"], -X)


def test_layout_and_kind_of_the_arrays_do_not_matter() -> None:
    found = read(lambda: [{"x": np.asfortranarray(X[:2])}, {"x": X[2:6:2]}, {"x": X[5:7][::-1]}])
    np.testing.assert_array_equal(found["x"], X[[0, 1, 2, 4, 6, 5]], strict=True)
    np.testing.assert_array_equal(read(lambda: [{"x": X.tolist()}])["x"], X)


def test_nothing_is_left_once_the_samples_are_no_longer_used(spool: Path, model: OnnxModel) -> None:
    task = load_task(lambda: [{"x": X}, {"x": X}], model)
    part = task.take(np.array([9, 3]))
    (folder,) = spool.glob("lhc-data-*")
    assert sum(path.stat().st_size for path in folder.iterdir()) == 2 * X.nbytes
    del task
    gc.collect()
    np.testing.assert_array_equal(part.inputs["x"], X[[1, 3]])
    del part
    gc.collect()
    assert not list(spool.glob("lhc-data-*"))


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise KeyboardInterrupt"])
def test_nothing_is_left_when_the_program_ends(end: str, spool: Path) -> None:
    program = textwrap.dedent(f"""
        import sys
        import numpy as np
        from lhc.samples.streams import from_function
        found = from_function(lambda: [{{"x": np.zeros((4, 3))}}], "own:blocks", None)
        assert len(found["x"]) == 4
        {end}
        """)
    subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert not list(spool.glob("lhc-data-*"))


def test_nothing_is_left_after_a_failure(spool: Path) -> None:
    def blocks() -> Iterator[dict[str, Array]]:
        yield {"x": X}
        assert len(list(spool.glob("lhc-data-*"))) == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read(blocks)
    assert not list(spool.glob("lhc-data-*"))


def test_a_full_disk_is_told(spool: Path) -> None:
    resource = pytest.importorskip("resource", reason="no limits of file sizes on this system")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (X.nbytes + 1, before[1]))
    try:
        with pytest.raises(DataError, match=r"cannot be written: File too large; set TMPDIR .*--samples"):
            read(lambda: [{"x": X}, {"x": X}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(spool.glob("lhc-data-*"))


def test_a_temporary_folder_that_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"own:blocks: no temporary folder .*set TMPDIR"):
        read(lambda: [{"x": X}])


@dataclass(frozen=True)
class BadFunction:
    id: str
    gives: Callable[[], object]
    message: str


def _raising() -> Iterator[dict[str, Array]]:
    yield {"x": X}
    raise FileNotFoundError("pictures.tar")


def _needs(path: str) -> Iterable[dict[str, Array]]:
    return [{path: X}]


BAD_FUNCTIONS = [
    BadFunction("raises", lambda: 1 / 0, "own:blocks fails: ZeroDivisionError: division by zero"),
    BadFunction("raises later", _raising, "own:blocks fails: FileNotFoundError: pictures.tar"),
    BadFunction("wants arguments", _needs, r"own:blocks fails: TypeError: .*missing 1 required positional argument"),  # type: ignore[arg-type]
    BadFunction("nothing", lambda: None, "own:blocks: gives a NoneType; it must yield blocks"),
    BadFunction("a path", lambda: "data.npz", "gives a str; it must yield blocks"),
    BadFunction("an array", lambda: X, "gives a ndarray; it must yield blocks"),
    BadFunction("no blocks", list, "own:blocks: yields no blocks"),
    BadFunction("tuples", lambda: [(X, LABELS)], "block 1 is of type tuple; it must be a dict of input name -> array"),
    BadFunction("empty dicts", lambda: [{}], "block 1 holds no array with an axis"),
    BadFunction("scalars only", lambda: [{"x": 3.0}], "block 1 holds no array with an axis"),
    BadFunction(
        "lengths",
        lambda: [{"x": X, "labels": LABELS[:7]}],
        r"block 1 has arrays of different length: '[^{]*: 7 samples; ",
    ),
    BadFunction("objects", lambda: [{"x": [{}]}], r"block 1: 'x' holds values of type object"),
    BadFunction("ragged lists", lambda: [{"x": [[1], [1, 2]]}], "own:blocks fails: ValueError"),
    BadFunction("other keys", lambda: [{"x": X}, {"y": X}], "block 2 has keys y, the first has x"),
    BadFunction("key missing", lambda: [{"x": X, "y": X}, {"x": X}], "block 2 has keys x, the first has x, y"),
    BadFunction("other shape", lambda: [{"x": X}, {"x": X[:, 1:]}], r"block 2: 'x' holds \(2,\) float32 a sample, in"),
    BadFunction(
        "other type", lambda: [{"x": X}, {"x": X > 0}], r"block 2: 'x' holds \(3,\) bool a sample, in the first"
    ),
    BadFunction(
        "other scalar", lambda: [{"x": X, "s": 1}, {"x": X, "s": 2}], "block 2: 's' is 2, in the first block 1"
    ),
    BadFunction("axes and none", lambda: [{"x": X, "s": 1}, {"x": X, "s": LABELS}], r"block 2: 's' holds .* one int64"),
]


@pytest.mark.parametrize("case", BAD_FUNCTIONS, ids=lambda case: case.id)
def test_a_function_that_makes_no_sense_is_refused(case: BadFunction, spool: Path) -> None:
    with pytest.raises(DataError, match=case.message):
        read(case.gives)
    assert not list(spool.glob("lhc-data-*"))


# By name

OWN = """
import numpy as np

def blocks():
    import own_helper_{0}  # in the same folder
    yield {{"x": own_helper_{0}.X}}

number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current folder, another for each test: modules stay loaded."""
    monkeypatch.chdir(tmp_path)
    number = str(abs(hash(tmp_path)))
    Path(f"own_blocks_{number}.py").write_text(OWN.format(number))
    Path(f"own_helper_{number}.py").write_text("import numpy as np\nX = np.ones((4, 3), np.float32)\n")
    return f"own_blocks_{number}"


def test_a_function_is_found_by_its_name_with_what_it_imports_later(own: str, model: OnnxModel) -> None:
    assert len(load_task(f"{own}:blocks", model)) == 4
    assert len(load_task(Path(f"{own}:blocks"), model)) == 4


def test_an_existing_file_goes_before_a_function(own: str, model: OnnxModel) -> None:
    with Path(f"{own}:blocks").open("wb") as file:
        np.savez(file, x=X)
    assert len(load_task(f"{own}:blocks", model)) == 8


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_xyz:f", "--data no_such_module_xyz:f: cannot be imported: ModuleNotFoundError"),
        ("{own}:missing", "cannot be imported: AttributeError"),
        ("{own}:number", "not a function"),
    ],
)
def test_a_name_without_a_function_is_a_mistake_of_use(name: str, message: str, own: str, model: OnnxModel) -> None:
    with pytest.raises(UsageError, match=message):
        load_task(name.format(own=own), model)


@pytest.mark.parametrize("name", ["data.npz", "no/such/folder", "C:\\data\\samples.npz", "a" * 5000])
def test_what_is_neither_file_nor_function_is_no_such_file(name: str, model: OnnxModel) -> None:
    with pytest.raises(DataError, match=r"no such file|cannot be read: File name too long"):
        load_task(name, model)
