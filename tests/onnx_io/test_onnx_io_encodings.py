"""Quantised models, versions of ONNX, and models of more than 2 GiB."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from lhc.errors import ModelError
from lhc.graph import obstacle
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.runtime import HybridSession
from tests.networks import drawn, parsed

Array = npt.NDArray[Any]

CONV_NET = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 2, 6, 6] image) => (float[N, 4] logits) {
  [stem] c = Conv <pads = [1, 1, 1, 1]> (image, w, b)
  [act] r = Relu (c)
  [pool] p = GlobalAveragePool (r)
  [flat] f = Flatten (p)
  [head] logits = Gemm (f, v, a)
}"""


def conv_net() -> onnx.ModelProto:
    return parsed(CONV_NET, drawn({"w": (8, 2, 3, 3), "b": (8,), "v": (8, 4), "a": (4,)}))


def quantized(folder: Path, form: str) -> Path:
    """The network as onnxruntime quantises it with ranges from data."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    rng = np.random.default_rng(1)

    class Samples(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        left = 8

        def get_next(self) -> dict[str, Array] | None:
            self.left -= 1
            return {"image": rng.normal(size=(1, 2, 6, 6)).astype(np.float32)} if self.left >= 0 else None

    source, target = folder / "float.onnx", folder / f"{form}.onnx"
    onnx.save(conv_net(), source)
    quantization.quantize_static(
        source, target, Samples(), quant_format=quantization.QuantFormat[form], per_channel=True
    )
    return target


def run(model: Path | onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    data = str(model) if isinstance(model, Path) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    results: list[Array] = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(
        None, feeds
    )
    return results


@pytest.mark.analog
@pytest.mark.filterwarnings("ignore")  # the quantiser's own
def test_the_dequantized_weights_of_a_qdq_model_go_onto_tiles(tmp_path: Path) -> None:
    path = quantized(tmp_path, "QDQ")
    model = load_model(path)
    candidates = read_graph(model).candidates
    assert [layer.op_type for layer in candidates] == ["Conv", "Gemm"]
    assert all(obstacle(layer) is None for layer in candidates)
    feeds = {"image": np.random.default_rng(2).normal(size=(5, 2, 6, 6)).astype(np.float32)}
    session = HybridSession(model, Hardware.load("lionheart").geometry, "all-analog")
    assert len(session.analog) == 2
    # A sum that is rounded otherwise can end one quantisation step off.
    (expected,), (found,) = run(path, feeds), session.run(None, feeds)
    steps = [numpy_helper.to_array(t).max() for t in model.proto.graph.initializer if t.name.endswith("_scale")]
    assert np.abs(found - expected).max() <= max(steps)
    assert np.mean(found == expected) > 0.9


@pytest.mark.filterwarnings("ignore")
def test_integer_operators_stay_digital_and_say_what_would_help(tmp_path: Path) -> None:
    graph = read_graph(load_model(quantized(tmp_path, "QOperator")))
    problems = {layer.op_type: obstacle(layer) for layer in graph.candidates}
    found = problems["QLinearConv"]
    assert found is not None
    assert found.reason == "unsupported"
    assert "QLinearConv computes on integers" in found.detail
    assert "(QDQ)" in found.detail


OPSETS = sorted({7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, onnx.defs.onnx_opset_version()})


def at_opset(opset: int, ir_version: int) -> onnx.ModelProto:
    """The convolution network and a MatMul; before IR 4 initializers are inputs too."""
    model = conv_net()
    model.opset_import[0].version, model.ir_version = opset, ir_version
    model.graph.node[-1].output[0] = "h"
    model.graph.node.append(helper.make_node("MatMul", ["h", "u"], ["logits"], name="last"))
    model.graph.initializer.append(numpy_helper.from_array(np.eye(4, dtype=np.float32) * 2, "u"))
    if ir_version < 4:
        for tensor in model.graph.initializer:
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))
    return model


@pytest.mark.analog
@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_is_read_and_run(opset: int) -> None:
    newest = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)])
    for ir_version in sorted({3, 4, 8, newest}) if opset == 7 else [newest]:
        model = at_opset(opset, ir_version)
        graph = read_graph(load_model(model))
        assert graph.inputs == ("image",)
        assert [layer.op_type for layer in graph.candidates if obstacle(layer) is None] == ["Conv", "Gemm", "MatMul"]
    try:
        feeds = {"image": np.random.default_rng(2).normal(size=(3, 2, 6, 6)).astype(np.float32)}
        (expected,) = run(model, feeds)
    except onnxruntime.capi.onnxruntime_pybind11_state.Fail:
        pytest.skip(f"onnxruntime {onnxruntime.__version__} does not run opset {opset}")
    (found,) = HybridSession(model, "ideal", "all-analog").run(None, feeds)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


LARGE = """
import json, resource, sys
from pathlib import Path
import numpy as np
from lhc import __version__
from lhc.hardware import Hardware
from lhc.onnx_io import annotate, load_model, read_graph, save_model
from lhc.passes import Qualify, initial_plan
from lhc.runtime import HybridSession

