"""Reading model files, naming nodes, and writing without leaving half a file."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from lhc.errors import ModelError, UsageError
from lhc.onnx_io import Constants, load_model, save_model
from lhc.onnx_io.annotate.annotations import metadata_of_file

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 4] x) => (float[N, 3] y) <float[4, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}> {
  h = MatMul(x, w)
  y = Relu(h)
}
"""


def a_model() -> onnx.ModelProto:
    return parser.parse_model(TEXT)


def test_a_path_and_a_proto_give_the_same_model(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(a_model(), path)
    loaded = load_model(path)
    assert loaded.path == path
    assert loaded.label == str(path)
    assert load_model(str(path), label="digits").label == "digits"
    assert load_model(a_model()).source == loaded.source
    assert load_model(a_model()).path is None


def test_a_loaded_model_is_taken_as_it_is_and_a_proto_is_copied() -> None:
    proto = a_model()
    loaded = load_model(proto)
    assert load_model(loaded) is loaded
    assert loaded.proto.graph.node[0].name
    assert proto == a_model()


def test_weights_in_a_file_beside_the_model_are_read(tmp_path: Path) -> None:
    proto = a_model()
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3), "w"))
    path = tmp_path / "net.onnx"
    onnx.save(proto, path, save_as_external_data=True, size_threshold=0, location="net.bin")
    stored = Constants(load_model(path).proto.graph).value("w")
    np.testing.assert_array_equal(stored, np.arange(12).reshape(4, 3))
    (tmp_path / "net.bin").unlink()
    with pytest.raises(ModelError, match=r"net\.onnx: data of tensor 'w': cannot be read: .*net\.bin"):
        load_model(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx: no such file"):
        load_model(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="cannot be read"):
        load_model("x" * 5000)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a file"):
        load_model(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="pipe: not a file"):
        load_model(tmp_path / "pipe")


# The endings are those that onnx reads as other formats than protobuf.
@pytest.mark.parametrize("ending", ["onnx", "txt", "json", "textproto", "onnxtxt"])
def test_files_that_are_no_models_are_refused_whatever_they_are_called(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"net.{ending}"
    path.touch()
    with pytest.raises(ModelError, match="the file is empty"):
        load_model(path)
    for content in ("These are notes.\n", "{}", "PK\x03\x04"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ModelError, match=rf"net\.{ending}: not an ONNX model"):
            load_model(path)
        assert metadata_of_file(path) == {}


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    data = a_model().SerializeToString()
    path = tmp_path / "net.onnx"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ModelError, match=r"net\.onnx: "):
            load_model(path)


@pytest.mark.parametrize("text", ["MatMul", "the_weight", "of a weight", "its place"])
def test_text_that_is_no_utf8_is_refused(tmp_path: Path, text: str) -> None:
    proto = a_model()
    proto.graph.node[0].name = "the_weight"
    proto.graph.initializer[0].doc_string = "of a weight"
    proto.metadata_props.add(key="lhc.summary", value="its place")
    data = proto.SerializeToString()
    path = tmp_path / "net.onnx"
    path.write_bytes(data.replace(text.encode(), text[:-1].encode() + b"\xee"))
    with pytest.raises(ModelError, match=r"net\.onnx: not a valid ONNX model: a '\w+' is b'.*xee', which is not UTF-8"):
        load_model(path)
    if text != "MatMul":
        with pytest.raises(ModelError, match="not UTF-8"):
            load_model(onnx.ModelProto.FromString(path.read_bytes()))


def test_an_attribute_that_is_no_utf8_is_refused() -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 1, 4] x) => (float[N, 2, M] y)'
        ' <float[2, 1, 3] w = {1, 2, 3, 4, 5, 6}> { [fc] y = Conv <auto_pad = "SAME_UPPER"> (x, w) }'
    )
    load_model(proto)
    proto.graph.node[0].attribute[0].s = b"\xfe"
    with pytest.raises(
        ModelError, match="attribute 'auto_pad' of Conv 'fc' is text that is not UTF-8; export it again"
    ):
        load_model(proto)


@dataclass(frozen=True)
class Invalid:
    id: str
    text: str
    message: str


