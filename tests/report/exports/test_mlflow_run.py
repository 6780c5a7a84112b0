"""Reports as MLflow runs, in a store of the test's own; what MLflow would be given, where it is not installed."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from lhc.errors import MissingDependencyError, UsageError
from lhc.report.document.report import Report
from lhc.report.exports.mlflow_run import log_mlflow

# MLflow's own code and that of its database
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """MLflow, with an empty database."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    found: ModuleType = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)  # artefacts of a local database go into the current folder
    found.set_tracking_uri(f"sqlite:///{tmp_path / 'runs.db'}")
    yield found
    while found.active_run() is not None:
        found.end_run()


def test_a_run_of_its_own_has_parameters_metrics_and_the_report(mlflow: ModuleType, full: Report) -> None:
    run = mlflow.get_run(log_mlflow(full))
    assert mlflow.active_run() is None
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.runName"] == "full.lhc.onnx"
    assert run.data.tags["lhc.verdict"] == "within the budget"
    assert run.data.params["lhc/hardware"] == "lionheart"
    assert run.data.params["lhc/budget"] == "mean drop of at most 3.00 points (absolute)"
    found = {name.removeprefix("lhc/"): value for name, value in run.data.metrics.items()}
    expected = {"accuracy_digital": 0.9, "accuracy_on_tiles": 0.888, "mean_drop": 0.012, "max_drop": 0.03}
    expected |= {"mean_drop_low": 0.006, "mean_drop_high": 0.018, "within_budget": 1.0, "tiles": full.tiles}
    assert found.items() >= expected.items()
    assert full.costs is not None
    assert found["energy_j"] == full.costs.total.energy_j
    client = mlflow.MlflowClient()
    ages = client.get_metric_history(run.info.run_id, "lhc/accuracy_over_time")
    assert {one.step: round(one.value, 3) for one in ages} == {0: 0.89, 3600: 0.886, 86400: 0.882, 32000000: 0.878}
    logged = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/lhc/report.json")
    assert json.loads(logged)["model"] == "full.lhc.onnx"
    assert "lhc/report.html" in {one.path for one in client.list_artifacts(run.info.run_id, "lhc")}


def test_an_active_run_takes_it_and_stays_open(mlflow: ModuleType, full: Report) -> None:
    with mlflow.start_run() as run:
        mlflow.log_metric("accuracy", 0.5)
        assert log_mlflow(full) == run.info.run_id
        assert mlflow.active_run() is not None
    assert mlflow.get_run(run.info.run_id).data.metrics["accuracy"] == 0.5


def test_a_changed_model_has_no_verdict(mlflow: ModuleType, full: Report) -> None:
    data = mlflow.get_run(log_mlflow(full.model_copy(update={"warnings": ("It has changed since.",)}))).data
    assert "lhc/within_budget" not in data.metrics
    assert data.tags["lhc.verdict"].startswith("not known")
    assert data.tags["lhc.warnings"] == "It has changed since."


def test_other_parameters_of_the_run_are_an_error(mlflow: ModuleType, full: Report) -> None:
    with mlflow.start_run():
        mlflow.log_param("lhc/hardware", "another")
        with pytest.raises(UsageError, match="MLflow does not take the report"):
            log_mlflow(full)


def test_without_mlflow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, full: Report) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'lhc\[mlflow\]'"):
        log_mlflow(full)
