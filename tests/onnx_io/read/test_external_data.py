"""Weights in files beside the model: where they may be, and that nothing but their place differs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

import lhc
from lhc.errors import ModelError, UsageError
from lhc.onnx_io import Constants, ExternalData, check_output, load_model, read_graph, read_plan
from lhc.onnx_model import external_entries, is_external
from lhc.runtime.onnxruntime.sessions import create_session, observe_tensors, run_session
from tests.networks import parsed

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 6] x) => (float[N, 4] y) {
  [first] h = MatMul(x, w1)
  [split] s = Reshape(h, sizes)
  [relu] r = Relu(s)
  [join] j = Flatten(r)
  [second] y = Gemm(j, w2, b)
}
"""
RNG = np.random.default_rng(20261125)
ARRAYS = {
    "w1": RNG.normal(size=(6, 1200)).astype(np.float32),
    "sizes": np.array([-1, 2, 600]),
    "w2": RNG.normal(size=(1200, 4)).astype(np.float32),
    "b": RNG.normal(size=4).astype(np.float32),
}
X = RNG.normal(size=(5, 6)).astype(np.float32)


def a_model() -> onnx.ModelProto:
    return parsed(TEXT, ARRAYS)


def save(folder: Path, one_file: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "net.onnx"
    onnx.save_model(
        a_model(),
        path,
        save_as_external_data=True,
        size_threshold=0,
        location="net.bin",
        all_tensors_to_one_file=one_file,
    )
    return path


def outputs(proto: onnx.ModelProto | Path) -> np.ndarray:
    data = str(proto) if isinstance(proto, Path) else proto.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"x": X})
    assert isinstance(result, np.ndarray)
    return result


@pytest.mark.parametrize("one_file", [True, False])
def test_the_model_is_the_same_wherever_its_weights_are(tmp_path: Path, one_file: bool) -> None:
    inside, outside = load_model(a_model()), load_model(save(tmp_path, one_file))
    assert all(map(is_external, outside.proto.graph.initializer))
    assert len(outside.external) == len(ARRAYS)
    assert outside.source == inside.source
    constants = Constants(outside.proto.graph)
    for name, array in ARRAYS.items():
        found = constants.value(name)
        np.testing.assert_array_equal(found, array)
        assert found.base is not None, "values are mapped, not copied"
    graphs = [read_graph(model) for model in (inside, outside)]
    assert graphs[0].layers == graphs[1].layers
    assert graphs[0].unresolved == ()


def test_onnxruntime_maps_the_weights(tmp_path: Path) -> None:
    model = load_model(save(tmp_path))
    session = create_session(model.proto, model.label)
    (found,) = run_session(session, ["y"], {"x": X}, model.label)
    np.testing.assert_array_equal(found, outputs(a_model()))
    observed = observe_tensors(model, ["h", "r"], {"x": X})
    assert observed["r"].shape == (5, 2, 600)
    assert all(map(is_external, model.proto.graph.initializer)), "the model in memory is not touched"


@pytest.mark.analog
def test_analog_layers_have_the_same_outputs(tmp_path: Path) -> None:
    inside = lhc.HybridSession(a_model(), placement="all-analog")
    outside = lhc.HybridSession(save(tmp_path), placement="all-analog")
    assert outside.analog == {"first", "second"}
    np.testing.assert_array_equal(outside.run(None, {"x": X})[0], inside.run(None, {"x": X})[0])


def partitioned(path: Path) -> lhc.PartitionResult:
    return lhc.partition(path, {"x": X, "labels": np.arange(5) % 4}, max_drop="100%", draws=2, strategy="all-analog")


