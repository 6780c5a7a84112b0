"""What measuring starts from: model, samples and hardware read and checked, layers qualified, selected and gated."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lhc import __version__
from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.measure import Bench, Progress
from lhc.measure.data import DataSource
from lhc.model import OnnxModel
from lhc.onnx_io import read_plan
from lhc.opening import ModelSource, open_model
from lhc.passes import ParityGate, Qualify, Select, initial_plan, run_passes
from lhc.plan import LayerPlan, Plan
from lhc.runtime import PARITY_TOLERANCE, parity_errors
from lhc.task import Task, get_metric

__all__ = ["HardwareSource", "Work", "measurable", "prepare", "prepare_run"]

PARITY_SAMPLES = 4

HardwareSource = Hardware | str | Path


@dataclass(frozen=True, eq=False)
class Work:
    """Everything read, checked and qualified.

    Attributes:
        model: the network.
        graph: its layers.
        plan: what may be analog, what the user fixed; nothing placed yet.
        task: samples and metric.
        seed: of the run.
        draws: programmings per placement.
        t_s: time of inference in seconds.
        progress: called as work proceeds.
        notes: sentences for the user.
    """

    model: OnnxModel
    graph: LayerGraph
    plan: Plan
    task: Task
    seed: int
    draws: int
    t_s: float
    progress: Progress
    notes: tuple[str, ...] = ()

    def bench(self, task: Task) -> Bench:
        """A bench for some of the samples, or another metric."""
        return Bench(
            self.model,
            self.graph,
            self.plan.hardware,
            task,
            seed=self.seed,
            draws=self.draws,
            t_s=self.t_s,
            progress=self.progress,
        )


def prepare(
    model: ModelSource,
    data: DataSource | None,
    metric: str | None,
    hardware: HardwareSource,
    t_inference: float | None,
    samples: int | None,
    draws: int,
    seed: int,
    label_key: str,
    selection: Select,
    progress: Progress,
) -> Work:
    """Read and check everything, qualify, select, and pass the parity gate."""
    machine = Hardware.load(hardware)
    t_s = _time(machine.t_inference_s if t_inference is None else t_inference)
    _check_counts(draws, seed, least=2)
    if metric is not None:
        get_metric(metric)
    opened = open_model(model)
    task = opened.task(data, metric, samples, label_key)
    graph = opened.graph(None, task)
    plan = initial_plan(graph, machine, opened.model.source, __version__)
    plan = run_passes([Qualify(), selection], graph, plan).plan
    work = Work(opened.model, graph, plan, task, seed, draws, t_s, progress)
    checked = [layer.name for layer in plan.layers if measurable(layer)]
    if not checked:
        return work
    _, feeds = next(work.bench(task.head(PARITY_SAMPLES)).blocks())
    errors = parity_errors(opened.model, graph, machine, checked, feeds, len(next(iter(feeds.values()))))
    gated = ParityGate(errors, PARITY_TOLERANCE).run(graph, plan)
    return replace(work, plan=gated.plan, notes=gated.notes)


def prepare_run(
    model: ModelSource,
    data: DataSource | None,
    metric: str | None,
    hardware: HardwareSource | None,
    placement: Plan | Iterable[str] | str | None,
    times: Sequence[float] | None,
    samples: int | None,
    draws: int,
    seed: int,
    label_key: str,
    progress: Progress,
) -> tuple[Work, frozenset[str], list[float]]:
    """Read and check everything for running a placement: also its analog layers, and the times."""
    opened = open_model(model)
    stored = placement if isinstance(placement, Plan) else read_plan(opened.model)
    machine = Hardware.load(hardware if hardware is not None else stored.hardware if stored else "lionheart")
    at = [_time(t) for t in (times if times is not None else [machine.t_inference_s])]
    _check_counts(draws, seed, least=1)
    task = opened.task(data, metric, samples, label_key)
    graph = opened.graph(None, task)
    plan = Qualify().run(graph, initial_plan(graph, machine, opened.model.source, __version__)).plan
    if placement == "all-analog":
        analog = frozenset(plan.eligible)
    elif placement is None or isinstance(placement, Plan):
        analog = stored.analog if stored else frozenset()
    else:
        analog = frozenset([placement] if isinstance(placement, str) else placement)
    refused = {layer.name: layer.detail for layer in plan.layers if layer.reason != "eligible"}
    for name in sorted(analog):
        if name not in graph:
            raise UsageError(f"{opened.model.label} has no layer {name!r}")
        if name in refused or name not in plan.eligible:
            raise UsageError(f"layer {name!r} cannot be analog: {refused.get(name, 'it is not a product')}")
    return Work(opened.model, graph, plan, task, seed, draws, at[0], progress), analog, at


def measurable(layer: LayerPlan) -> bool:
    """Free layers, and those the user forced to be analog."""
    return layer.reason == "eligible" or (layer.reason == "forced" and layer.placement == "analog")


def _time(t_s: float) -> float:
    if not 0 <= t_s < float("inf"):
        raise UsageError(f"the time of inference must be at least 0 s and finite, got {t_s}")
    return float(t_s)


def _check_counts(draws: int, seed: int, least: int) -> None:
    if draws < least:
        raise UsageError(f"--draws must be at least {least}, got {draws}: one chip says nothing about others")
    if seed < 0:
        raise UsageError(f"--seed must not be negative, got {seed}")
