"""Wording of an outcome: budget, drops and intervals, chips, samples, tests and healing."""

import math
from typing import TYPE_CHECKING

from lhc.options.shared import DropType
from lhc.plan import Conformance, Outcome, OutputOutcome, Plan, Retrained, TestedPlacement
from lhc.stats import enough
from lhc.support.number_formatting import (
    counted,
    counted_samples,
    drop_interval,
    drop_text,
    drop_value,
    drop_word,
    level_text,
    metric_value,
    number_text,
    share_text,
)

if TYPE_CHECKING:
    from lhc.results import Attribution, Evaluation, Robustness, SensitivityTable

CHIPS_COUNT = 0.1
"""Part of the square of a half-width below which chips hardly make it: without them it would be 5 % less."""


def points(outcome: Outcome, value: float) -> str:
    """A drop, with the unit that it is in."""
    return drop_text(value, outcome.percent, outcome.drop_type, outcome.max_drop)


def share_of_digital(outcome: Outcome) -> str:
    """A budget as part of the digital value; empty where it is given so, or in points, which have a scale."""
    if outcome.percent or outcome.drop_type == "relative" or not outcome.baseline:
        return ""
    return f"{share_text(outcome.max_drop / abs(outcome.baseline))} of the digital value"


def budget_text(value: float, share: bool = False) -> str:
    """A budget that is at least the value, as ``--max-drop`` takes it.

    Args:
        share: it is one, and written as a percentage.

    >>> budget_text(0.020384), budget_text(0.02), budget_text(-0.0), budget_text(1.5), budget_text(-0.0123456)
    ('0.02039', '0.02', '0', '1.5', '0')
    >>> budget_text(0.020384, share=True), budget_text(0.07, share=True), budget_text(1.5, share=True)
    ('2.039%', '7%', '150%')
    """
    scale, unit = (100, "%") if share else (1, "")
    value = max(0.0, value)  # there is no budget below
    shown = number_text(scale * value)
    if float(shown) / scale < value:
        shown = number_text(scale * value + 10.0 ** (math.floor(math.log10(scale * value)) - 3))
    return f"{shown}{unit}"


def budget_word(met: bool) -> str:
    """Verdict on a budget in words; it is met where the interval of the mean drop ends within it."""
    return "within the budget" if met else "budget not met"


def unmet_because(outcome: Outcome) -> str:
    """Cause why a budget is not met that the mean drop is within; empty where it is met, or the mean is over it."""
    if outcome.within_budget or outcome.drop > outcome.max_drop or outcome.interval is None:
        return ""
    if outcome.interval[1] > outcome.max_drop:
        more = f"{_narrowing(outcome)} narrow it"
        return f", but the interval reaches {points(outcome, outcome.interval[1])}; {more}"
    if over := [repr(one.output) for one in outcome.further if not one.within_budget]:
        return f", but output {' and '.join(over)} is not shown to hold its own"
    if outcome.further:
        return ", but all outputs together are not shown to hold theirs"
    if outcome.yield_shown is False:
        return f", but {100 * (outcome.yield_share or 0):g} % of all {draws_word(outcome)}s are not shown to hold it"
    return ", but an earlier test of the same weights did not show it, and another one does not make up for that"


def _narrowing(outcome: Outcome) -> str:
    """Remedy for a wide interval: no further chips where samples alone decide its width."""
    assert outcome.interval is not None
    what = "samples" if outcome.documents is None else "documents"
    count = outcome.samples if outcome.documents is None else outcome.documents
    half, room = outcome.interval[1] - outcome.drop, outcome.max_drop - outcome.drop
    chips = math.inf if outcome.chip_interval is None else outcome.chip_interval[1] - outcome.drop
    if not (outcome.generalized and chips**2 < CHIPS_COUNT * half**2):
        return f"more {draws_word(outcome)}s or samples"
    many = f" (about {enough(count, half, room)} in all, if that is its mean {outcome.drop_word})" if room else ""
    return f"more {what}{many}"