@pytest.mark.analog
def test_an_annotated_model_refers_to_the_files_of_its_source(tmp_path: Path) -> None:
    path = save(tmp_path / "a")
    result = partitioned(path)
    out = result.save(tmp_path / "a" / "net.lhc.onnx")
    assert sorted(file.name for file in out.parent.iterdir()) == ["net.bin", "net.lhc.onnx", "net.onnx"]
    proto = onnx.load_model(out, load_external_data=False)
    assert {entry.value for t in proto.graph.initializer for entry in t.external_data if entry.key == "location"} == {
        "net.bin"
    }
    again = load_model(out)
    assert again.source == load_model(path).source
    assert read_plan(again) == result.plan
    onnx.checker.check_model(out)
    full = onnx.load_model(out)
    np.testing.assert_array_equal(outputs(full), outputs(a_model()))
    assert onnx.load_model(path, load_external_data=False).graph.initializer == proto.graph.initializer
    result.save(out)
    assert result.model.graph.initializer == proto.graph.initializer


@pytest.mark.slow
@pytest.mark.analog
def test_elsewhere_it_needs_a_copy_of_them(tmp_path: Path) -> None:
    path = save(tmp_path / "a", one_file=False)
    result = partitioned(path)
    (tmp_path / "b").mkdir()
    out = tmp_path / "b" / "net.lhc.onnx"
    with pytest.raises(UsageError, match="--external-data copy"):
        result.save(out)
    assert list(out.parent.iterdir()) == []
    result.save(out, external_data="copy")
    assert sorted(file.name for file in out.parent.iterdir()) == ["net.lhc.onnx", "net.lhc.onnx.data"]
    again = load_model(out)
    assert again.source == load_model(path).source
    np.testing.assert_array_equal(outputs(onnx.load_model(out)), outputs(a_model()))
    onnx.checker.check_model(out)
    with pytest.raises(UsageError, match="choose keep or copy"):
        result.save(out, external_data="move")  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.analog
def test_a_copy_replaces_no_file_of_the_user(tmp_path: Path) -> None:
    result = partitioned(save(tmp_path))
    (tmp_path / "out.onnx.data").write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"would replace .*out\.onnx\.data"):
        result.save(tmp_path / "out.onnx", external_data="copy")
    assert (tmp_path / "out.onnx.data").read_bytes() == b"precious"
    result.save(tmp_path / "out.onnx", external_data="copy", force=True)
    result.save(tmp_path / "out.onnx", external_data="copy")


@pytest.mark.parametrize("how", ["keep", "copy"])
def test_no_output_replaces_the_weights_of_the_model(tmp_path: Path, how: ExternalData) -> None:
    model = load_model(save(tmp_path))
    (weights,) = {Path(external_entries(tensor)["location"]) for tensor in model.external}
    with pytest.raises(UsageError, match="the output holds weights of the model"):
        check_output(weights, model, True, how)


@dataclass(frozen=True)
class Hostile:
    id: str
    message: str
    location: str | None = None
    change: Callable[[onnx.TensorProto], object] = lambda tensor: None
    prepare: Callable[[Path], object] = lambda folder: None


def entry(**values: str) -> Callable[[onnx.TensorProto], object]:
    def change(tensor: onnx.TensorProto) -> None:
        for found in tensor.external_data:
            if found.key in values:
                found.value = values[found.key]

    return change


def link(folder: Path) -> None:
    (folder / "link.bin").symlink_to("net.bin")


def linked_folder(folder: Path) -> None:
    (folder / "inside").symlink_to(folder)


