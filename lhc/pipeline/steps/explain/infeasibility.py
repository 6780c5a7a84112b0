"""Infeasible budgets: the least drop, the layers in the way, and remedies, all measured.

Every figure comes from the samples and chips of the verification, which the search has not looked at. What was verified
is told as it was then. What is measured beside it is judged at the level of the placement that is explained. Remedies
take the first chips of its test, at most `MOST_CHIPS`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lhc.errors import NotFiniteError, OutOfTimeError
from lhc.graph import columns_of
from lhc.hardware.description.tiles_and_converters import Converter
from lhc.measure.budget_test import PlacementJudge
from lhc.measure.evaluator import PlacementEvaluator
from lhc.measure.measurement import drop_scale
from lhc.passes import SearchOptions, damage_together, extra_copies, search_space
from lhc.pipeline.pipeline_state import GRADIENT_CHIPS, GRADIENT_SAMPLES, PreparedNetwork, VerifiedNetwork
from lhc.pipeline.steps.rank import joint_table, sensitivities
from lhc.pipeline.steps.verify.fixed_sequence_test import Verified
from lhc.plan.recurrent_steps import layers_among
from lhc.results import Evaluation, Infeasibility, Remedy
from lhc.samples.task import Task
from lhc.stats import over_draws
from lhc.support.number_formatting import counted, time_text

SHORTER_TIMES_S = (3600.0, 0.0)
MORE_BITS = 2
MOST_CHIPS = 10
"""Chips of a remedy. It is compared with the placement on the same chips; ten are enough to see a difference."""


@dataclass(frozen=True)
class Explain:
    """Where the budget is not met, measure what stands in the way and what would help."""

    name: ClassVar[str] = "explain"
    requires: ClassVar[frozenset[str]] = frozenset({"verified"})
    ensures: ClassVar[frozenset[str]] = frozenset()

    def apply(self, state: VerifiedNetwork) -> VerifiedNetwork:
        """The state with the explanation, where there is something to explain and the time for it."""
        unexplained, searched = _unexplained(state), state.searched
        if not unexplained:
            return state
        verify, rank = state.judging_evaluator(state.splits.verify), state.splits.rank
        case = Case(state, unexplained, searched.judge, searched.options, verify, rank, _rankers(state, unexplained[0]))
        infeasibility, notes = explained(case)
        return replace(state, infeasibility=infeasibility).noted(*notes)


def explained(case: "Case") -> tuple[Infeasibility | None, tuple[str, ...]]:
    """Layers in the way of a placement and remedies, where there is time to measure them; and notes."""
    if case.judge.budget.share is not None:
        note = "--yield: what stands in the way is not explained; leave it out to see that for the mean"
        return None, (note,)
    try:
        return _explained(case), ()
    except OutOfTimeError:
        return None, ("--timeout: what stands in the way of the budget was not measured; run again to go on",)
    except NotFiniteError as error:  # of a placement or a machine that is tried: the verdict stands without it
        return None, (f"what stands in the way of the budget is not explained: {error}",)


def _unexplained(state: VerifiedNetwork) -> tuple[Verified, ...]:
    """The failing placement to explain, with everything else that was verified.

    Nothing where the search itself ended with nothing analog: then no placement was verified.
    """
    found = state.found
    kept = Verified(found.plan.analog, found.verdict, found.chips)
    if not found.verdict.accepted and state.plan.layers:
        return (kept, *found.failed)
    if found.failed and found.plan.analog == state.plan.analog:
        return (*found.failed, kept)
    return ()


def _rankers(state: VerifiedNetwork, failing: Verified) -> tuple[PlacementEvaluator, ...]:
    """Evaluators by the outputs that do not hold their budgets, where there are several: damage there counts."""
    if not state.further:
        return ()
    budgets = (state.budget.max_drop, *(one.max_drop for one in state.further))
    evaluators = state.output_evaluators(state.splits.rank.head(GRADIENT_SAMPLES))
    judged = zip(failing.verdict.evaluation.outputs, budgets, evaluators, strict=True)
    return tuple(
        replace(evaluator, draws=min(state.options.draws, GRADIENT_CHIPS))
        for found, most, evaluator in judged
        if (interval := state.budget.interval(found)) is None or interval[1] > most
    )


class Case:
    """A placement that does not hold the budget.

    Attributes:
        plan: qualified, with what the user fixed, and with sensitivities where these were measured.
        judge: of the search, for the search of layers in the way.
        verify: samples of the verification.
        budget: at the level of the verification of the placement.
        known: evaluations on the machine as it is.
        fills: whether further copies of weights may go on tiles that are left over.
    """

    def __init__(
        self,
        state: PreparedNetwork,
        verified: Sequence[Verified],
        judge: PlacementJudge,
        options: SearchOptions,
        verify: PlacementEvaluator,
        rank: Task,
        rankers: Sequence[PlacementEvaluator] = (),
    ) -> None:
        """Begin to explain.

        Args:
            verified: the placement that does not hold the budget, and others that were verified with it.
            judge: of the search for the layers in the way.
            verify: samples of the verification.
            rank: samples that say which layers do most damage, where that is not known.
            rankers: evaluators in one metric whose damages together say it instead, of several outputs.
        """
        self.state, self._rank, self._rankers = state, rank, rankers
        self.graph, self.plan = state.graph, state.plan
        self.analog, self.found = verified[0].placement, verified[0].verdict.evaluation
        self.options, self.judge, self.verify, self.fills = options, judge, verify, state.fills
        self.budget = replace(self.judge.budget, confidence=self.found.confidence)
        self._chips = verified[0].chips
        self.known = {one.placement: one.verdict.evaluation for one in verified}

    def evaluate(
        self,
        placement: frozenset[str],
        what: str,
        evaluator: PlacementEvaluator | None = None,
        most_chips: int | None = None,
    ) -> Evaluation:
        """Evaluation of a placement: of its verification where it was verified, else measured now.

        Args:
            most_chips: the first so many of the placement that is explained; all by default.
        """
        chosen = evaluator or self.verify
        if chosen == self.verify and placement in self.known:
            return self.known[placement]
        relative, level = self.budget.relative, self.budget.confidence
        found = chosen.evaluate(
            placement, relative, f"explaining: {what}", confidence=level, chips=self._chips[:most_chips]
        )
        if chosen == self.verify:
            self.known[placement] = found
        return found

    @property
    def ranked(self) -> bool:
        """Whether it is known what damage layers do."""
        return any(layer.sensitivity is not None for layer in self.plan.layers)

    def by_damage(self) -> list[tuple[str, ...]]:
        """Layers of the placement that move together, the most damaging first.

        Where no search has ranked them, each is looked at alone, on the few samples and chips that choose parts of a
        network elsewhere too.
        """
        plan, names = self.plan, self.order(self.analog)
        if self._rankers or not self.ranked:
            rankers = self._rankers or [self.state.gradient_evaluator(self._rank)]
            found = joint_table([sensitivities(evaluator, names) for evaluator in rankers])
            for problem in found.not_finite.values():
                raise NotFiniteError(problem)
            if len(found.layers) < len(names):
                raise OutOfTimeError("--timeout: not every layer was ranked")
            plan = found.put_into(plan)
        rows = {layer.name: layer for layer in plan.layers}
        return sorted(self.graph.tied(names), key=lambda tie: -damage_together([rows[name] for name in tie]))

    def paired(self, found: Evaluation) -> tuple[float, float] | None:
        """Interval of a drop minus that of the placement, over the chips that both were measured on, its first ones."""
        scale = drop_scale(found.baseline, self.budget.relative)
        step = scale / found.samples if found.percent else 0.0
        return over_draws(np.subtract(found.drops, self.found.drops[: found.draws]), self.budget.confidence, step)

    def order(self, placement: frozenset[str]) -> tuple[str, ...]:
        """Its layers in the order of the plan; columns of a layer only where the rest of it is not among them."""
        apart = {columns_of(name) for name in self.plan.digital_columns if name in placement}
        return tuple(layer.name for layer in self.plan.layers if layer.name in placement - apart)


def _explained(case: Case) -> Infeasibility:
    """Why it does not hold."""
    interval = case.budget.interval(case.found)
    try:
        in_the_way, without = _in_the_way(case)
    except OutOfTimeError:
        in_the_way, without = (), None
    return Infeasibility(
        analog=case.order(case.analog),
        least=_least(case),
        nearest_budget=case.found.drop if interval is None else max(interval[1], 0.0),
        in_the_way=in_the_way,
        without=without,
        remedies=tuple(_remedies(case)),
    )


def _least(case: Case) -> Evaluation:
    """The least drop of what was measured; without sensitivities no placement is the safest."""
    safest = search_space(case.graph, case.plan, case.options).safest()
    if case.ranked and safest is not None and safest.placement:
        case.evaluate(safest.placement, "the safest placement")
    found = [one for placement, one in case.known.items() if placement]
    return min(found, key=lambda one: one.drop, default=case.found)


def _fewest_blocking_layers(
    judge: PlacementJudge, analog: frozenset[str], groups: Sequence[frozenset[str]]
) -> Sequence[frozenset[str]]:
    """The fewest first groups without which the rest holds, by bisection on the samples and chips of the search.

    It holds where the upper bound does: of sets that hold by the mean alone, the smallest would hardly hold in a test.
    That all of them together do not hold is taken as known; all groups where nothing less is found.

    Args:
        groups: of it, the most damaging first.
    """
    bad, good = 0, len(groups)
    while good - bad > 1:
        middle = (bad + good) // 2
        found = judge.within(analog.difference(*groups[:middle])).evaluation
        if judge.budget.status(found) == "accepted":
            good = middle
        else:
            bad = middle
    return groups[:good]


def _in_the_way(case: Case) -> tuple[tuple[str, ...], Evaluation | None]:
    """The fewest most damaging layers without which the rest holds, by bisection on the search's samples."""
    ties = case.by_damage()
    fewest = len(_fewest_blocking_layers(case.judge, case.analog, list(map(frozenset, ties))))
    removed = tuple(name for tie in ties[:fewest] for name in tie)
    if not removed:
        return (), None
    what = f"without {counted(len(layers_among(case.plan, removed)), 'layer')}"
    return removed, case.evaluate(case.analog.difference(removed), what)


