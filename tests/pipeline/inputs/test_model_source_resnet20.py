"""The real network, with weights and images from outside the package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scipy import stats

import lhc
from lhc.pipeline.inputs.model_source import open_model
from lhc.runtime import PARITY_TOLERANCE, parity_errors

pytestmark = pytest.mark.analog

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "aihwkit_sensitivity.py"


def test_structure(lhc_data: Path) -> None:
    analysis = lhc.analyze("resnet20")
    assert len(analysis.plan.layers) == len(analysis.plan.eligible) == 20
    assert analysis.plan.macs == 40_551_040
    assert analysis.tiles == 36


def test_parity_of_every_layer(lhc_data: Path) -> None:
    opened = open_model("resnet20")
    task = opened.task(None, None, 4)
    graph = opened.graph(None, task)
    names = [layer.name for layer in graph.candidates]
    errors = parity_errors(opened.model, graph, lhc.Hardware.load("lionheart"), names, next(task.blocks(4))[1], 4)
    assert set(errors) == set(names)
    assert max(errors.values()) <= PARITY_TOLERANCE


@pytest.mark.slow
def test_sensitivities_agree_with_aihwkit_alone(lhc_data: Path, tmp_path: Path) -> None:
    """256 images; 5 draws by aihwkit's own modules, 10 here, without healing, which those have not."""
    out = tmp_path / "aihwkit.json"
    command = [sys.executable, str(BENCHMARK), "--images", "256", "--draws", "5", "--output", str(out)]
    environment = {**os.environ, "LHC_DATA": str(lhc_data), "PYTHONPATH": str(BENCHMARK.parents[1])}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    theirs = {row["name"]: row["mean"] for row in json.loads(out.read_text())["layers"]}
    bare = lhc.Hardware.load("lionheart").with_drift_compensation_alone()
    ours = lhc.sensitivity("resnet20", samples=256, draws=10, hardware=bare)
    assert set(theirs) == set(ours.layers)
    correlation = stats.spearmanr([theirs[name] for name in ours.layers], [s.mean for s in ours.layers.values()])
    assert correlation.statistic >= 0.8
    assert ours.ranking()[0] == max(theirs, key=lambda name: theirs[name]) == "conv1"
