"""Outputs that are judged beside the first, each by its own metric and budget.

``--output prob --output box,nmse,0.05``: the first by ``--metric`` and ``--max-drop``, each other by what follows its
name. Labels are those of the first output, so the others are judged against the digital network.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lhc.errors import UsageError
from lhc.measure import Budget
from lhc.measure.budget_test import parse_drop
from lhc.options.by_command import Measuring
from lhc.pipeline.inputs.objective import DEFAULT_MAX_DROP
from lhc.pipeline.pipeline_state import BudgetedT, FurtherOutput, PreparedNetwork
from lhc.pipeline.steps.prepare import of_another_output
from lhc.samples.metrics import Metric, get_metric


@dataclass(frozen=True)
class NamedOutput:
    """An output as the user names it, with the metric and the budget that follow the name, where they do."""

    name: str
    metric: str | None = None
    max_drop: str | None = None


def _named_outputs(texts: Sequence[str], outputs: Sequence[str]) -> tuple[NamedOutput, ...]:
    """Further outputs as the user names them.

    Args:
        texts: ``NAME``, ``NAME,METRIC`` or ``NAME,METRIC,MAX_DROP`` each.
        outputs: of the model.

    Raises:
        UsageError: there is no such output.
    """
    return tuple(_named(text, outputs) for text in texts)


def _named(text: str, outputs: Sequence[str]) -> NamedOutput:
    for cut in range(3):
        name, *rest = text.rsplit(",", cut)
        if name in outputs and len(rest) == cut:
            return NamedOutput(name, *(part.strip() or None for part in rest))
    raise UsageError(
        f"--output {text!r}: the model's outputs are {', '.join(outputs)}; write NAME, NAME,METRIC or"
        " NAME,METRIC,MAX_DROP"
    )


def with_further_outputs(state: BudgetedT) -> BudgetedT:
    """The state with the outputs that are judged beside the first.

    Raises:
        UsageError: a metric that takes labels, a budget that has no meaning, or one of 0.
    """
    named = _named_outputs(state.options.further, state.graph.outputs)
    if not named:
        return state
    if state.budget.max_drop == 0:
        raise UsageError("--max-drop 0 cannot go with several --output: drops are compared as shares of their budgets")
    return replace(state, further=tuple(_further(state, one) for one in named))


def _further(state: PreparedNetwork, one: NamedOutput) -> FurtherOutput:
    metric = None if one.metric is None else _metric(state.options, one.metric, one.name)
    found = of_another_output(state, one.name, metric)
    flag = f"--output {one.name}: the budget"
    drop, percentage = parse_drop(DEFAULT_MAX_DROP if one.max_drop is None else one.max_drop, flag)
    budget = Budget(drop, percentage=percentage)
    budget.check_unit(found.task.metric.name, found.task.metric.percent, flag)
    if drop == 0:
        raise UsageError(f"{flag} 0 cannot go with several outputs; give more than 0")
    return FurtherOutput(one.name, found.task.metric, drop, found.task.class_axis)


def _metric(options: Measuring, name: str, output: str) -> Metric:
    metric = get_metric(name, options.higher_is_better if ":" in name else None)
    if metric.needs_targets is True:
        raise UsageError(
            f"--output {output},{name}: labels are those of the first output; judge the others by agreement, kl, nmse,"
            " cosine or module:function"
        )
    return metric