def _remedies(case: Case) -> Iterator[Remedy]:
    """Changes of the machine, each measured; as many as there is time for."""
    for change, placement, evaluator in (*_times(case), *_bits(case), *_remapped(case), *_tiles(case)):
        try:
            found = case.evaluate(placement, change, evaluator, MOST_CHIPS)
        except OutOfTimeError:
            return
        within = case.budget.status(found) == "accepted"
        paired = (
            None if evaluator == case.verify else case.paired(found)
        )  # else perhaps of an earlier test, on other chips
        yield Remedy(change, case.order(placement), found, within, paired)


Change = tuple[str, frozenset[str], PlacementEvaluator]


def _times(case: Case) -> Iterator[Change]:
    machine, now = case.verify.hardware, case.verify.t_s
    ages = any(devices is not None and devices.ages for devices in (machine.for_layer(n).devices for n in case.analog))
    for t_s in SHORTER_TIMES_S:
        if t_s < now and ages and machine.knows(t_s):
            yield f"--t-inference {time_text(now)} -> {time_text(t_s)}", case.analog, case.verify.on(t_s=t_s)


def _bits(case: Case) -> Iterator[Change]:
    machine = case.verify.hardware
    converters: dict[str, Converter] = {"adc": machine.adc}
    if machine.dac.slice_bits is None:  # else more bits are more reads, and not of every number of bits
        converters["dac"] = machine.dac
    for name, converter in converters.items():
        if converter.bits is not None:
            more = converter.bits + MORE_BITS
            finer = machine.model_copy(update={name: converter.model_copy(update={"bits": more})})
            yield f"{name}.bits {converter.bits} -> {more}", case.analog, case.verify.on(hardware=finer)