HOSTILE = [
    Hostile("absolute", "leaves the model's folder", "/etc/passwd"),
    Hostile("Windows drive", "leaves the model's folder", "C:\\weights.bin"),
    Hostile("network share", "leaves the model's folder", "\\\\host\\share\\weights.bin"),
    Hostile("parent", "leaves the model's folder", "../net.bin"),
    Hostile("parent and back", "leaves the model's folder", "sub/../../a/net.bin"),
    Hostile("parent, within the folder", "leaves the model's folder", "sub/../net.bin"),
    Hostile("empty", "leaves the model's folder", ""),
    Hostile("NUL", "leaves the model's folder", "net.bin\0.txt"),
    Hostile("link", "symbolic link", "link.bin", prepare=link),
    Hostile("linked folder", "symbolic link", "inside/net.bin", prepare=linked_folder),
    Hostile("missing", "there is no file", "none.bin"),
    Hostile("folder", "there is no file", "sub", prepare=lambda folder: (folder / "sub").mkdir()),
    Hostile("device", "there is no file", "pipe", prepare=lambda folder: __import__("os").mkfifo(folder / "pipe")),
    Hostile("too long", "takes 28800 bytes, the model gives it 28800 at offset", change=entry(offset="1000000")),
    Hostile("negative offset", "offset", change=entry(offset="-8")),
    Hostile("offset that is no number", "not usable", change=entry(offset="0x10")),
    Hostile("other length", "takes 28800 bytes, the model gives it 12", change=entry(length="12")),
    Hostile("huge shape", "takes 4" + "0" * 36, change=lambda t: t.dims.__setitem__(slice(None), [10**18, 10**18])),
    Hostile("negative shape", "negative size", change=lambda t: t.dims.__setitem__(0, -1)),
    Hostile("strings", "string values", change=lambda t: setattr(t, "data_type", TensorProto.STRING)),
    Hostile("no type", "undefined values", change=lambda t: setattr(t, "data_type", 0)),
    Hostile("unknown type", "not usable", change=lambda t: setattr(t, "data_type", 999)),
]


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.id)
def test_paths_and_sizes_that_make_no_sense_are_refused(case: Hostile, tmp_path: Path) -> None:
    path = save(tmp_path / "a")
    case.prepare(path.parent)
    proto = onnx.load_model(path, load_external_data=False)
    if case.location is not None:
        entry(location=case.location)(proto.graph.initializer[0])
    case.change(proto.graph.initializer[0])
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=f"data of tensor 'w1'.*{case.message}"):
        load_model(path)


def test_data_of_attributes_are_read_in(tmp_path: Path) -> None:
    path = save(tmp_path)
    proto = onnx.load_model(path, load_external_data=False)
    constant = helper.make_node("Constant", [], ["w1"], name="constant", value=proto.graph.initializer[0])
    del proto.graph.initializer[0]
    proto.graph.node.insert(0, constant)
    path.write_bytes(proto.SerializeToString())
    model = load_model(path)
    assert not is_external(model.proto.graph.node[0].attribute[0].t)
    np.testing.assert_array_equal(Constants(model.proto.graph).value("w1"), ARRAYS["w1"])
    entry(location="/etc/passwd")(proto.graph.node[0].attribute[0].t)
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="leaves the model's folder"):
        load_model(path)


def test_a_model_in_memory_cannot_say_where_its_weights_are(tmp_path: Path) -> None:
    proto = onnx.load_model(save(tmp_path), load_external_data=False)
    with pytest.raises(ModelError, match="give its path"):
        load_model(proto)


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.BFLOAT16, TensorProto.INT8, TensorProto.DOUBLE])
def test_all_types_are_read_from_files(kind: int, tmp_path: Path) -> None:
    values = np.array([1, -2, 3, 4, -5], onnx.helper.tensor_dtype_to_np_dtype(kind))
    tensor = numpy_helper.from_array(values, "w")
    assert tensor.data_type == kind
    (tmp_path / "w.bin").write_bytes(b"--" + tensor.raw_data)
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (float[1] x) => (float[1] y) { y = Relu(x) }'
    )
    added = model.graph.initializer.add(name="w", data_type=kind, dims=[5], data_location=TensorProto.EXTERNAL)
    added.external_data.add(key="location", value="w.bin")
    added.external_data.add(key="offset", value="2")
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    loaded = load_model(tmp_path / "net.onnx")
    np.testing.assert_array_equal(Constants(loaded.proto.graph).value("w"), values)
