"""Peak memory is bounded by the largest part of a network, not by how many parts it has: a child process measures."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lhc
from lhc.measure import Running
from lhc.pipeline.steps.prepare import read_placed
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from tests.networks import parsed

pytestmark = pytest.mark.analog

if not Path("/proc/self/status").exists():
    pytest.skip("peak memory is read from /proc", allow_module_level=True)

# Every analog layer is followed by digital operators that need 64 MiB for 64 samples.
CHILD = r"""
import re
import sys
from pathlib import Path

import numpy as np
import onnx

import lhc
from lhc.measure import Running

layers = int(sys.argv[1])
nodes, before = [], "x"
for number in range(layers):
    nodes.append(f"[layer{number}] p{number} = MatMul ({before}, w)")
    nodes.append(f"wide{number} = Tile (p{number}, times)")
    nodes.append(f"mean{number} = ReduceMean <axes = [1], keepdims = 1> (wide{number})")
    nodes.append(f"a{number} = Add (p{number}, mean{number})")
    before = f"a{number}"
nodes.append(f"y = Tanh ({before})")
text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 8] x) => (float[N, 8] y) {' + "\n".join(nodes) + "}"
model = onnx.parser.parse_model(text)
rng = np.random.default_rng(0)
weights = {"w": rng.normal(size=(8, 8)).astype(np.float32), "times": np.array([1, 2**15])}
model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
samples = {"x": rng.normal(size=(64, 8)).astype(np.float32)}
assert len(lhc.analyze(model).plan.eligible) == layers
lhc.evaluate(model, samples, all_analog=True, draws=2, memory="1MiB")
peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
print(int(peak[1]) // 1024)
"""


@pytest.mark.slow
def test_digital_parts_between_analog_layers_share_their_memory(tmp_path: Path) -> None:
    told = []

    def peak(layers: int) -> int:
        result = subprocess.run(
            [sys.executable, "-c", CHILD, str(layers)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path(lhc.__file__).parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        found = re.search(r"`memory` 1 MiB is less than .* about ([\d,]+) MiB", result.stderr)
        assert found, result.stderr
        told.append(int(found[1].replace(",", "")))
        return int(result.stdout)

    peaks = [peak(7), peak(2)]

    assert peaks[0] - peaks[1] < 3 * 64  # MiB; five memories of their own would be 320
    assert all(found < most for found, most in zip(peaks, told, strict=True)), "what is said that it may take"


@pytest.mark.parametrize(("tokens", "samples"), [(1, 64), (2**14, 64), (2**15, 32), (3 * 2**14, 16), (2**20, 1)])
def test_a_call_holds_fewer_samples_where_a_product_is_large(tokens: int, samples: int) -> None:
    """64 outputs of 4 bytes a token; at most 256 MiB a call."""
    model = parsed(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[N, {tokens}, 2] x) => (float[N, {tokens}, 64] y) '
        "{ [product] y = MatMul (x, w) }",
        {"w": np.ones((2, 64), np.float32)},
    )
    task = Task({"x": np.ones((1, tokens, 2), np.float32)}, None, get_metric("nmse"), finite=True)

    options = lhc.RunOptions(model, task)
    study = read_placed(options, Running(options), None)[0]

    assert study.evaluator(task).context.call_samples == samples
