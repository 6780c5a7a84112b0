"""Sensitivities of all layers: measured, or predicted from gradients and checked against a few that are measured.

A prediction (`lhc.measure.sensitivity.fisher_prediction`) costs a few backward passes however many layers there are,
but it is of second order in the noise. ``auto`` predicts, then measures `CHECKED` layers spread over the predicted
ranking, on the same chips and samples. Where both agree, the prediction stands; where they do not, or where there is
none, all layers are measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy

from lhc.errors import ModelError, NotFiniteError, OutOfTimeError, UsageError
from lhc.measure.evaluator import PlacementEvaluator
from lhc.measure.sensitivity.fisher_prediction import METRICS, FisherSensitivity, fisher_sensitivity
from lhc.measure.sensitivity.layer_by_layer import measure_sensitivity
from lhc.options.by_command import SensitivityOptions
from lhc.options.shared import RankingMethod
from lhc.passes import Strategy, anything_pays
from lhc.passes.decide.copies import Copies
from lhc.passes.strategies.fixed_rules import AllDigital
from lhc.pipeline.inputs.objective import search_options
from lhc.pipeline.pipeline_state import BudgetedT, PreparedNetwork, RankedNetwork, StateT
from lhc.plan import Agreement, Sensitivity
from lhc.plan.recurrent_steps import folded_titles
from lhc.results import SensitivityTable
from lhc.stats import CONFIDENCE
from lhc.support.number_formatting import counted

CHECKED = 5
"""Layers that are measured to check a prediction; with fewer than three times as many, all are measured."""
GOOD_CORRELATION = 0.9
GOOD_RATIO = (0.67, 1.5)
"""Least rank correlation, and bounds of the geometric mean of the ratios, at which predictions are used."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Rank:
    """Find the sensitivity of every layer that may be analog, where the strategy goes by them.

    Attributes:
        strategy: that is going to search.
    """

    method: RankingMethod
    strategy: type[Strategy]
    name: ClassVar[str] = "rank"
    requires: ClassVar[frozenset[str]] = frozenset({"parity", "ranges", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset({"sensitivities"})

    def apply(self, state: BudgetedT) -> BudgetedT:
        """The network with sensitivities; those of a plan that is followed; none where nothing pays."""
        if state.follow is not None:
            known = {row.name: row.sensitivity for row in state.follow.layers if row.sensitivity is not None}
            copied = {row.name: row.with_copies for row in state.follow.layers if row.with_copies is not None}
            return replace(state, plan=state.plan.with_sensitivities(known, state.follow.agreement, copied))
        needed = "sensitivities" in self.strategy.requires or (state.spends_tiles and self.strategy is not AllDigital)
        if not (needed and anything_pays(state.graph, state.plan, search_options(state))):
            return state
        try:
            table = ranked(state, self.method)
        except OutOfTimeError as error:
            return replace(state, late=True).noted(str(error))
        return replace(state, plan=table.put_into(state.plan), ranking=table)


@dataclass(frozen=True)
class RankAll:
    """Find the sensitivity of every layer that may be analog, also where nothing pays."""

    method: RankingMethod
    name: ClassVar[str] = "rank"
    requires: ClassVar[frozenset[str]] = frozenset({"parity", "ranges", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset({"sensitivities"})

    def apply(self, state: StateT) -> StateT:
        """The network with sensitivities.

        Raises:
            OutOfTimeError: the time was over before that.
        """
        if not state.plan.eligible:
            return state
        return replace(state, plan=ranked(state, self.method).put_into(state.plan))


@dataclass(frozen=True)
class MeasureLayers:
    """Find the damage of every layer on all samples."""

    options: SensitivityOptions
    name: ClassVar[str] = "measure-layers"
    requires: ClassVar[frozenset[str]] = frozenset({"parity", "ranges", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset({"sensitivities"})

    def apply(self, state: PreparedNetwork) -> RankedNetwork:
        """The network with the table."""
        asked = self.options
        task = state.splits.judged if asked.metric is not None else state.ranking_task()
        evaluator, names = state.evaluator(task), state.measurable
        table = sensitivities(evaluator, names, asked.method, asked.confidence, asked.half_width)
        table = replace(table, calibrated=state.calibrated_on, documents=task.document_count)
        table = replace(table, engine=state.engine, engine_reason=state.engine_reason)
        return state.advanced(RankedNetwork, ranking=replace(table, titles=folded_titles(state.plan)))


def ranked(state: PreparedNetwork, method: RankingMethod) -> SensitivityTable:
    """Sensitivities of all layers that may be analog, on the samples that rank.

    Args:
        state: what is placed; its answers to these samples tell in which metric.

    Raises:
        OutOfTimeError: the time was over before that.
        NotFiniteError: the network answers NaN with a layer that is to be analog whatever is found.
    """
    samples = state.splits.rank
    if state.further:
        table = _of_outputs(state, method)
    else:
        metric = state.told_ranking_metric(samples, state.task.metric)
        table = sensitivities(state.evaluator(samples.with_metric(metric)), state.measurable, method)
    for name, problem in table.not_finite.items():
        if name not in state.plan.eligible:
            raise NotFiniteError(problem)
    if len(table.layers) + len(table.not_finite) < len(state.measurable):
        done = f"{state.layers_in(table.layers)} of {counted(state.layers_in(state.measurable), 'layer')}"
        raise OutOfTimeError(f"--timeout: {done} ranked, so none is analog; run again to go on")
    return table


def _of_outputs(state: PreparedNetwork, method: RankingMethod) -> SensitivityTable:
    """The sensitivities by all judged outputs: the sum of their errors, each as a share of its output's energy."""
    evaluators = state.output_evaluators(state.splits.rank)
    tables = [sensitivities(evaluator, state.measurable, method) for evaluator in evaluators]
    which = ", ".join(map(repr, state.judged_outputs))
    state.opened.warn(f"layers are ranked by the sum of the nmse of {which}, since several outputs are judged")
    return joint_table(tables)


def joint_table(tables: Sequence[SensitivityTable]) -> SensitivityTable:
    """The sum of several tables in one metric; what is predicted in one is predicted in the sum."""
    first, *_ = tables
    not_finite = {name: problem for table in tables for name, problem in table.not_finite.items()}
    layers = {name: _summed([t.layers[name] for t in tables]) for name in first.layers if _in_all(name, tables)}
    copied = {name for table in tables for name in table.with_copies if name in layers}
    with_copies = {
        name: _summed([table.with_copies.get(name, table.layers[name]) for table in tables])
        for name in first.layers
        if name in copied
    }
    checked = [table.agreement for table in tables if table.agreement is not None]
    worst = min(checked, key=lambda one: -1.0 if one.correlation is None else one.correlation, default=None)
    notes = tuple(dict.fromkeys(note for table in tables for note in table.notes))
    return replace(first, layers=layers, with_copies=with_copies, agreement=worst, notes=notes, not_finite=not_finite)


def _in_all(name: str, tables: Sequence[SensitivityTable]) -> bool:
    return all(name in table.layers for table in tables)


def _summed(figures: Sequence[Sensitivity]) -> Sensitivity:
    """Damage at several outputs together. Bounds add up to no less than those of the sum, and so do deviations."""
    bounds = [one.interval for one in figures if one.interval is not None]
    interval = (sum(b[0] for b in bounds), sum(b[1] for b in bounds)) if len(bounds) == len(figures) else None
    return figures[0].model_copy(
        update={
            "mean": sum(one.mean for one in figures),
            "std": sum(one.std for one in figures),
            "interval": interval,
            "method": "fisher" if any(one.method == "fisher" for one in figures) else "measure",
            "by_weights": None,
            "by_outputs": None,
        }
    )


def sensitivities(
    evaluator: PlacementEvaluator,
    names: Sequence[str],
    method: RankingMethod = "auto",
    confidence: float = CONFIDENCE,
    half_width: float | None = None,
) -> SensitivityTable:
    """Damage of every named layer when it alone is analog, with one copy of its weights and with those that it has.

    Layers that share their weights are one.

    Args:
        method: ``measure``, ``fisher`` (predict), or ``auto`` (predict and check, measure where that will not do).
        half_width: see `measure_sensitivity`; with it, ``auto`` measures.

    Raises:
        UsageError: a prediction is asked for in a metric, or with a half-width, that it does not have.
        ModelError: a prediction is asked for of a network that has no gradients in torch.
        NotFiniteError: with every layer that is measured, the network answers NaN.
        OutOfTimeError: the time that the user gave was over before there was any figure.
    """
    copies = evaluator.copies.alone(evaluator.graph.tied(names))
    single = replace(evaluator, copies=Copies()) if copies else evaluator
    table = _found(single, names, method, confidence, half_width)
    if table.not_finite and not table.layers:
        raise NotFiniteError(next(iter(table.not_finite.values())))
    if not copies:
        return table
    return replace(table, with_copies=_with_copies(evaluator, table, copies, confidence, half_width))


def _with_copies(
    evaluator: PlacementEvaluator,
    table: SensitivityTable,
    copies: Mapping[str, int],
    confidence: float,
    half_width: float | None,
) -> dict[str, Sensitivity]:
    """The same figures with these copies, found as those with one copy were, as far as there is time."""
    found: dict[str, Sensitivity] = {}
    known = {name: s for name, s in table.layers.items() if name in copies}
    predicted = [name for name, s in known.items() if s.method == "fisher"]
    measured = [name for name, s in known.items() if s.method == "measure"]
    try:
        evaluator.running.check_time()
        if predicted:
            found |= fisher_sensitivity(evaluator, evaluator.graph, predicted, confidence).table.layers
        if measured:
            found |= measure_sensitivity(evaluator, evaluator.graph, measured, confidence, half_width).layers
    except OutOfTimeError:
        pass  # what is not known is estimated: damage falls as 1 / copies
    return {n: found[n].model_copy(update={"copies": copies[n]}) for n in known if n in found}


def _found(
    evaluator: PlacementEvaluator,
    names: Sequence[str],
    method: RankingMethod,
    confidence: float,
    half_width: float | None,
) -> SensitivityTable:
    if method == "fisher" and half_width is not None:
        raise UsageError("--half-width is for measured sensitivities; leave it out, or use --method measure")
    if method == "fisher":
        predicted = fisher_sensitivity(evaluator, evaluator.graph, names, confidence)
        return replace(predicted.table, notes=_unreached(predicted))
    if measures_all(evaluator, names, method, half_width):
        return measure_sensitivity(evaluator, evaluator.graph, names, confidence, half_width)
    try:
        predicted = fisher_sensitivity(evaluator, evaluator.graph, names, confidence)
    except ModelError as error:
        note = f"sensitivities are measured, not predicted: {error}"
        return replace(measure_sensitivity(evaluator, evaluator.graph, names, confidence), notes=(note,))
    return _checked(evaluator, predicted, confidence)


def measures_all(
    evaluator: PlacementEvaluator, names: Sequence[str], method: RankingMethod, half_width: float | None
) -> bool:
    """Whether every layer is measured without a prediction; arguments as those of `sensitivities`."""
    few = len(evaluator.graph.tied(names)) < 3 * CHECKED
    return method == "measure" or half_width is not None or few or evaluator.metric.name not in METRICS


def _unreached(predicted: FisherSensitivity) -> tuple[str, ...]:
    if not predicted.unreached:
        return ()
    note = (
        f"the gradient at {', '.join(predicted.unreached)} is zero on all samples: the answer does not depend on it, or"
        " the network rounds or compares behind it; --method measure tells"
    )
    return (note,)


def _checked(evaluator: PlacementEvaluator, predicted: FisherSensitivity, confidence: float) -> SensitivityTable:
    """The prediction, if some measured layers agree with it, else measurements of all."""
    table = predicted.table
    names = list(table.layers)
    firsts = [group[0] for group in evaluator.graph.tied(names) if group[0] not in predicted.unreached]
    chosen = spread_over_ranking(replace(table, layers={name: table.layers[name] for name in firsts}), CHECKED)

    def measured(wanted: Sequence[str]) -> SensitivityTable:
        whole = [name for group in evaluator.graph.tied(names) if set(group) & set(wanted) for name in group]
        return measure_sensitivity(evaluator, evaluator.graph, [name for name in names if name in whole], confidence)

    def in_time(wanted: Sequence[str]) -> SensitivityTable:
        """Those of them that there is time for."""
        try:
            return measured(wanted if not evaluator.running.late else ())
        except OutOfTimeError:
            return replace(table, layers={})

    try:
        compared = measured(chosen)
    except OutOfTimeError:
        return replace(table, notes=("--timeout: the predicted sensitivities were not checked by measuring some",))
    seen = replace(compared, layers={n: s for n, s in compared.layers.items() if n in chosen})
    found = agreement(table, seen) if seen.layers else None
    good = found is not None and found.good and not compared.not_finite  # no prediction tells of NaN
    if good or evaluator.running.late:
        notes: tuple[str, ...] = (
            () if good else ("--timeout: predicted sensitivities are given although they were not confirmed",)
        )
        rest = in_time(predicted.unreached)
        notes += () if rest.layers.keys() >= {*predicted.unreached} else _unreached(predicted)
        broken = {**compared.not_finite, **rest.not_finite}
        layers = {name: s for name, s in {**table.layers, **rest.layers}.items() if name not in broken}
        return replace(table, layers=layers, agreement=found, notes=notes, not_finite=broken)
    note = "all sensitivities are measured, since the prediction does not agree with those measured first"
    rest = in_time([name for name in names if name not in compared.layers and name not in compared.not_finite])
    layers, broken = {**compared.layers, **rest.layers}, {**compared.not_finite, **rest.not_finite}
    if len(layers) + len(broken) < len(names):
        note = (
            f"--timeout: {len(layers)} of {len(names)} sensitivities are measured, and the others are left out, since"
            " the prediction does not agree with those"
        )
    ordered = {name: layers[name] for name in names if name in layers}
    return replace(compared, layers=ordered, agreement=found, notes=(note,), not_finite=broken)


def agreement(predicted: SensitivityTable, measured: SensitivityTable) -> Agreement:
    """Agreement of predictions with measurements of some of the layers.

    Layers of which nothing was seen (damage of 0 or below, as small as rounding) count for the ranks only.

    Args:
        predicted: of all layers.
        measured: of some of them.

    Raises:
        UsageError: no layer is in both, or they are in different metrics.
    """
    names = [name for name in measured.layers if name in predicted.layers]
    if not names or predicted.metric != measured.metric:
        raise UsageError("predicted and measured sensitivities have no layer or not the metric in common")
    pairs = np.array([(predicted.layers[name].mean, measured.layers[name].mean) for name in names])
    seen = pairs[(pairs > 0).all(axis=1)]
    ratio = float(np.exp(np.log(seen[:, 0] / seen[:, 1]).mean())) if len(seen) else None
    constant = len(names) < 3 or (np.ptp(pairs, axis=0) == 0).any()
    correlation = None if constant else float(scipy.stats.spearmanr(*pairs.T).statistic)
    good = (
        correlation is not None
        and ratio is not None
        and correlation >= GOOD_CORRELATION - _ROUNDING
        and GOOD_RATIO[0] <= ratio <= GOOD_RATIO[1]
    )
    compared = {name: (p, m) for name, (p, m) in zip(names, pairs.tolist(), strict=True)}
    return Agreement(layers=compared, correlation=correlation, ratio=ratio, good=good)


def spread_over_ranking(table: SensitivityTable, count: int) -> tuple[str, ...]:
    """Layers to be measured for comparison: the most and the least sensitive, and others evenly between them.

    Args:
        count: how many; all layers where there are fewer.
    """
    ranking = table.ranking()
    if count >= len(ranking):
        return ranking
    return tuple(ranking[round(place)] for place in np.linspace(0, len(ranking) - 1, max(count, 0)))
