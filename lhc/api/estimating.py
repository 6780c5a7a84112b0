"""How long a command will take, found by timing a small piece of its work."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from lhc.api.estimating_trained import Asked, training_steps
from lhc.api.placing_trained import check_walk, samples_apart, untrained
from lhc.api.start import goal_of, search_options
from lhc.measure import HERE, Execution, RankingMethod, check_method, ranking_metric, split_task
from lhc.measure.data import DataSource
from lhc.measure.estimating import Estimate, Step, curvature_step, evaluation_step, ranking_steps
from lhc.metrics import get_metric
from lhc.opening import ModelSource, open_model
from lhc.passes import (
    Goal,
    Objective,
    SearchOptions,
    Select,
    Strategy,
    anything_pays,
    by_worth,
    check_goal,
    search_space,
    strategy_of,
)
from lhc.passes.retraining import RETRAINING_STRATEGIES
from lhc.passes.search_base import groups_of
from lhc.plan import Plan
from lhc.preparing import DEFAULT_DRAWS, EVERYTHING, HardwareSource, Request, Work, prepare, prepare_run
from lhc.task import Task

__all__ = ["estimate"]


def estimate(
    command: Literal["sensitivity", "partition", "run"],
    model: ModelSource,
    data: DataSource | None = None,
    *,
    metric: str | None = None,
    higher_is_better: bool | None = None,
    output: str | None = None,
    hardware: HardwareSource | None = None,
    t_inference: float | None = None,
    times: Sequence[float] | None = None,
    placement: Plan | Iterable[str] | Literal["all-analog"] | None = None,
    strategy: str | type[Strategy] = "sensitivity",
    objective: Objective | None = None,
    group: Sequence[str] = (),
    method: RankingMethod = "auto",
    half_width: float | None = None,
    samples: int | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
    label_key: str = "labels",
    selection: Select = EVERYTHING,
    follow: Plan | None = None,
    retrain: Asked | None = None,
    execution: Execution = HERE,
) -> Estimate:
    """How much work a command has, how much of it the result cache holds, and how long the rest will take.

    The figure is for these options on this machine as busy as it is now. How many placements a search judges depends on
    what it finds; the most that the strategy may judge is taken, each as costly as all layers together. What follows a
    verification that fails, safer placements and the reasons, is not counted.

    Args:
        command: whose work; other arguments are those of `sensitivity`, `partition` and `evaluate`.
        model: the network.
        data: samples, targets if the metric needs them.
        metric: of the command.
        higher_is_better: direction of a metric given as ``module:function``.
        output: the output that is scored.
        hardware: preset, YAML file or description.
        t_inference: seconds after the first read.
        times: of ``run``.
        placement: of ``run``.
        strategy: of ``partition``.
        objective: of ``partition``; layers that do not pay for it are not counted in what is judged.
        group: of ``partition``: what moves together.
        method: how sensitivities are found.
        half_width: of ``sensitivity``.
        samples: use the first so many.
        draws: programmings per placement.
        seed: fixes devices and noise.
        label_key: key of the targets in the data.
        selection: which layers are looked at.
        follow: of ``partition``: a plan that is verified instead of searching one.
        retrain: of ``partition``: the training of ``--retrain``.
        execution: processes, memory, and where results are kept.
    """
    check_method(method)
    goal = Goal(objective or "macs")
    training: Task | None = None
    if retrain is not None and isinstance(strategy, str):
        check_walk(strategy, retrain.patience, retrain.max_rounds)
        model = open_model(model, data, label_key)
        judge = None if metric is None else get_metric(metric, higher_is_better)
        training, data = samples_apart(model, data, retrain.train_data, judge, samples, label_key)
    else:
        check_goal(strategy_of(strategy), goal)
    with execution.start() as running:
        request = Request(
            model,
            data,
            metric=metric,
            higher_is_better=higher_is_better,
            output=output,
            hardware=hardware if follow is None else follow.hardware,
            samples=samples,
            draws=draws,
            seed=seed,
            label_key=label_key,
            selection=selection,
            ranks=command == "sensitivity",
            follow=follow,
            running=running,
        )
        steps: list[Step] = []
        if command == "run":
            work, analog, at = prepare_run(request, placement, times)
            steps.append(evaluation_step(work.bench(work.task), [analog], "measuring the placement", at))
            layers = len(analog)
        else:
            work = prepare(request, t_inference)
            layers = len(work.measurable)
            if work.measurable and command == "sensitivity":
                bench = work.bench(work.task if metric is not None else work.ranking_task())
                steps += ranking_steps(bench, work.graph, work.measurable, method, half_width)
            elif work.measurable:
                kind = strategy_of(untrained(strategy) if isinstance(strategy, str) else strategy)
                options = search_options(work, goal_of(work, goal, objective, kind), group)
                if training is None or retrain is None or not isinstance(strategy, str):
                    steps += _partition_steps(work, kind, method, options)
                else:
                    steps += _retraining_steps(work, training, strategy, retrain, method, options)
        return Estimate(layers, len(work.task), draws, tuple(steps), running.workers.count)


def _partition_steps(work: Work, kind: type[Strategy], method: RankingMethod, options: SearchOptions) -> list[Step]:
    """Ranking, searching, verifying; layers that do not pay are ranked, where any does, and not judged."""
    space = search_space(work.graph, work.plan, options)
    useful = space.groups if options.goal.limits.keys() - {"tiles"} or not kind.needs_sensitivity else by_worth(space)
    splits = split_task(work.task)
    select, verify = work.bench(splits.select), work.bench(splits.verify)
    everything = work.plan.analog.union(*useful)
    judged = evaluation_step(verify, [everything], "verifying")
    if work.request.follow is not None:
        return [judged]
    steps: list[Step] = []
    if kind.needs_sensitivity and anything_pays(work.graph, work.plan, options):
        metric = ranking_metric(work.task.metric, verify.example_output, splits.rank.targets)
        bench = work.bench(splits.rank.with_metric(metric))
        steps += ranking_steps(bench, work.graph, work.measurable, method)
    if kind.name == "hilal" and useful:
        steps.append(curvature_step(work.bench(splits.rank), work.plan.eligible))
    most = kind.most_judgements(len(useful))
    if most:
        one = evaluation_step(select, [everything], f"searching, at most {most} placements")
        steps.append(replace(one, units=most * one.units, kept=0, seconds=most * one.seconds))
    return [*steps, judged]


def _retraining_steps(
    work: Work, training: Task, strategy: str, asked: Asked, method: RankingMethod, options: SearchOptions
) -> list[Step]:
    """The same before the training, the training, and the same after it; a walk is only verified then."""
    plain = _partition_steps(work, strategy_of(untrained(strategy)), method, options)
    if not anything_pays(work.graph, work.plan, options):
        return plain
    trained = training_steps(work, training, strategy, asked, len(groups_of(work.graph, work.plan, options.together)))
    # Nothing is kept of weights that are not trained yet.
    fresh = replace(work, request=replace(work.request, running=work.request.running.uncached()))
    kept = any(step.kept for step in plain)
    again = _partition_steps(fresh, strategy_of(untrained(strategy)), method, options) if kept else plain
    after = again[-1:] if strategy in RETRAINING_STRATEGIES else again
    return [
        *(replace(step, what=f"before training: {step.what}") for step in plain),
        *trained,
        *(replace(step, what=f"after training: {step.what}") for step in after),
    ]
