"""The topologies that onnx brings along (AlexNet to VGG-19; opset 9, IR 3), their made-up weights made random.

MACs are those that onnx-tool counts, which adds one for every output of a layer with a bias.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from lhc import __version__
from lhc.hardware import Hardware
from lhc.onnx_io import annotate, load_model, read_graph, save_model
from lhc.passes import Qualify, Select, initial_plan
from lhc.runtime import HybridSession

pytestmark = [pytest.mark.slow, pytest.mark.analog]

Array = npt.NDArray[Any]

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
MODELS = sorted(FOLDER.glob("*.onnx"))
GMACS = {
    "light_bvlc_alexnet": 0.655,
    "light_densenet121": 2.834,
    "light_inception_v1": 1.432,
    "light_inception_v2": 2.019,
    "light_resnet50": 4.089,
    "light_shufflenet": 0.125,
    "light_squeezenet": 0.349,
    "light_vgg19": 19.632,
    "light_zfnet512": 1.482,
}
"""What the sums are, in 10⁹."""


def random_weights(path: Path) -> onnx.ModelProto:
    """The model with seeded random initializers where it has ConstantOfShape nodes; as large as keeps signals alive."""
    model = onnx.load(path)
    rng = np.random.default_rng(0)
    uses = {name: (node.op_type, place) for node in model.graph.node for place, name in enumerate(node.input)}
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    kept = [node for node in model.graph.node if node.op_type != "ConstantOfShape"]
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            shape = [int(size) for size in shapes[node.input[0]]]
            array = _random(rng, shape, uses.get(node.output[0], ("", 0))).astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
            # Before IR 4 an initializer had to be an input too.
            kind = onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, shape)
            model.graph.input.append(kind)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def _random(rng: np.random.Generator, shape: list[int], use: tuple[str, int]) -> Array:
    if use[0] in ("Conv", "Gemm") and use[1] == 1:
        return rng.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape)
    if use in (("BatchNormalization", 1), ("BatchNormalization", 4)):
        return rng.uniform(0.5, 1.5, shape)
    return rng.normal(0, 0.1, shape)


def counted(path: Path) -> list[int]:
    """MACs of the products in the order of the file, by onnx-tool."""
    onnx_tool = pytest.importorskip("onnx_tool", reason="the independent counter of MACs")
    model = onnx_tool.Model(str(path), {"constant_folding": True})
    model.graph.shape_infer({})
    model.graph.profile()
    nodes = [node for node in model.graph.nodemap.values() if node.op_type in ("Conv", "Gemm")]
    return [int(node.macs[0]) - (len(node.input) > 2) * math.prod(node.outshape) for node in nodes]


def _run(model: onnx.ModelProto | Path, feeds: dict[str, Array]) -> list[Array]:
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    results: list[Array] = session.run(None, feeds)
    return results


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_macs_are_those_of_an_independent_counter(path: Path) -> None:
    graph = read_graph(load_model(path))
    found = [layer.matrix.macs for layer in graph.candidates if layer.matrix is not None]
    assert found == counted(path)
    assert round(sum(found) / 1e9, 3) == GMACS[path.stem]
    assert all(layer.weight is not None for layer in graph.candidates)  # behind ConstantOfShape


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_all_analog_on_ideal_tiles_equals_onnxruntime(path: Path, tmp_path: Path) -> None:
    model = random_weights(path)
    loaded = load_model(model)
    session = HybridSession(loaded, "ideal", "all-analog")
    assert len(session.analog) == len(read_graph(loaded, sizes=False).candidates)
    (info,) = session.get_inputs()
    feeds = {info.name: np.random.default_rng(1).normal(size=[1, 3, 224, 224]).astype(np.float32)}
    expected = _run(model, feeds)
    for result, right in zip(session.run(None, feeds), expected, strict=True):
        assert np.abs(right).max() > 0
        assert np.abs(result - right).max() <= 1e-3 * np.abs(right).max()
    del session

    graph = read_graph(loaded)
    plan = initial_plan(graph, Hardware.load("ideal"), loaded.source, __version__)
    plan = Select(force_analog=("*",)).run(graph, Qualify().run(graph, plan).plan).plan
    annotated = tmp_path / "annotated.onnx"
    save_model(annotate(loaded, plan, graph), annotated)
    onnx.checker.check_model(str(annotated))
    for result, right in zip(_run(annotated, feeds), expected, strict=True):
        np.testing.assert_array_equal(result, right)
