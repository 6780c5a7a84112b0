"""What lhc does, one function each: analyze, sensitivity, partition, evaluate, compile.

Nothing here prints. ``model`` is a path, a zoo name, an ``onnx.ModelProto`` or a loaded model; ``data`` an ``.npz``
file, arrays by input name (and ``labels``), or a `Task`; a zoo name brings its own. Every error is an `LhcError`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from lhc import __version__
from lhc.errors import UsageError
from lhc.hardware import Hardware
from lhc.measure import (
    Budget,
    PlacementJudge,
    Progress,
    measure_sensitivity,
    ranking_metric,
    silent,
    split_task,
)
from lhc.measure.data import DataSource
from lhc.opening import ModelSource, Opened, open_model
from lhc.outcomes import Analysis, PartitionResult
from lhc.passes import STRATEGIES, Qualify, Select, initial_plan, make_strategy
from lhc.plan import Outcome, Plan
from lhc.preparing import HardwareSource, Work, measurable, prepare, prepare_run
from lhc.results import Evaluation, SensitivityTable, Verdict
from lhc.runtime import HybridSession

__all__ = [
    "DEFAULT_DRAWS",
    "DEFAULT_MAX_DROP",
    "analog_outputs",
    "analyze",
    "compile",
    "evaluate",
    "partition",
    "sensitivity",
]

DEFAULT_DRAWS = 10
DEFAULT_MAX_DROP = 0.01
MAX_STEPS_BACK = 3
EVERYTHING = Select()
"""Every candidate is looked at, none is fixed."""

Shapes = Mapping[str, tuple[int, ...]]


def analyze(model: ModelSource, *, hardware: HardwareSource = "lionheart", shapes: Shapes | None = None) -> Analysis:
    """Which layers can be analog on this hardware, and what they cost. Needs no data and measures nothing.

    Args:
        model: what to look at.
        hardware: preset, YAML file or description.
        shapes: full shapes of inputs, where the file leaves them open.
    """
    machine = Hardware.load(hardware)
    opened = open_model(model)
    graph = opened.graph(shapes)
    plan = Qualify().run(graph, initial_plan(graph, machine, opened.model.source, __version__)).plan
    return Analysis(plan, graph, opened.model.renamed)


def sensitivity(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    metric: str = "kl",
    hardware: HardwareSource = "lionheart",
    t_inference: float | None = None,
    samples: int | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
    label_key: str = "labels",
    selection: Select = EVERYTHING,
    progress: Progress = silent,
) -> SensitivityTable:
    """Damage of every eligible layer when it alone is analog, on all samples given.

    Args:
        model: the network.
        data: samples, targets if the metric needs them.
        metric: in whose unit damage is measured.
        hardware: preset, YAML file or description.
        t_inference: seconds after the first read; the hardware's own by default.
        samples: use the first so many.
        draws: programmings per layer, at least 2.
        seed: fixes devices and noise.
        label_key: key of the targets in the data.
        selection: which layers are looked at.
        progress: called as work proceeds.
    """
    work = prepare(model, data, metric, hardware, t_inference, samples, draws, seed, label_key, selection, progress)
    names = [layer.name for layer in work.plan.layers if measurable(layer)]
    return measure_sensitivity(work.bench(work.task), names)


def partition(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    metric: str | None = None,
    max_drop: float | None = None,
    drop_type: Literal["absolute", "relative"] = "absolute",
    hardware: HardwareSource = "lionheart",
    t_inference: float | None = None,
    strategy: str = "sensitivity",
    samples: int | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
    label_key: str = "labels",
    selection: Select = EVERYTHING,
    progress: Progress = silent,
) -> PartitionResult:
    """Place every layer, analog where the accuracy that the user can afford to lose allows it.

    Args:
        model: the network.
        data: samples, targets if the metric needs them.
        metric: judges placements; accuracy where there are class labels, else agreement with the digital network.
        max_drop: greatest mean drop over chips; a zoo entry's own, else 0.01.
        drop_type: ``absolute`` in the metric's unit, or ``relative`` to the baseline.
        hardware: preset, YAML file or description.
        t_inference: seconds after the first read; the hardware's own by default.
        strategy: how the analog set is found; see ``lhc.passes.strategies``.
        samples: use the first so many.
        draws: programmings per placement, at least 2.
        seed: fixes devices and noise.
        label_key: key of the targets in the data.
        selection: which layers are looked at and which are fixed.
        progress: called as work proceeds.
    """
    if strategy not in STRATEGIES:
        raise UsageError(f"unknown strategy {strategy!r}; choose one of {', '.join(STRATEGIES)}")
    opened = open_model(model)
    budget = _budget(max_drop, drop_type, opened)
    work = prepare(opened, data, metric, hardware, t_inference, samples, draws, seed, label_key, selection, progress)
    splits = split_task(work.task)
    plan = work.plan
    if STRATEGIES[strategy].needs_sensitivity and plan.eligible:
        ranking = work.bench(splits.rank)
        ranking = work.bench(splits.rank.with_metric(ranking_metric(ranking.digital_output)))
        names = [layer.name for layer in plan.layers if measurable(layer)]
        plan = plan.with_sensitivities(measure_sensitivity(ranking, names).layers)
    judge = PlacementJudge(work.bench(splits.select), budget, "searching:")
    found = make_strategy(strategy, judge).run(work.graph, plan)
    verifier = PlacementJudge(work.bench(splits.verify), budget, "verifying:")
    chosen, verdict, notes = _verify(found.plan, found.fallbacks, verifier)
    outcome = _outcome(verdict, budget, work, splits.held_out, strategy)
    final = chosen.model_copy(update={"outcome": outcome})
    return PartitionResult(final, work.graph, work.model, (*work.notes, *found.notes, *notes))


def evaluate(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    metric: str | None = None,
    hardware: HardwareSource | None = None,
    placement: Plan | Iterable[str] | Literal["all-analog"] | None = None,
    times: Sequence[float] | None = None,
    samples: int | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
    label_key: str = "labels",
    progress: Progress = silent,
) -> list[Evaluation]:
    """Value of a placement at one or more times after programming, on all samples given.

    Args:
        model: the network.
        data: samples, targets if the metric needs them.
        metric: accuracy where there are class labels, else agreement with the digital network.
        hardware: that of the annotations by default, else ``lionheart``.
        placement: the model's annotations by default (all digital where there are none).
        times: seconds after the first read; the hardware's own by default.
        samples: use the first so many.
        draws: programmings.
        seed: fixes devices and noise.
        label_key: key of the targets in the data.
        progress: called as work proceeds.
    """
    work, analog, at = prepare_run(
        model, data, metric, hardware, placement, times, samples, draws, seed, label_key, progress
    )
    bench = work.bench(work.task)
    return [bench.evaluate(analog, what=f"t = {t:g} s", t_s=t) for t in at]


def analog_outputs(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    hardware: HardwareSource | None = None,
    placement: Plan | Iterable[str] | Literal["all-analog"] | None = None,
    times: Sequence[float] | None = None,
    samples: int | None = None,
    draws: int = 1,
    seed: int = 0,
    label_key: str = "labels",
    progress: Progress = silent,
) -> dict[str, np.ndarray]:
    """All outputs of the mapped network.

    Returns:
        Output name -> ``(samples, ...)``, or ``(draws, samples, ...)`` with more than one draw; with more than one
        time the names are ``NAME@T``, T in seconds. Arguments are those of `evaluate`.
    """
    work, analog, at = prepare_run(
        model, data, None, hardware, placement, times, samples, draws, seed, label_key, progress
    )
    bench = work.bench(work.task)
    result: dict[str, np.ndarray] = {}
    for t in at:
        blocks: list[list[list[np.ndarray]]] = [[] for _ in range(draws)]
        for draw, _, outputs in bench.outputs(analog, f"t = {t:g} s", t):
            blocks[draw].append(outputs)
        for index, name in enumerate(work.graph.outputs):
            stacked = np.stack([np.concatenate([b[index] for b in blocks[draw]]) for draw in range(draws)])
            result[name if len(at) == 1 else f"{name}@{t:g}"] = stacked[0] if draws == 1 else stacked
    return result


def compile(model: ModelSource, data: DataSource | None = None, **options: object) -> HybridSession:
    """Partition a model and return it ready to run, with its plan in ``plan``; options are those of `partition`."""
    return partition(model, data, **options).session()  # type: ignore[arg-type]


def _budget(max_drop: float | None, drop_type: str, opened: Opened) -> Budget:
    if max_drop is None:
        max_drop = opened.entry.max_drop if opened.entry is not None else DEFAULT_MAX_DROP
    if not 0 <= max_drop < float("inf"):
        raise UsageError(f"--max-drop must be at least 0 and finite, got {max_drop}")
    if drop_type not in ("absolute", "relative"):
        raise UsageError(f"unknown drop type {drop_type!r}; choose absolute or relative")
    return Budget(max_drop, drop_type)  # type: ignore[arg-type]


def _verify(
    plan: Plan, fallbacks: Sequence[frozenset[str]], judge: PlacementJudge
) -> tuple[Plan, Verdict, tuple[str, ...]]:
    """Judge the found placement on samples it was not chosen on; step back while it fails.

    Returns:
        The plan that is kept: the first that holds the budget, else the one with the least drop.
    """
    tried = [(plan.analog, judge.within(plan.analog))]
    for safer in fallbacks[:MAX_STEPS_BACK]:
        if tried[-1][1].accepted:
            break
        tried.append((safer, judge.within(safer)))
    accepted = tried[-1][1].accepted
    analog, verdict = tried[-1] if accepted else min(tried, key=lambda t: t[1].evaluation.drop)
    dropped = plan.analog - analog
    notes = () if not dropped else (f"stepped back after verification: {', '.join(sorted(dropped))} digital",)
    detail = "made digital after verification on held-out samples"
    return plan.decide(dict.fromkeys(dropped, ("digital", "sensitivity", detail))), verdict, notes


def _outcome(verdict: Verdict, budget: Budget, work: Work, held_out: bool, strategy: str) -> Outcome:
    evaluation = verdict.evaluation
    within = sum(drop <= budget.max_drop for drop in evaluation.drops)
    return Outcome(
        metric=evaluation.metric,
        percent=evaluation.percent,
        baseline=evaluation.baseline,
        value=evaluation.mean,
        drop=evaluation.drop,
        interval=evaluation.drop_interval,
        confidence=evaluation.confidence,
        chips_within=within / evaluation.draws,
        max_drop=budget.max_drop,
        drop_type=budget.drop_type,
        within_budget=verdict.accepted,
        held_out=held_out,
        samples=evaluation.samples,
        draws=evaluation.draws,
        seed=work.seed,
        t_s=work.t_s,
        strategy=strategy,
        data=work.task.digest,
    )
