"""A report as an MLflow run (extra ``lhc[mlflow]``): its settings as parameters, its figures as metrics, its pages.

Names begin with ``lhc/``, so that a run that also trained keeps its own. Figures over time have the age in seconds as
their step.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lhc.errors import LhcError, MissingDependencyError, UsageError
from lhc.report.document.page_content import data_facts
from lhc.report.document.report import Report
from lhc.report.html.page import html
from lhc.report.wording.placement import verdict
from lhc.support.text_escaping import one_line

if TYPE_CHECKING:
    from lhc.plan import Outcome

__all__ = ["log_mlflow"]

_LONGEST = 500
"""Most characters of a parameter, which every store of MLflow takes."""


def log_mlflow(report: Report) -> str:
    """Log a report to the active run, to that of ``MLFLOW_RUN_ID``, or to a new one; returns the run's id.

    Where runs are kept, MLflow's own settings say: ``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME``.

    Raises:
        MissingDependencyError: MLflow, or what its store needs, is not installed.
        UsageError: MLflow refuses, e.g. since the run has other parameters of these names, or no server answers.
    """
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise _missing(error) from error
    try:
        if mlflow.active_run() is not None:
            return _logged(report)
        with mlflow.start_run():
            mlflow.set_tag("mlflow.runName", one_line(report.model))
            return _logged(report)
    except ImportError as error:
        raise _missing(error) from error
    except (MlflowException, OSError) as error:
        raise UsageError(f"MLflow does not take the report: {one_line(str(error))[:1000]}") from error


def _missing(error: ImportError) -> LhcError:
    return MissingDependencyError(f"logging to MLflow needs {error.name}: pip install 'lhc[mlflow]'")


def _logged(report: Report) -> str:
    import mlflow

    run = mlflow.active_run()
    assert run is not None
    mlflow.log_params({_key(name): one_line(text)[:_LONGEST] for name, text in _parameters(report).items()})
    mlflow.log_metrics({_key(name): value for name, value in _metrics(report)})
    for name, value, step in _aged(report):
        mlflow.log_metric(_key(name), value, step=step)
    mlflow.set_tag("lhc.verdict", "not known: see lhc.warnings" if report.warnings else verdict(report.plan)[0])
    mlflow.set_tag("lhc.summary", one_line(report.summary))
    if report.warnings:
        mlflow.set_tag("lhc.warnings", one_line(" ".join(report.warnings)))
    mlflow.log_text(html(report), "lhc/report.html")
    mlflow.log_text(report.to_json(), "lhc/report.json")
    identity: str = run.info.run_id
    return identity


def _key(name: str) -> str:
    """A name with the characters that MLflow takes in names alone."""
    return "lhc/" + re.sub(r"[^\w.\- ]", "_", name, flags=re.ASCII)


def _parameters(report: Report) -> Mapping[str, str]:
    plan = report.plan
    known = {
        "model": report.model,
        "model_sha256": plan.source,
        "hardware": plan.hardware.name,
        "version": plan.lhc_version,
        "command": plan.command,
    }
    return {name: text for name, text in {**dict(data_facts(plan)), **known}.items() if text}


def _metrics(report: Report) -> Iterator[tuple[str, float]]:
    plan = report.plan
    yield "analog_layers", len(plan.analog)
    yield "layers", plan.size
    yield "analog_mac_fraction", plan.analog_mac_fraction
    yield "macs", plan.macs
    yield "tiles", report.tiles
    if report.costs is not None:
        for name, cost in (("", report.costs.total), ("_all_digital", report.costs.all_digital)):
            yield f"latency_s{name}", cost.latency_s
            yield f"energy_j{name}", cost.energy_j
    if plan.outcome is not None:
        yield from _judged(plan.outcome)
        if not report.warnings:  # of a model that has changed, the verdict is another network's
            yield "within_budget", float(plan.outcome.within_budget and plan.outcome.limits_kept)
    if report.robustness is not None:
        yield "noise_margin", report.robustness.margin


def _judged(outcome: "Outcome") -> Iterator[tuple[str, float]]:
    yield f"{outcome.metric}_digital", outcome.baseline
    yield f"{outcome.metric}_on_tiles", outcome.value
    yield "mean_drop", outcome.drop
    if outcome.interval is not None:
        yield "mean_drop_low", outcome.interval[0]
        yield "mean_drop_high", outcome.interval[1]
    yield "max_drop", outcome.max_drop
    yield "chips_within", outcome.chips_within
    for one in outcome.further:
        yield f"{one.output}_{one.metric}_digital", one.baseline
        yield f"{one.output}_{one.metric}_on_tiles", one.value


def _aged(report: Report) -> Iterator[tuple[str, float, int]]:
    """Name, value and step, which is the age in seconds."""
    for point in report.over_time:
        found, step = point.evaluation, round(point.evaluation.t_s)
        yield f"{found.metric}_over_time", found.mean, step
        yield "mean_drop_over_time", found.drop, step
        if (
            interval := found.deciding(report.plan.outcome is not None and report.plan.outcome.generalized)
        ) is not None:
            yield "mean_drop_high_over_time", interval[1], step