def _remapped(case: Case) -> Iterator[Change]:
    machine = case.verify.hardware
    if machine.faults.could_remap:
        tested = machine.model_copy(update={"faults": machine.faults.model_copy(update={"remap": True})})
        yield "faults.remap false -> true", case.analog, case.verify.on(hardware=tested)


def _tiles(case: Case) -> Iterator[Change]:
    """Twice the tiles: for further copies where these fill them, else where that gives a safer placement."""
    goal, count = case.options.goal, case.plan.hardware.tiles.count
    bounds = [bound for bound in (count, goal.max_tiles) if bound is not None]
    tiles_now = min(bounds, default=case.plan.tiles_of(case.graph, case.analog))
    doubled, copies = 2 * tiles_now, case.verify.copies
    if copies.tiles is not None:
        copies = replace(copies, tiles=doubled)
    elif not bounds and case.fills and case.ranked:
        copies = extra_copies(case.graph, case.plan, replace(goal, max_tiles=doubled))
    if copies.tiles is not None:
        yield f"tiles {tiles_now} -> {doubled}", case.analog, case.verify.on(copies=copies)
    if copies.tiles is not None or not bounds:
        return
    tiles = case.plan.hardware.tiles.model_copy(update={"count": doubled})
    roomy = case.plan.model_copy(update={"hardware": case.plan.hardware.model_copy(update={"tiles": tiles})})
    more = replace(case.options, goal=replace(goal, max_tiles=doubled))
    before = search_space(case.graph, case.plan, case.options).safest()
    after = search_space(case.graph, roomy, more).safest()
    if after is not None and (before is None or after.placement != before.placement):
        yield f"tiles {tiles_now} -> {doubled}", after.placement, case.verify
