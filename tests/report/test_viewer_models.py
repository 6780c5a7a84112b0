"""`lhc view` as users run it: what it says, what it refuses, and that it ends."""

import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.plan import Plan
from lhc.report.viewer import annotation_notes, open_for_viewing
from tests.conftest import Cli

if TYPE_CHECKING:
    from tests.report.conftest import Viewing

Placed = Callable[[onnx.ModelProto, Callable[[int], bool]], tuple[onnx.ModelProto, Plan]]

SMALL = """<ir_version: 8, opset_import: ["" : 17]>
small (float[N, 3] x) => (float[N, 2] y) {
  h = MatMul (x, u)
  r = Relu (h)
  y = MatMul (r, v)
}"""


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as response:
        body: bytes = response.read()
        return body


def small() -> onnx.ModelProto:
    model = onnx.parser.parse_model(SMALL)
    for name, shape in (("u", (3, 4)), ("v", (4, 2))):
        model.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
    return model


def test_own_keys_of_a_file_are_shown_before_traces_of_an_exporter(placed: Placed, tmp_path: Path) -> None:
    proto, plan = placed(small(), lambda index: True)
    for node in proto.graph.node:  # as earlier versions wrote them
        own = list(node.metadata_props)
        del node.metadata_props[:]
        for key in ("pkg.torch.onnx.name_scopes", "pkg.torch.onnx.stack_trace"):
            node.metadata_props.add(key=key, value="a line\n" * 20)
        node.metadata_props.extend(own)
    onnx.save_model(proto, str(tmp_path / "traced.lhc.onnx"))
    shown = open_for_viewing(str(tmp_path / "traced.lhc.onnx"))
    for node in shown.proto.graph.node:
        keys = [entry.key for entry in node.metadata_props]
        assert [key.startswith("lhc.") for key in keys] == [True] * (len(keys) - 2) + [False] * 2
        assert (keys[0] == "lhc.placement") is (node.name in plan.analog)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(view: "Callable[..., Viewing]", digits_file: Path, number: signal.Signals) -> None:
    viewing = view(digits_file, "--no-browser")
    assert viewing.url.startswith("http://127.0.0.1:")
    assert b"<title>Netron</title>" in get(viewing.url)
    assert viewing.end(number) == (0, "", "")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", viewing.port))


@pytest.mark.slow
def test_it_ends_while_a_browser_stays_connected(view: "Callable[..., Viewing]", digits_file: Path) -> None:
    viewing = view(digits_file, "--no-browser")
    with socket.create_connection(("127.0.0.1", viewing.port)):
        assert viewing.end() == (0, "", "")


@pytest.mark.slow
def test_it_ends_though_signals_repeat(view: "Callable[..., Viewing]", digits_file: Path) -> None:
    viewing = view(digits_file, "--no-browser")
    for _ in range(5):
        viewing.process.send_signal(signal.SIGINT)
    assert viewing.end() == (0, "", "")