def further_text(one: OutputOutcome) -> str:
    """Values, drop and verdict at an output that was judged beside the first."""
    value, baseline = (metric_value(v, one.percent) for v in (one.value, one.baseline))
    drop, allowed = (drop_text(v, one.percent, "absolute", one.max_drop) for v in (one.drop, one.max_drop))
    between = drop_interval(one.interval, one.percent, "absolute", one.max_drop)
    return (
        f"output {one.output!r} beside it: digital {one.metric} {baseline}, mapped {value}; mean"
        f" {drop_word(one.higher_is_better)} {drop} ({between}), {allowed} allowed: {budget_word(one.within_budget)}"
    )


def tests_text(outcome: Outcome) -> str | None:
    """Warning that earlier commands tested the same weights in vain, with the chance of error; else None."""
    if outcome.tests == 1 or not outcome.within_budget or outcome.error is None:
        return None
    return (
        f"tested by {outcome.tests} commands, and only the last one shows it: the chance that one of them accepts in"
        f" error is up to {level_text(outcome.error)}; 'lhc partition --retrain' makes both tests within one chance"
    )


def tested_text(outcome: Outcome) -> str | None:
    """All placements that were tested, in that order, and what each came to; None where nothing was searched."""
    if not outcome.tested:
        return None

    def told(one: TestedPlacement) -> str:
        upper = "" if one.interval is None else f", at most {points(outcome, one.interval[1])}"
        size = f"{counted(one.layers, 'analog layer')} ({share_text(one.analog_mac_fraction)} of MACs)"
        chips = counted(one.draws, draws_word(outcome))
        drop = f"{points(outcome, one.drop)}{upper}, {chips}, " if one.layers else ""
        return f"{size} {drop}{budget_word(one.within_budget)}"

    return f"{counted(len(outcome.tested), 'placement')}: {'; '.join(map(told, outcome.tested))}"


def shares_error(outcome: Outcome) -> bool:
    """Whether the level of a verdict's intervals is higher than what its command asked for, which other tests took."""
    if outcome.error is None:
        return False
    asked = 1 - 2 * outcome.error / outcome.tests  # two-sided; earlier commands' chances are added to one
    return outcome.confidence > asked + 1e-9


def budget_for(found: "Evaluation", outcome: Outcome, drop_type: str = "absolute") -> float:
    """The budget of a placement in the unit of an evaluation's drops."""
    if drop_type == outcome.drop_type:
        return outcome.max_drop
    return outcome.max_drop * (abs(found.baseline) if drop_type == "absolute" else 1 / abs(found.baseline))


def shown_kind(found: "Evaluation", outcome: Outcome | None, kind: DropType = "absolute") -> DropType:
    """Kind of drop to show: that of the budget they can be held against, else their own.

    Args:
        kind: what the evaluation's drops are.
    """
    return outcome.drop_type if outcome is not None and found.baseline and of_budget(found, outcome) else kind


def comparable(found: "Evaluation", outcome: Outcome) -> bool:
    """Whether drops are against the same network as the budget: where weights were trained, the one that was given."""
    return found.against == (None if outcome.retrained is None else outcome.retrained.source)


def of_budget(found: "Evaluation", outcome: Outcome | None) -> bool:
    """Whether drops can be held against a budget: in its metric, against the same network."""
    return outcome is not None and comparable(found, outcome) and found.metric == outcome.metric


def within_budget(found: "Evaluation", outcome: Outcome | None, drop_type: str = "absolute") -> bool | None:
    """Verdict on a mean drop: true where it is shown to be within a placement's budget.

    None where there is none to compare with: in another metric, or against another network.

    Args:
        drop_type: of the evaluation's drops.
    """
    if outcome is None or not of_budget(found, outcome):
        return None
    interval = found.deciding(outcome.generalized)
    return interval is not None and interval[1] <= budget_for(found, outcome, drop_type)


def network_against(found: "Evaluation", outcome: Outcome | None) -> str:
    """The network that drops are against."""
    if found.against is None if outcome is None else comparable(found, outcome):
        return "the network as it was given"
    return "the trained weights" if found.against is None else "another network"


def interval_text(outcome: Outcome, interval: tuple[float, float] | None) -> str:
    """An interval of drops, the unit once."""
    return drop_interval(interval, outcome.percent, outcome.drop_type, outcome.max_drop)


