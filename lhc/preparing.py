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
from lhc.metrics import METRICS, UNCHOSEN, Metric, get_metric, metric_without_targets
from lhc.model import OnnxModel
from lhc.onnx_io import read_plan
from lhc.opening import ModelSource, open_model
from lhc.passes import FollowPlan, ParityGate, Pass, Qualify, Select, initial_plan, run_passes
from lhc.plan import LayerPlan, Outcome, Plan
from lhc.runtime import PARITY_TOLERANCE, parity_errors
from lhc.task import Task, count_samples

__all__ = [
    "DEFAULT_DRAWS",
    "EVERYTHING",
    "HardwareSource",
    "Request",
    "Work",
    "as_judged",
    "check_analog",
    "check_machine",
    "measurable",
    "prepare",
    "prepare_run",
]

log = logging.getLogger("lhc")

DEFAULT_DRAWS = 10
PARITY_SAMPLES = 4
_EXAMPLES = 8
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
        ranks: layers are ranked, so that no metric has to be chosen that judges placements.
        follow: a plan whose placement is taken instead of a search.
        running: workers, and the result cache.
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
    ranks: bool = False
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
        metric_note: why it is judged by this metric, where the outputs alone say so.
    """

    request: Request
    model: OnnxModel
    graph: LayerGraph
    plan: Plan
    task: Task
    t_s: float
    notes: tuple[str, ...] = ()
    original: "Work | None" = None
    metric_note: str | None = None

    @property
    def measurable(self) -> list[str]:
        """Layers that are free, or forced to be analog, in file order."""
        return [layer.name for layer in self.plan.layers if measurable(layer)]

    def ranking_task(self, judged_by: Metric | None = None) -> Task:
        """The samples, judged by what layers are ranked by; ``judged_by``: what placements were judged by."""
        own = self.task.metric if self.task.metric.chosen else None
        output = self.bench(self.task).example_output
        return self.task.with_metric(ranking_metric(judged_by or own, output, self.task.targets))

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
    outcome = None if stored is None else stored.outcome
    request = as_judged(request, outcome)
    source = request.hardware if request.hardware is not None else stored.hardware if stored else "lionheart"
    machine = Hardware.load(source)
    at = [_time(t, machine) for t in (times if times is not None else [machine.t_inference_s])]
    work = _read(replace(request, model=opened), machine, at[0], least_draws=1)
    if outcome is not None and request.metric is None:
        _check_metric(work, outcome)
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
    if metric is None and request.ranks:
        metric = UNCHOSEN
    opened = open_model(request.model, request.data, request.label_key)
    task = opened.task(request.data, metric, request.samples, request.label_key)
    graph = opened.graph(None, task)
    if request.output is not None and request.output not in graph.outputs:
        raise UsageError(f"--output {request.output!r}: the model's outputs are {', '.join(graph.outputs)}")
    check_machine(machine, graph)
    plan = initial_plan(graph, machine, opened.model.source, __version__).with_ranges(opened.ranges)
    work = Work(request, opened.model, graph, plan, task, t_s)
    if opened.before is not None:
        before = opened.before
        work = replace(work, original=replace(work, model=before.model, graph=before.graph(None, task)))
    if request.ranks or task.targets is not None or task.metric.chosen:
        return work
    return _with_metric(work)


def _with_metric(work: Work) -> Work:
    """The work with the metric that its outputs allow: it has no targets, and nobody chose one."""
    bench = (work.original or work).bench(work.task.head(_EXAMPLES))
    metric, why = metric_without_targets(bench.example_output, bench.output_name)
    if metric.name == "nmse":
        log.warning(
            "%s; it is judged by nmse, the squared error against the digital network. If it holds scores of classes,"
            " choose --metric agreement or kl; if it does not, --metric nmse says so",
            why,
        )
    task = work.task.with_metric(metric)
    original = None if work.original is None else replace(work.original, task=task)
    return replace(work, task=task, original=original, metric_note=f"{metric.name}: {why}")


def as_judged(request: Request, outcome: Outcome | None) -> Request:
    """The request with metric, direction and output of the judgement of a placement, where it names no others.

    A function is not among them: lhc imports nothing because a file names it.

    Args:
        request: what the user asks for; a task of the user's own that comes with a metric names that.
        outcome: how the placement was judged, if it was.
    """
    if outcome is None:
        return request
    request = replace(request, output=request.output or outcome.output)
    own = isinstance(request.data, Task) and request.data.metric.chosen
    if request.metric is None and not own and outcome.metric in METRICS:
        return replace(request, metric=outcome.metric)
    if request.metric == outcome.metric and request.higher_is_better is None and outcome.metric not in METRICS:
        return replace(request, higher_is_better=outcome.higher_is_better)
    return request


def _check_metric(work: Work, outcome: Outcome) -> None:
    """Refuse to judge by another metric than the placement was judged by, when nobody chose one."""
    chosen = work.task.metric.chosen and work.metric_note is None
    if not chosen and work.task.metric.name != outcome.metric:
        raise UsageError(
            f"{work.model.label}: its placement was judged by {outcome.metric!r}, which lhc does not import because a"
            f" file names it; give --metric {outcome.metric}, or another one"
        )


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