@pytest.mark.slow
def test_the_port_of_ones_choice(view: "Callable[..., Viewing]", digits_file: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for _ in range(2):  # a second time at once: the port was given back
        viewing = view(digits_file, "--no-browser", "--port", port)
        assert viewing.url.startswith(f"http://127.0.0.1:{port}/")
        get(viewing.url)
        assert viewing.end() == (0, "", "")


@pytest.mark.slow
def test_a_browser_that_leaves_early_is_no_error(view: "Callable[..., Viewing]", digits_file: Path) -> None:
    viewing = view(digits_file, "--no-browser")
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", viewing.port)) as connection:
            connection.sendall(f"GET /onnx-metadata.json HTTP/1.0\r\nHost: 127.0.0.1:{viewing.port}\r\n\r\n".encode())
    get(viewing.url)
    assert viewing.end() == (0, "", "")


def test_the_browser_is_opened(view: "Callable[..., Viewing]", digits_file: Path, tmp_path: Path) -> None:
    """At the address, while the server answers: here the browser is a script that saves the page."""
    page = tmp_path / "page.html"
    script = tmp_path / "browser.py"
    script.write_text(
        "import sys, urllib.request\n"
        f"data = urllib.request.urlopen(sys.argv[1]).read()\nopen({str(page)!r}, 'wb').write(data)\n"
        f"open({str(page)!r} + '.done', 'w').close()\n"
    )
    viewing = view(digits_file, env={"BROWSER": f"{sys.executable} {script} %s"})
    done = Path(f"{page}.done")
    for _ in range(200):
        if not done.exists():
            time.sleep(0.1)
    assert b"<title>Netron</title>" in page.read_bytes()
    assert viewing.end() == (0, "", "")


@pytest.mark.slow
def test_no_browser_to_open(view: "Callable[..., Viewing]", digits_file: Path) -> None:
    viewing = view(digits_file, env={"BROWSER": "false"})
    get(viewing.url)
    assert viewing.process.stderr is not None
    assert viewing.process.stderr.readline() == f"note: no browser found; open {viewing.url} yourself\n"
    assert viewing.end() == (0, "", "")


def test_a_plain_model_is_shown_under_the_names_of_lhc(view: "Callable[..., Viewing]", tmp_path: Path) -> None:
    path = tmp_path / "plain.onnx"
    onnx.save_model(small(), str(path))
    viewing = view(path, "--no-browser")
    served = onnx.load_model_from_string(get(f"{viewing.url}data/model.onnx"))
    assert [node.name for node in served.graph.node] == ["MatMul_0", "Relu_1", "MatMul_2"]
    assert "#node-name-" not in get(f"{viewing.url}grapher.css").decode()
    code, _, err = viewing.end()
    assert code == 0
    assert err.splitlines() == [
        "note: a node without a name is now called 'MatMul_0'",
        "note: a node without a name is now called 'Relu_1'",
        "note: a node without a name is now called 'MatMul_2'",
        "note: no lhc annotations, so no layer is coloured; 'lhc partition' makes them",
    ]


@pytest.mark.slow
def test_a_model_of_the_zoo(view: "Callable[..., Viewing]") -> None:
    viewing = view("digits-narrow", "--no-browser")
    assert len(onnx.load_model_from_string(get(f"{viewing.url}data/model.onnx")).graph.node) > 20
    assert viewing.end()[0] == 0


@pytest.mark.slow
def test_weights_in_other_files_are_not_needed(
    view: "Callable[..., Viewing]",
    placed: Placed,
    tmp_path: Path,
) -> None:
    proto, plan = placed(small(), lambda index: index == 0)
    path = tmp_path / "large.onnx"
    onnx.save_model(proto, str(path), save_as_external_data=True, location="large.bin", size_threshold=0)
    (tmp_path / "large.bin").unlink()
    viewing = view(path, "--no-browser")
    assert get(f"{viewing.url}data/model.onnx") == path.read_bytes()
    css = get(f"{viewing.url}grapher.css").decode()
    assert all(f"#node-name-{layer.name} " in css for layer in plan.layers)
    code, _, err = viewing.end()
    assert (code, err) == (
        0,
        "note: weights are in other files, so whether they are still those of the plan was not checked\n",
    )


def test_unnamed_nodes_with_weights_in_other_files(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    onnx.save_model(small(), str(path), save_as_external_data=True, location="large.bin", size_threshold=0)
    (tmp_path / "large.bin").unlink()
    model = open_for_viewing(str(path))
    assert [node.name for node in model.proto.graph.node] == ["MatMul_0", "Relu_1", "MatMul_2"]
    assert [list(tensor.dims) for tensor in model.proto.graph.initializer] == [[3, 4], [4, 2]]


@pytest.mark.slow
def test_stale_annotations_are_warned_of(view: "Callable[..., Viewing]", digits_file: Path) -> None:
    proto = onnx.load_model(str(digits_file))
    weight = numpy_helper.to_array(proto.graph.initializer[0])
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight + 1, proto.graph.initializer[0].name))
    onnx.save_model(proto, str(digits_file))
    code, _, err = view(digits_file, "--no-browser").end()
    assert code == 0
    assert "has changed since lhc annotated it" in err


def forge(proto: onnx.ModelProto, name: str) -> None:
    """Turn what one node says of its own placement."""
    node = next(node for node in proto.graph.node if node.name == name)
    entry = next(entry for entry in node.metadata_props if entry.key == "lhc.placement")
    entry.value = {"analog": "digital", "digital": "analog"}[entry.value]


def test_forged_keys_are_warned_of_and_colour_nothing(view: "Callable[..., Viewing]", digits_file: Path) -> None:
    proto = onnx.load_model(str(digits_file))
    forge(proto, "conv1")
    onnx.save_model(proto, str(digits_file))
    viewing = view(digits_file, "--no-browser")
    (rule,) = (line for line in get(f"{viewing.url}grapher.css").decode().splitlines() if "#node-name-conv1 " in line)
    assert "#1f6feb" in rule, "the plan says digital"
    code, _, err = viewing.end()
    assert code == 0
    assert "node 'conv1': lhc.placement differ from lhc.plan" in err


def test_forged_keys_with_weights_in_other_files(placed: Placed, tmp_path: Path) -> None:
    proto, plan = placed(small(), lambda index: index == 0)
    forge(proto, plan.layers[0].name)
    path = tmp_path / "large.onnx"
    onnx.save_model(proto, str(path), save_as_external_data=True, location="large.bin", size_threshold=0)
    (note, warning) = annotation_notes(open_for_viewing(str(path)), plan)
    assert note.startswith("note: weights are in other files")
    assert "node 'MatMul_0': lhc.placement differ" in warning


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b"\x08\x08 this is no model" * 20, "not an ONNX model, or a truncated one"),
    ],
)
def test_bad_models(cli: Cli, tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    result = cli("view", path, "--no-browser")
    assert (result.exit_code, result.stdout) == (3, "")
    assert message in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("key", "value"), [("lhc.plan", "[{]"), ("lhc.schema", "99"), ("lhc.hardware", "{}")])
def test_bad_annotations(cli: Cli, digits_file: Path, key: str, value: str) -> None:
    proto = onnx.load_model(str(digits_file))
    next(entry for entry in proto.metadata_props if entry.key == key).value = value
    onnx.save_model(proto, str(digits_file))
    result = cli("view", digits_file, "--no-browser")
    assert (result.exit_code, result.stdout) == (3, "")
    assert str(digits_file) in result.stderr


def test_busy_port(cli: Cli, digits_file: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        result = cli("view", digits_file, "--no-browser", "--port", port)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"port {port} cannot be used" in result.stderr


def test_a_port_that_does_not_exist(cli: Cli, digits_file: Path) -> None:
    assert cli("view", digits_file, "--port", "70000").exit_code == 2