def intervals(outcome: Outcome) -> list[tuple[str, tuple[float, float] | None, bool]]:
    """Intervals of the mean drop: the samples they are for, and whether they decide; one where both read the same.

    They do where few draws make that over chips the wider one, which that over samples too is then widened to, and
    where they differ by less than is shown.
    """
    these, others = outcome.chip_interval, outcome.sample_interval
    if interval_text(outcome, these) == interval_text(outcome, others):
        return [("these samples and others alike", these, True)]
    return [("these samples", these, not outcome.generalized), ("other samples", others, outcome.generalized)]


def nothing_lost(plan: Plan) -> bool:
    """Whether the placed network answers as the one that was given: nothing is analog, rounded or trained."""
    trained = plan.outcome is not None and plan.outcome.retrained is not None
    return not plan.analog and plan.digital is None and not trained


def formats_alone(plan: Plan) -> bool:
    """Whether the number formats of digital products are all that the placed network differs by: no chip matters."""
    trained = plan.outcome is not None and plan.outcome.retrained is not None
    return not plan.analog and plan.digital is not None and not trained


def precision_text(plan: Plan) -> str | None:
    """Number formats of the digital products, and what they alone take; None where they are the file's."""
    outcome, digital = plan.outcome, plan.digital
    if digital is None:
        return None
    said = f"digital products in {digital.text}{digital.as_file_text}"
    if outcome is None or outcome.digital_drop is None:
        return said
    alone = points(outcome, outcome.digital_drop)
    return f"{said}; without tiles they take a mean {outcome.drop_word} of {alone}{_over_budget(outcome)}"


def precision_clause(plan: Plan, outcome: Outcome) -> str:
    """The same in brackets, behind the digital value; empty where number formats are the file's."""
    if plan.digital is None or outcome.digital_drop is None:
        return ""
    alone = points(outcome, outcome.digital_drop)
    return f" (without tiles, in {plan.digital.text}: mean {outcome.drop_word} {alone}{_over_budget(outcome)})"


def _over_budget(outcome: Outcome) -> str:
    """What to do about number formats that take more than the budget by themselves; else empty."""
    if outcome.digital_drop is None or outcome.digital_drop <= outcome.max_drop:
        return ""
    return ", which is over the budget by itself: --digital-precision, or the hardware's digital.high_precision"


def estimate_text(outcome: Outcome) -> str | None:
    """Drop by the sensitivities beside the verified one, and how far off such estimates were; None without one."""
    found = outcome.estimate
    if found is None:
        return None
    basis = "the estimate rests on one placement judged in the search, which cannot say how far off it is"
    if found.placements > 1:
        off = share_text(found.spread, 0)
        basis = f"the {found.placements} placements judged in the search were {off} off on average"
    predicted, drop = points(outcome, found.predicted_drop), points(outcome, outcome.drop)
    return f"estimated {outcome.drop_word} {predicted}, verified {drop} ({basis})"


def healing_text(outcome: Outcome) -> str | None:
    """Mean drops without healing and with what there is of it, the unit once; None where it was not measured.

    The last one is the placement's own, of these chips: a verdict may be of more.
    """
    found = outcome.healing
    if found is None:
        return None
    share = outcome.percent or outcome.drop_type == "relative"
    drops = (("copies", found.copies), ("calibration", found.calibration), ("both", found.both))
    told = [f"with {what} {drop_value(drop, share)}" for what, drop in drops if drop is not None]
    chips = counted(outcome.draws, draws_word(outcome))
    which = f"the {chips}" if found.draws == outcome.draws else f"the first {found.draws} of the {chips}"
    drops_told = ", ".join([f"without healing {points(outcome, found.neither)}", *told])
    return f"mean {outcome.drop_word} on {which}, these samples: {drops_told} (no interval)"


def samples_text(outcome: Outcome) -> str:
    """Purposes that the samples of a verification served."""
    if outcome.samples_note is not None:
        return outcome.samples_note
    if outcome.held_out:
        return "held out from the search"
    least = "400 samples" if outcome.documents is None else "8 documents or 400 labels"
    return f"not held out, since fewer than {least}"


def samples_basis(found: "SensitivityTable | Attribution | Evaluation") -> str:
    """Numbers of samples that judge, and of others that every chip was calibrated on."""
    what = "others" if found.documents is None else "other windows"
    others = f" and {found.calibrated} {what} that every chip was calibrated on" if found.calibrated else ""
    return f"{counted_samples(found.samples, found.documents)}{others}"


