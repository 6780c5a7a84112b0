"""``lhc inspect`` starts quickly: it only reads."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import onnx

from lhc.commands.report import report_of
from lhc.hardware import Hardware
from lhc.onnx_io import annotate, load_model, read_graph
from lhc.passes import Qualify, initial_plan

COMPUTES = (
    *("aihwkit", "lhc.costs", "lhc.passes", "lhc.report.document", "lhc.results", "lhc.runtime.executor", "numba"),
    *("onnxruntime", "rich", "scipy", "torch", "yaml"),
)
OF_PLANS = ("lhc.hardware", "lhc.plan", "lhc.report.placement_lines", "pydantic")
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
