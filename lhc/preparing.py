"""What measuring starts from: model, samples and hardware read and checked, layers qualified, selected and gated."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from lhc import __version__
from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.measure import Bench, Progress, Running, ranking_metric, silent, split_task
from lhc.measure.data import DataSource
from lhc.metrics import get_metric
from lhc.model import OnnxModel
from lhc.onnx_io import read_plan
from lhc.opening import ModelSource, open_model
from lhc.passes import FollowPlan, ParityGate, Pass, Qualify, Select, initial_plan, run_passes
from lhc.plan import LayerPlan, Plan
from lhc.runtime import PARITY_TOLERANCE, parity_errors
from lhc.task import Task, count_samples

__all__ = [
    "DEFAULT_DRAWS",
    "EVERYTHING",
    "HardwareSource",
    "Request",
    "Work",
    "check_analog",
    "check_machine",
    "measurable",
    "prepare",
    "prepare_run",
]

log = logging.getLogger("lhc")

DEFAULT_DRAWS = 10
PARITY_SAMPLES = 4
CALIBRATION_SAMPLES = 256
EVERYTHING = Select()
"""Every candidate is looked at, none is fixed."""

HardwareSource = Hardware | str | Path


@dataclass(frozen=True, eq=False)
class Request:
    """What a user asks to be measured; the arguments that all measuring functions share.

    Attributes:
        model: the network.
        data: samples, targets if the metric needs them.
        metric: name, or ``module:function``.
        higher_is_better: direction of a function.
        output: the output that is scored; the first by default.
        hardware: preset, YAML file or description; None takes that of the annotations, else ``lionheart``.
        samples: use the first so many.
        draws: programmings per placement.
        seed: fixes devices and noise.
        label_key: key of the targets in the data.
        selection: which layers are looked at and which are fixed.
        progress: called as work proceeds.
        follow: a plan whose placement is taken instead of a search.
        running: workers, and the log of results.
        passes: the user's own, run after the selection.
    """

    model: ModelSource
    data: DataSource | None
    _: KW_ONLY
    metric: str | None = None
    higher_is_better: bool | None = None
    output: str | None = None
    hardware: HardwareSource | None = None
    samples: int | None = None
    draws: int = DEFAULT_DRAWS
    seed: int = 0
    label_key: str = "labels"
    selection: Select = EVERYTHING
    progress: Progress = silent
    follow: Plan | None = None
    running: Running = field(default_factory=Running)
    passes: tuple[Pass, ...] = ()


@dataclass(frozen=True, eq=False)
class Work:
    """Everything read, checked and qualified.

    Attributes:
        request: what was asked for.
        model: the network.
        graph: its layers.
        plan: what may be analog, what the user fixed; nothing placed yet.
        task: samples and metric.
        t_s: time of inference in seconds.
        notes: sentences for the user.
        original: the work before retraining, which drops are against; None where nothing was retrained.
    """

    request: Request
    model: OnnxModel
    graph: LayerGraph
    plan: Plan
    task: Task
    t_s: float
    notes: tuple[str, ...] = ()
    original: "Work | None" = None

    @property
    def measurable(self) -> list[str]:
        """Layers that are free, or forced to be analog, in file order."""
        return [layer.name for layer in self.plan.layers if measurable(layer)]

    def ranking_task(self) -> Task:
        """The samples, judged by what layers are ranked by."""
        return self.task.with_metric(ranking_metric(self.bench(self.task).example_output))

    def bench(self, task: Task, limited: bool = True) -> Bench:
        """A bench for some of the samples, or another metric; ``limited``: it ends when the user's time is over.

        After retraining, the metric that judges compares with the network as it was, without targets by its outputs;
        others, which rank layers, with the network as it is.
        """
        judges = task.metric.name == self.task.metric.name
        against = self.original.bench(task, limited) if self.original is not None and judges else None
        if against is not None and not against.setting.by_targets:
            metric = replace(task.metric, needs_targets=True)
            task = Task(task.inputs, against.digital_output, metric, finite=True)
        return Bench(
            self.model,
            self.graph,
            self.plan.hardware,
            task,
            seed=self.request.seed,
            draws=self.request.draws,
            t_s=self.t_s,
            output=self.request.output,
            ranges=self.plan.ranges,
            progress=self.request.progress,
            running=self.request.running if limited else self.request.running.unlimited(),
            against=against,
        )


def prepare(request: Request, t_inference: float | None) -> Work:
    """Read and check everything, qualify, select, and pass the parity gate.

    Args:
        request: what to measure.
        t_inference: seconds after the first read; the hardware's own by default.
    """
    machine = Hardware.load("lionheart" if request.hardware is None else request.hardware)
    t_s = _time(machine.t_inference_s if t_inference is None else t_inference, machine)
    work = _read(request, machine, t_s, least_draws=2)
    placing = request.selection if request.follow is None else FollowPlan(request.follow)
    plan = run_passes([Qualify(), placing, *request.passes], work.graph, work.plan).plan
    work = replace(work, plan=plan)
    if not work.measurable:
        return work
    _, feeds = next(work.bench(work.task.head(PARITY_SAMPLES)).blocks())
    samples = count_samples(feeds)
    errors = parity_errors(work.model, work.graph, machine, work.measurable, feeds, samples)
    gated = ParityGate(errors, PARITY_TOLERANCE).run(work.graph, plan)
    work = replace(work, plan=gated.plan, notes=gated.notes)
    return calibrated(work, work.measurable)


def calibrated(work: Work, names: Sequence[str]) -> Work:
    """The work with static input ranges of these layers, where the hardware has them, from the ranking samples.

    Ranges that are there already stay.
    """
    names = [name for name in names if name not in work.plan.ranges]
    if not work.plan.hardware.needs_calibration or not names:
        return work
    from lhc.runtime.calibration import calibrate_ranges

    bench = work.bench(split_task(work.task).rank.head(CALIBRATION_SAMPLES))
    blocks = ((count_samples(feeds), feeds) for _, feeds in bench.blocks())
    ranges = calibrate_ranges(work.model, work.graph, work.plan.hardware, names, blocks)
    return replace(work, plan=work.plan.with_ranges(ranges))


def prepare_run(
    request: Request, placement: Plan | Iterable[str] | str | None, times: Sequence[float] | None
) -> tuple[Work, frozenset[str], list[float]]:
    """Read and check everything for running a placement: also its analog layers, and the times."""
    opened = open_model(request.model, request.data, request.label_key)
    stored = placement if isinstance(placement, Plan) else read_plan(opened.model)
    source = request.hardware if request.hardware is not None else stored.hardware if stored else "lionheart"
    machine = Hardware.load(source)
    at = [_time(t, machine) for t in (times if times is not None else [machine.t_inference_s])]
    work = _read(replace(request, model=opened), machine, at[0], least_draws=1)
    plan = Qualify().run(work.graph, work.plan).plan
    analog = check_analog(_placed(placement, stored, plan), plan, work.model.label)
    if stored is not None and stored.hardware == machine and analog <= set(stored.ranges):
        return replace(work, plan=plan.with_ranges(stored.ranges)), analog, at
    return calibrated(replace(work, plan=plan), sorted(analog)), analog, at


def check_analog(analog: frozenset[str], plan: Plan, label: str) -> frozenset[str]:
    """Layers that are to be analog, if all of them can be.

    Raises:
        UsageError: one cannot, or there is no such layer.
    """
    layers = {layer.name: layer for layer in plan.layers}
    for name in sorted(analog - set(plan.eligible)):
        if name not in layers:
            raise UsageError(f"{label} has no layer {name!r} that could be analog")
        raise UsageError(f"layer {name!r} cannot be analog: {layers[name].detail}")
    return analog


def _placed(placement: Plan | Iterable[str] | str | None, stored: Plan | None, plan: Plan) -> frozenset[str]:
    if placement == "all-analog":
        return frozenset(plan.eligible)
    if placement is None or isinstance(placement, Plan):
        return stored.analog if stored else frozenset()
    return frozenset([placement] if isinstance(placement, str) else placement)


def _read(request: Request, machine: Hardware, t_s: float, least_draws: int) -> Work:
    if request.draws < least_draws:
        raise UsageError(
            f"--draws must be at least {least_draws}, got {request.draws}: one chip says nothing of others"
        )
    if request.seed < 0:
        raise UsageError(f"--seed must not be negative, got {request.seed}")
    metric = None if request.metric is None else get_metric(request.metric, request.higher_is_better)
    opened = open_model(request.model, request.data, request.label_key)
    task = opened.task(request.data, metric, request.samples, request.label_key)
    graph = opened.graph(None, task)
    if request.output is not None and request.output not in graph.outputs:
        raise UsageError(f"--output {request.output!r}: the model's outputs are {', '.join(graph.outputs)}")
    check_machine(machine, graph)
    plan = initial_plan(graph, machine, opened.model.source, __version__).with_ranges(opened.ranges)
    work = Work(request, opened.model, graph, plan, task, t_s)
    if opened.before is None:
        return work
    before = opened.before
    original = replace(work, model=before.model, graph=before.graph(None, task))
    return replace(work, original=original)


def check_machine(machine: Hardware, graph: LayerGraph) -> None:
    """Say what a hardware description leaves out, and refuse overrides that mean no layer of the model.

    Raises:
        UsageError: such a pattern, with the nearest names; or layers that share their tiles but not their hardware.
    """
    for effect in machine.left_out:
        log.warning("hardware %s leaves out %s (%s): %s", machine.name, effect.name, effect.size, effect.text)
    names = [layer.name for layer in graph.candidates]
    for pattern in machine.unmatched_overrides(names):
        near = get_close_matches(pattern, names, n=3, cutoff=0.3)
        hint = ", ".join(near) or "none"
        raise UsageError(f"hardware {machine.name!r}: override for {pattern!r} matches no layer; nearest: {hint}")
    for group in graph.tied(names):
        if any(machine.for_layer(name) != machine.for_layer(group[0]) for name in group):
            raise UsageError(
                f"hardware {machine.name!r}: {', '.join(group)} share their tiles, but overrides make them different"
            )


def measurable(layer: LayerPlan) -> bool:
    """Free layers, and those the user forced to be analog."""
    return layer.reason == "eligible" or (layer.reason == "forced" and layer.placement == "analog")


def _time(t_s: float, machine: Hardware) -> float:
    machine.check_time(t_s)
    return float(t_s)
