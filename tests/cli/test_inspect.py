"""``lhc inspect`` starts quickly: it only reads. It writes the placement as a graph."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import networkx as nx
import onnx
import pytest

from lhc.commands.report import report_of
from lhc.hardware import Hardware
from lhc.onnx_io import annotate, load_model, read_graph
from lhc.passes import Qualify, initial_plan
from tests.conftest import Cli

COMPUTES = (
    *(
        "aihwkit",
        "lhc.costs",
        "lhc.passes",
        "lhc.report.document.report",
        "lhc.results",
        "lhc.runtime.executor",
        "numba",
    ),
    *("onnxruntime", "rich", "scipy", "torch", "yaml"),
)
OF_PLANS = ("lhc.hardware", "lhc.plan", "lhc.report.wording.placement", "pydantic")
CODE = """
import atexit, sys
from lhc.cli import main
atexit.register(lambda: print(*sorted({heavy!r} & set(sys.modules)), file=sys.stderr))
main()
"""


def loaded(heavy: Iterable[str], *arguments: str) -> tuple[str, str]:
    """What a command says, and what of these it loads."""
    code = CODE.format(heavy=set(heavy))
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr.strip()


@pytest.mark.slow
def test_what_is_only_read_loads_nothing_that_computes(model_file: Path) -> None:
    model = load_model(model_file)
    graph = read_graph(model)
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), model.source, "0")).plan
    onnx.save_model(annotate(model, plan, graph), str(model_file))
    for _ in range(2):  # a file that was not opened before is opened by a process of its own first
        shown, heavy = loaded(COMPUTES, "inspect", str(model_file))
        assert "stem" in shown
    assert heavy == ""


BODY = """<body = turn (int64 i, bool go, float[N, 2] s) => (bool on, float[N, 2] t) {
    on = Identity (go)
    m = MatMul (s, w)
    t = Tanh (m)
  }>"""
LOOPS = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[N, 2] x, int64 turns, bool go) => (float[N, 2] y)
<float[2, 2] w = {{1, 2, 3, 4}}> {{
  [first] h = Loop {BODY} (turns, go, x)
  [second] y = Loop {BODY} (turns, go, h)
}}"""


@pytest.mark.slow
def test_bodies_may_name_their_tensors_alike(tmp_path: Path) -> None:
    model = load_model(onnx.parser.parse_model(LOOPS))
    graph = read_graph(model)
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), model.source, "0")).plan
    path = tmp_path / "loops.lhc.onnx"
    onnx.save_model(annotate(model, plan, graph), str(path))
    shown, _ = loaded((), "inspect", str(path))
    assert all(name in shown for name in ("in the body of Loop 'first'", "in the body of Loop 'second'"))
    assert len(report_of(path).plan.layers) == 2


def test_a_model_without_a_plan_loads_no_classes_of_plans(model_file: Path) -> None:
    shown, heavy = loaded((*COMPUTES, *OF_PLANS), "inspect", str(model_file))
    assert "no lhc annotations" in shown
    assert heavy == ""


@pytest.fixture
def placed_file(model_file: Path) -> Path:
    """The small network with ``hidden`` on tiles."""
    model = load_model(model_file)
    graph = read_graph(model)
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), model.source, "0")).plan
    onnx.save_model(annotate(model, plan.decide({"hidden": ("analog", "forced", "")}), graph), str(model_file))
    return model_file


@pytest.mark.parametrize("suffix", [".graphml", ".json"])
def test_a_placement_is_written_as_a_graph(cli: Cli, placed_file: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    result = cli("inspect", placed_file, "-o", path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"written: {path}" in result.stderr
    if suffix == ".json":
        graph = nx.node_link_graph(json.loads(path.read_text()), edges="edges")
    else:
        graph = nx.read_graphml(path)
    assert list(graph) == ["stem", "act", "pool", "flat", "hidden", "head"]
    assert [name for name, placement in graph.nodes(data="placement") if placement == "analog"] == ["hidden"]
    assert nx.ancestors(graph, "flat") == {"stem", "act", "pool"}


def test_a_model_without_a_placement_is_written_with_its_facts(cli: Cli, model_file: Path, tmp_path: Path) -> None:
    result = cli("inspect", model_file, "-o", tmp_path / "net.graphml")
    assert result.exit_code == 0
    assert "no lhc annotations" in result.stderr
    graph = nx.read_graphml(tmp_path / "net.graphml")
    assert graph.nodes["head"]["op_type"] == "Gemm"
    assert not any("placement" in node for _, node in graph.nodes(data=True))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--nnpa-config", "--layer-assignment", "npu"), "--layer-assignment and --nnpa-config"),
        (("--nnpa-config", "--json"), "--nnpa-config and --json"),
        (("--layer-assignment", "npu", "--format", "csv"), "--layer-assignment and --format csv"),
    ],
    ids=["two settings", "JSON", "CSV"],
)
def test_one_form_of_a_placement_is_written_at_a_time(
    cli: Cli, placed_file: Path, words: tuple[str, ...], named: str
) -> None:
    refused = cli("inspect", placed_file, *words)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"{named} ask for two forms; give one of them" in refused.stderr


def test_a_graph_replaces_no_file_unless_told_to(cli: Cli, placed_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.graphml"
    path.write_text("mine")
    result = cli("inspect", placed_file, "-o", path)
    assert result.exit_code == 2
    assert f"{path}: exists; --force replaces it" in result.stderr
    assert path.read_text() == "mine"
    assert cli("inspect", placed_file, "-o", path, "--force").exit_code == 0
    assert len(nx.read_graphml(path)) == 6


@pytest.mark.parametrize(
    ("name", "message"),
    [("net.dot", "a graph ends in .graphml"), ("missing/net.json", "not a file name in an existing folder")],
)
def test_a_graph_that_cannot_be_written_is_refused(
    cli: Cli, placed_file: Path, tmp_path: Path, name: str, message: str
) -> None:
    result = cli("inspect", placed_file, "-o", tmp_path / name)
    assert result.exit_code == 2
    assert message in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [placed_file.name]