path = Path(sys.argv[1])
model = load_model(path)
graph = read_graph(model)
plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), model.source, __version__)).plan
save_model(annotate(model, plan, graph), path.with_name("out.onnx"))
session = HybridSession(path)
y, = session.run(None, {"x": np.ones((1, 16384), np.float32)})
lines = Path("/proc/self/status").read_text().splitlines()
anonymous = int(next(line for line in lines if line.startswith("RssAnon")).split()[1])
print(json.dumps({"anonymous": anonymous, "candidates": len(graph.candidates), "y": float(y[0, 0])}))
"""
"""Prints the kB of memory that are the process's own: pages of a mapped file are the system's."""


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("y = MatMul (x, w)", "bfloat16", "it computes in bfloat16"),
        ("t = acme.Magic (x) y = MatMul (t, w)", "float", "operators that stock onnxruntime has not.*acme::Magic"),
    ],
)
def test_what_onnxruntime_does_not_run_is_refused_with_a_hint(body: str, kind: str, message: str) -> None:
    text = f'<ir_version: 8, opset_import: ["" : 17, "acme" : 1]> g ({kind}[N, 4] x) => ({kind}[N, 3] y) {{ {body} }}'
    proto = parser.parse_model(text)
    stored = proto.graph.input[0].type.tensor_type.elem_type
    proto.graph.initializer.append(helper.make_tensor("w", stored, [4, 3], np.ones(12, np.float32)))
    with pytest.raises(ModelError, match=message):
        HybridSession(proto)


@pytest.mark.slow
def test_a_model_of_more_than_2_gib_is_never_in_memory_twice(tmp_path: Path) -> None:
    """Three matrices of 16384 x 16384 (1 GiB each) in a sparse file, of which 2 GiB are read as zeros."""
    size, names = 16384, ("w0", "w1", "w2")
    nodes = [helper.make_node("MatMul", [f"x{i}" if i else "x", n], [f"x{i + 1}"], name=n) for i, n in enumerate(names)]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", size])],
        [helper.make_tensor_value_info("x3", TensorProto.FLOAT, ["N", size])],
    )
    length = size * size * 4
    with (tmp_path / "weights.bin").open("wb") as file:
        for index, name in enumerate(names):
            tensor = graph.initializer.add(name=name, data_type=TensorProto.FLOAT, dims=[size, size])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in {"location": "weights.bin", "offset": index * length, "length": length}.items():
                tensor.external_data.add(key=key, value=str(value))
            file.seek(index * length)
            file.write(np.full(1, 0.5 + index, np.float32).tobytes())
        file.truncate(len(names) * length)
    path = tmp_path / "large.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    done = subprocess.run([sys.executable, "-c", LARGE, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["candidates"] == 3
    assert found["y"] == 0.5 * 1.5 * 2.5
    # The one copy is onnxruntime's, which packs matrices for its kernels; the file itself is mapped.
    assert found["anonymous"] * 1024 < 1.1 * len(names) * length
    written = onnx.load(tmp_path / "out.onnx", load_external_data=False)
    assert (tmp_path / "out.onnx").stat().st_size < 100_000
    assert {e.value for t in written.graph.initializer for e in t.external_data if e.key == "location"} == {
        "weights.bin"
    }
    onnx.checker.check_model(str(tmp_path / "out.onnx"))
