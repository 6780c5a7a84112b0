"""Peak memory does not grow with the samples: a child process measures, and says what it needed."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import lhc

if not Path("/proc/self/status").exists():
    pytest.skip("peak memory is read from /proc", allow_module_level=True)

Blocks = Iterator[dict[str, np.ndarray]]

SHAPE = (3, 32, 32)
BYTES = 4 * 3 * 32 * 32
"""Of one sample, as the network takes it."""

# A module that the child and this test share: what it measures, and samples that it makes up.
CHILD = r'''
import re
import sys
from pathlib import Path

import numpy as np
import onnx

import lhc

NETWORK = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 3, 32, 32] x) => (float[N, 4] y) {
  [conv] c = Conv <strides = [8, 8]> (x, w)
  p = GlobalAveragePool (c)
  y = Flatten (p)
}"""


def pictures(samples, at_once=250):
    for start in range(0, samples, at_once):
        rng = np.random.default_rng(start)
        count = min(at_once, samples - start)
        pixels = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        yield {"x": (pixels / np.float32(255)).astype(np.float32), "labels": rng.integers(0, 4, count)}


def few():
    return pictures(FEW)


def many():
    return pictures(MANY)


def main(data, action):
    model = onnx.parser.parse_model(NETWORK)
    weights = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    if action == "evaluate":
        found = lhc.evaluate(model, data)[0]
    else:
        found = lhc.sensitivity(model, data, draws=2)
    # Not getrusage's ru_maxrss, which is at least that of the process that started this one.
    peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    print(found.samples + found.calibrated, int(peak[1]) * 1024)


if __name__ == "__main__":
    main(*sys.argv[1:])
'''


def write_folder(path: Path, blocks: Blocks, samples: int) -> None:
    path.mkdir()
    x = np.lib.format.open_memmap(path / "x.npy", mode="w+", dtype=np.float32, shape=(samples, *SHAPE))
    labels = np.empty(samples, np.int64)
    done = 0
    for block in blocks:
        where = slice(done, done + len(block["x"]))
        x[where], labels[where] = block["x"], block["labels"]
        done = where.stop
    np.save(path / "labels.npy", labels)


def write_shards(path: Path, blocks: Blocks, samples: int) -> None:
    path.mkdir()
    for number, block in enumerate(blocks):
        np.savez(path / f"{number:03}.npz", **block)  # type: ignore[arg-type]


def write_nothing(path: Path, blocks: Blocks, samples: int) -> None:
    """The child makes them up itself."""


def write_npz(path: Path, blocks: Blocks, samples: int) -> None:
    parts = list(blocks)
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    np.savez(path.with_suffix(".npz"), **arrays)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Form:
    """How samples are written, and what the child is given, ``{}`` being their name."""

    id: str
    write: Callable[[Path, Blocks, int], None]
    source: str


BLOCK_BY_BLOCK = [
    Form("folder", write_folder, "{}"),
    Form("shards", write_shards, "{}"),
    Form("function", write_nothing, "child:{}"),
]
IN_MEMORY = Form("npz", write_npz, "{}.npz")


def peaks(folder: Path, form: Form, few: int, many: int, action: str) -> tuple[int, int]:
    """Peak memory of the child in bytes, for few and for many samples."""
    (folder / "child.py").write_text(CHILD.replace("FEW", str(few)).replace("MANY", str(many)))
    pictures = runpy.run_path(str(folder / "child.py"), run_name="child")["pictures"]
    found = []
    for name, samples in (("few", few), ("many", many)):
        form.write(folder / name, pictures(samples), samples)
        result = subprocess.run(
            [sys.executable, "child.py", form.source.format(name), action],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(Path(lhc.__file__).parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        counted, peak = map(int, result.stdout.split())
        assert counted == samples
        found.append(peak)
    return found[0], found[1]


@pytest.mark.slow
@pytest.mark.parametrize("form", BLOCK_BY_BLOCK, ids=lambda form: form.id)
def test_peak_memory_stays_far_below_the_size_of_the_samples(form: Form, tmp_path: Path) -> None:
    few, many = peaks(tmp_path, form, 1000, 9000, "evaluate")
    assert many - few < 0.15 * 8000 * BYTES


@pytest.mark.slow
def test_peak_memory_of_samples_that_are_held_is_their_size(tmp_path: Path) -> None:
    """The measure above would tell: it does for an .npz, which is held in memory."""
    few, many = peaks(tmp_path, IN_MEMORY, 1000, 9000, "evaluate")
    assert many - few > 0.75 * 8000 * BYTES


@pytest.mark.slow
@pytest.mark.analog
@pytest.mark.parametrize("form", BLOCK_BY_BLOCK, ids=lambda form: form.id)
def test_peak_memory_of_fifty_thousand_pictures_is_that_of_one_thousand(form: Form, tmp_path: Path) -> None:
    few, many = peaks(tmp_path, form, 1000, 50_000, "sensitivity")
    # 14 to 19 MB were seen, of 600.
    assert many - few < 0.04 * 49_000 * BYTES, f"{few / 1e6:.0f} MB and {many / 1e6:.0f} MB"
