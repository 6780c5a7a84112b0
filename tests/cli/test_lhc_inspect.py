"""``lhc inspect`` starts quickly: it only reads."""

import subprocess
import sys
from pathlib import Path

import onnx

from lhc.hardware import Hardware
from lhc.onnx_io import annotate, load_model, read_graph
from lhc.passes import Qualify, initial_plan

HEAVY = {"aihwkit", "lhc.passes", "lhc.report.document", "numba", "onnxruntime", "rich", "scipy.optimize", "torch"}
CODE = f"""
import atexit, sys
from lhc.cli import main
atexit.register(lambda: print(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr))
main()
"""


def test_what_is_only_read_loads_nothing_that_computes(model_file: Path) -> None:
    model = load_model(model_file)
    graph = read_graph(model)
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), model.source, "0")).plan
    onnx.save_model(annotate(model, plan, graph), str(model_file))
    for _ in range(2):  # a file that was not opened before is opened by a process of its own first
        done = subprocess.run(
            [sys.executable, "-c", CODE, "inspect", str(model_file)], capture_output=True, text=True, check=True
        )
        assert "stem" in done.stdout
    assert done.stderr == "\n"