def gain_text(gain: float, gain_range: tuple[float, float] | None) -> str:
    """Gain of drift compensation: mean and range over chips.

    >>> gain_text(1.1, (1.0, 1.25)), gain_text(1.1, None)
    ('1.10 (1.00 to 1.25)', '1.10')
    """
    return f"{gain:.2f}" if gain_range is None else f"{gain:.2f} ({gain_range[0]:.2f} to {gain_range[1]:.2f})"


def draws_word(found: "Outcome | Robustness") -> str:
    """Word for a draw: a chip, or a programming of the one that is known."""
    return "programming" if found.one_chip else "chip"


def other_chips(found: Outcome) -> str:
    """Population of a mean drop and its interval."""
    return "this chip, programmed anew" if found.one_chip else "other chips"


def training_steps(trained: Retrained) -> str:
    """Length of a training: ``200 steps of 32 samples``."""
    return f"{counted(trained.steps, 'step')} of {counted(trained.batch_size, 'sample')}"


def against_given(outcome: Outcome) -> str:
    """Reference of the drops of trained weights."""
    return f"{outcome.drop_word}s are against the network as it was given"


def budget_of_chips(found: "Outcome | Robustness") -> str:
    """Population of the budget: the mean over chips, and where that is wanted a share of them, one by one.

    How many hold it one by one is not what is decided.
    """
    word, draws = draws_word(found), found.draws if isinstance(found, Outcome) else found.chips.draws
    number = round(found.chips_within * draws)
    which = f"each of the {draws}" if number == draws else f"{number} of the {draws}"
    hold = "holds" if number in (1, draws) else "hold"
    one_by_one = f"{which} {word}s measured {hold} it alone"
    if draws == 1:
        one_by_one = f"the only {word} measured {'holds' if number else 'does not hold'} it alone"
    budget = f"the budget is for the mean over {'programmings of this chip' if found.one_chip else 'chips'}"
    if found.yield_share is None:
        return f"{budget}; {one_by_one}"
    shows = "shows" if found.yield_shown else "does not show"
    share = f"{100 * found.yield_share:g} %"
    return f"{budget} and for {share} of them; {one_by_one}, which {shows} it for {share} of all"


def engine_text(found: Outcome) -> str:
    """Engine that computed, where it is not the default."""
    return "" if found.engine == "fast" else f", computed by the engine {found.engine}"


def conformance_text(plan: Plan) -> str | None:
    """Agreement of a placement's emulation with its definition; None where it was not checked."""
    outcome = plan.outcome
    if outcome is None or not plan.analog:
        return agreement_text(plan.conformance, "fast", None)
    return agreement_text(plan.conformance, outcome.engine, outcome.engine_reason)


def agreement_text(found: Conformance | None, engine: str, reason: str | None) -> str | None:
    """Agreement that a check found; of the engine aihwkit, which needs none, why it computed."""
    if found is None:
        why = "" if reason is None else f", {reason}"
        return f"emulation: aihwkit computed every product{why}" if engine == "aihwkit" else None
    if found.wrong:
        worst = found.wrong[0]
        return (
            f"error: the emulation does not agree with aihwkit in {counted(len(found.wrong), 'layer')}:"
            f" {100 * worst.apart / worst.outputs:.2g} % of {worst.outputs:,} outputs of {worst.name!r} differ, by up"
            f" to {worst.greatest:.3g} ADC steps; use --engine aihwkit, and report it"
        )
    counts = f"{counted(len(found.layers), 'layer')}, {found.outputs:,} outputs"
    if not found.apart:
        return f"emulation checked against aihwkit: {counts}, none an ADC step apart"
    within, share = found.apart - found.further, 100 / found.outputs
    by_one = f"{within * share:.2g} % one ADC step apart" if within else "none one ADC step apart"
    more = "none more"
    if found.further:
        more = f"{found.further * share:.2g} % more, of vectors that one of both reads again"
    return f"emulation checked against aihwkit: {counts}, {by_one}, {more}"


def capitalized(text: str) -> str:
    """A sentence with a capital letter in front, and all others as they are."""
    return text[:1].upper() + text[1:]