INVALID = [
    Invalid("no operators", "net (float[1] x) => (float[1] x) {}", "no operators in it"),
    Invalid("unknown operator", "net (float[1] x) => (float[1] y) { y = Reluu(x) }", "not a valid ONNX model: .*Reluu"),
    Invalid(
        "tensor from nowhere",
        "net (float[1] x) => (float[1] y) { y = Add(x, z) }",
        "not a valid ONNX model: .*'z'|input",
    ),
    Invalid(
        "a cycle",
        "net (float[1] x) => (float[1] y) { y = Add(h, x)\n h = Relu(y) }",
        "not a valid ONNX model: its graph has a cycle: 'Add_0' -> 'Relu_1' -> 'Add_0'; an operator can only",
    ),
    Invalid("missing attribute", "net (float[1] x) => (float y) { y = Cast(x) }", "not a valid ONNX model: .*to"),
]


@pytest.mark.parametrize("case", INVALID, ids=lambda case: case.id)
def test_models_that_the_checker_refuses_are_refused(case: Invalid) -> None:
    proto = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{case.text}')
    with pytest.raises(ModelError, match=case.message) as caught:
        load_model(proto, label="net")
    assert str(caught.value).startswith("net: ")
    assert "\n" not in str(caught.value)


def test_a_proto_without_a_version_is_refused() -> None:
    with pytest.raises(ModelError, match="not an ONNX model"):
        load_model(onnx.ModelProto())


def chain(*names: str) -> onnx.ModelProto:
    """Relu after Relu, with these names."""
    tensors = ["x", *(f"t{i}" for i in range(len(names)))]
    nodes = [onnx.helper.make_node("Relu", [tensors[i]], [tensors[i + 1]], name=name) for i, name in enumerate(names)]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(nodes, "net", [value("x", 1, [1])], [value(tensors[-1], 1, [1])])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


@dataclass(frozen=True)
class Names:
    id: str
    before: tuple[str, ...]
    after: tuple[str, ...]


NAMES = [
    Names("unique names stay", ("a", "b", "c"), ("a", "b", "c")),
    Names("unnamed", ("", "", ""), ("Relu_0", "Relu_1", "Relu_2")),
    Names("duplicates", ("a", "a", "a"), ("a", "a_1", "a_2")),
    Names("suffix that is taken", ("a", "a", "a_1"), ("a", "a_2", "a_1")),
    Names("name that is taken", ("", "Relu_0", "Relu_0"), ("Relu_0_1", "Relu_0", "Relu_0_2")),
]


@pytest.mark.parametrize("case", NAMES, ids=lambda case: case.id)
def test_every_node_gets_a_unique_name(case: Names) -> None:
    loaded = load_model(chain(*case.before))
    assert tuple(node.name for node in loaded.proto.graph.node) == case.after
    changed = tuple((old, new) for old, new in zip(case.before, case.after, strict=True) if old != new)
    assert loaded.renamed == changed
    # Done once, it stays: the names that were given are those that are read back.
    again = load_model(loaded.proto)
    assert again.renamed == ()
    assert again.source == loaded.source


def test_saving_writes_the_model_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_text("older", encoding="utf-8")
    save_model(a_model(), path)
    assert onnx.load(path) == a_model()
    assert [found.name for found in tmp_path.iterdir()] == ["net.onnx"]
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        save_model(a_model(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_failure_while_writing_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.onnx"
    path.write_text("older", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match=r"net\.onnx: cannot be written: No space left.*choose another place"):
        save_model(a_model(), path)
    assert path.read_text(encoding="utf-8") == "older"
    assert [found.name for found in tmp_path.iterdir()] == ["net.onnx"]


def test_an_interruption_while_writing_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "chmod", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_model(a_model(), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "missing" / "net.onnx", tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(UsageError, match=r"cannot be written|is no file"):
            save_model(a_model(), place)
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]


def test_an_attribute_that_refers_to_a_function_outside_of_one_is_refused() -> None:
    proto = a_model()
    proto.graph.node[0].attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="alpha")
    with pytest.raises(ModelError, match=r"attribute 'alpha' of MatMul .* refers to an attribute of a function"):
        load_model(proto)


def test_a_model_without_outputs_is_refused() -> None:
    proto = a_model()
    del proto.graph.output[:]
    with pytest.raises(ModelError, match="it has no outputs"):
        load_model(proto)
