"""Large weights lie beside the model in memory: read, run, handed to another process and written as if they did not."""

import gc
import pickle
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import lhc
from lhc.hardware import Hardware
from lhc.onnx_io import Constants, load_model, read_graph, save_model, stored_array, whole
from lhc.onnx_io.read import external_data as held_weights
from lhc.onnx_io.write import in_memory
from lhc.onnx_model import OnnxModel, is_held
from lhc.passes import Qualify, initial_plan
from lhc.pipeline.analysis_and_partition_results import PartitionResult
from lhc.pipeline.rewrites.choose_channel_scales import smoothed_model
from lhc.runtime.onnxruntime.sessions import create_session, observe_tensors, run_session
from tests.networks import parsed

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
network (float[N, 512] x) => (float[N, 4] y) {
  [large] h = MatMul (x, w)
  [half] c = Cast <to = 1> (v)
  [add] s = Add (h, c)
  [small] y = MatMul (s, o)
}"""
X = {"x": np.random.default_rng(1).normal(size=(3, 512)).astype(np.float32)}


@pytest.fixture
def network() -> onnx.ModelProto:
    model = onnx.parser.parse_model(TEXT)
    rng = np.random.default_rng(0)
    for name, shape, dtype in (("w", (512, 600), "float32"), ("v", (1, 600), "float16"), ("o", (600, 4), "float32")):
        model.graph.initializer.append(numpy_helper.from_array(rng.normal(size=shape).astype(dtype), name))
    model.graph.initializer[0].doc_string = "a note"
    return model


@pytest.fixture
def loaded(network: onnx.ModelProto, tmp_path: Path) -> OnnxModel:
    onnx.save_model(network, str(tmp_path / "m.onnx"))
    return load_model(tmp_path / "m.onnx")


def _run(proto: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, X)[0])


def test_large_weights_are_in_memory_once_and_the_model_is_what_it_was(
    loaded: OnnxModel, network: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [tensor.name for tensor in loaded.proto.graph.initializer if is_held(tensor)] == ["w"]
    assert loaded.held is not None
    constants = Constants(loaded.proto.graph)
    assert np.shares_memory(constants.value("w"), loaded.held.data)
    assert not constants.value("w").flags.writeable
    assert whole(loaded.proto) == network
    assert not loaded.external, "they are in no other file"
    monkeypatch.setattr(held_weights.held_apart, "__defaults__", (2**40,))
    plain = load_model(network)
    assert plain.held is None
    assert loaded.source == plain.source


def test_a_session_gives_the_same_bytes_and_outlives_the_model(loaded: OnnxModel, network: onnx.ModelProto) -> None:
    session = create_session(loaded.proto, "m")
    constants = Constants(loaded.proto.graph)
    del loaded
    gc.collect()
    (found,) = run_session(session, ["y"], X, "m")
    assert found.tobytes() == _run(network).tobytes()
    np.testing.assert_array_equal(constants.value("w"), numpy_helper.to_array(network.graph.initializer[0]))


def test_a_session_takes_weights_as_they_lie() -> None:
    """But for those that onnxruntime changes in place: here it adds w to x, and transposes w itself."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    network (float[1, 600, 600] x) => (float[1, 600, 600] y, float[1, 600, 600] z) {
      t = Transpose <perm = [0, 2, 1]> (x)
      a = Add (t, w)
      y = Transpose <perm = [0, 2, 1]> (a)
      z = MatMul (x, v)
    }"""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    x = {"x": rng.normal(size=(1, 600, 600)).astype(np.float32)}
    for name in "wv":
        model.graph.initializer.append(numpy_helper.from_array(rng.normal(size=(600, 600)).astype(np.float32), name))
    plain = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    loaded = load_model(model)
    found = run_session(create_session(loaded.proto, "m"), ["y", "z"], x, "m")
    assert [array.tobytes() for array in found] == [array.tobytes() for array in plain.run(None, x)]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux")
def test_a_session_without_packed_weights_holds_no_copy_of_them() -> None:
    model = parsed(
        '<ir_version: 8, opset_import: ["" : 17]> network (float[N, 4096] x) => (float[N, 4096] y) {y = MatMul (x, w)}',
        {"w": np.ones((4096, 4096), np.float32)},
    )
    loaded = load_model(model)
    before = _anonymous()
    session = create_session(loaded.proto, "m", packs=False)
    assert _anonymous() - before < 2**25, "half of the weights"
    assert run_session(session, ["y"], {"x": np.ones((1, 4096), np.float32)}, "m")[0][0, 0] == 4096


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def test_a_part_of_a_model_runs_without_what_it_does_not_read(loaded: OnnxModel) -> None:
    found = observe_tensors(loaded, ["c"], X)
    assert found["c"].shape == (1, 600)


def test_another_process_gets_them(loaded: OnnxModel, network: onnx.ModelProto) -> None:
    sent = pickle.dumps(loaded)
    del loaded
    gc.collect()
    received: OnnxModel = pickle.loads(sent)
    assert whole(received.proto) == network
    weight = received.proto.graph.initializer[0]
    del received
    gc.collect()
    with pytest.raises(lhc.LhcError, match="lhc-memory"):
        stored_array(weight)


def test_what_is_written_holds_them(loaded: OnnxModel, network: onnx.ModelProto, tmp_path: Path) -> None:
    graph = read_graph(loaded)
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), loaded.source, "0")).plan
    result = PartitionResult(plan, graph, loaded)
    path = result.save(tmp_path / "m.lhc.onnx")
    for written in (onnx.load(str(path)), result.model):
        onnx.checker.check_model(written)
        assert not any(map(is_held, written.graph.initializer))
        assert list(written.graph.initializer) == list(network.graph.initializer)
    save_model(loaded.proto, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == network.SerializeToString(deterministic=True)


@pytest.mark.analog
@pytest.mark.parametrize("side", ["digital", pytest.param("analog", marks=pytest.mark.slow)])
def test_a_compiled_model_holds_them(side: str, loaded: OnnxModel, network: onnx.ModelProto) -> None:
    graph = read_graph(loaded)
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), loaded.source, "0")).plan
    plan = plan.decide({"large": (side, "forced", "a test"), "small": ("digital", "forced", "a test")})  # type: ignore[dict-item]
    compiled = lhc.compile(PartitionResult(plan, graph, loaded).model, noise="off")
    assert not any(map(is_held, compiled.proto.graph.initializer))
    found, exact = _run(compiled.proto), _run(network)
    assert np.abs(found - exact).max() <= (0.3 * np.abs(exact).max() if side == "analog" else 0)


def test_what_only_looks_held_is_refused(network: onnx.ModelProto, tmp_path: Path) -> None:
    tensor = network.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="lhc-memory:0")
    with pytest.raises(lhc.LhcError, match="only a path can find"):
        load_model(network)
    (tmp_path / "m.onnx").write_bytes(network.SerializeToString())
    with pytest.raises(lhc.LhcError, match="there is no file 'lhc-memory:0' beside the model"):
        load_model(tmp_path / "m.onnx")


def test_weights_in_another_file_are_beside_them(network: onnx.ModelProto, tmp_path: Path) -> None:
    last = network.graph.initializer[2]
    (tmp_path / "o.bin").write_bytes(last.raw_data)
    expected = _run(network)
    last.ClearField("raw_data")
    last.data_location = onnx.TensorProto.EXTERNAL
    last.external_data.add(key="location", value="o.bin")
    (tmp_path / "m.onnx").write_bytes(network.SerializeToString())
    loaded = load_model(tmp_path / "m.onnx")
    assert (loaded.held is not None, [tensor.name for tensor in loaded.external]) == (True, ["o"])
    (found,) = run_session(create_session(loaded.proto, "m"), ["y"], X, "m")
    assert found.tobytes() == expected.tobytes()
    save_model(loaded.proto, tmp_path / "again.onnx")
    again = onnx.load(str(tmp_path / "again.onnx"), load_external_data=False).graph.initializer
    assert (again[0], again[2].external_data[0].value) == (network.graph.initializer[0], "o.bin")


def test_another_model_made_of_one_keeps_them(loaded: OnnxModel, network: onnx.ModelProto) -> None:
    made = smoothed_model(loaded, read_graph(loaded), (), (), in_memory)
    del loaded
    gc.collect()
    assert list(whole(made.proto).graph.initializer) == list(network.graph.initializer)
