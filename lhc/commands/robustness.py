"""How a placement does over time, over chips and over scaled noise."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from lhc.errors import UsageError
from lhc.measure import Budget, Running
from lhc.measure.bench import Bench
from lhc.options.commands import RobustnessOptions, RunOptions
from lhc.options.declare import part
from lhc.options.signature import keywords
from lhc.plan import Outcome
from lhc.results import Evaluation, Robustness
from lhc.stats import CONFIDENCE, check_confidence, one_sided
from lhc.study.cautions import warn_of_doubtful_labels
from lhc.study.goal import ample_chips, budget_of, budget_of_plan, chips_for, with_yield
from lhc.study.margin import TIMES_S, measure_robustness
from lhc.study.prepare import read_placed, stored_plan
from lhc.study.source import Opened, open_model
from lhc.study.state import Study
from lhc.support.numbers import level_text, time_text

__all__ = ["at_ages", "robustness"]

CHIPS = 50
"""For the spread over chips, at least."""


@keywords(RobustnessOptions)
def robustness(options: RobustnessOptions) -> Robustness:
    """How a placement does over time, over many chips, and over noise scaled up and down until it fails.

    Samples, chips and level are those of the verification, where data and machine are those that the placement was
    verified with: at the machine's own noise the answer is then the same. Else it is said what differs.
    """
    with _placed(options) as placed:
        times = _times(placed.study, options)
        found = measure_robustness(placed.bench, placed.analog, placed.budget, times, placed.chips, placed.first)
        found = replace(found, chips=replace(found.chips, calibrated=placed.calibrated_on))
    verified = placed.verified
    return found if verified is None else replace(found, differs=tuple(_differences(found, verified, placed.same)))


def at_ages(options: RobustnessOptions, ages: Sequence[float]) -> tuple[Evaluation, ...]:
    """The placement at some times, in seconds after the first read, on samples and chips as `robustness` takes them."""
    with _placed(options) as placed:
        bench, level = placed.bench, placed.budget.confidence
        chips = range(placed.first, placed.first + bench.draws)
        return tuple(
            bench.evaluate(placed.analog, placed.budget.relative, f"after {time_text(t)}", t, level, chips)
            for t in sorted(ages)
        )


@dataclass(frozen=True)
class _Placed:
    """A placement, ready to be measured.

    Attributes:
        study: the network.
        bench: samples and chips.
        analog: the analog layers.
        budget: what it is held against.
        verified: how it did when it was verified, where data and machine are the same.
        same: samples are those of the verification.
        chips: for the spread over chips.
    """

    study: Study
    bench: Bench
    analog: frozenset[str]
    budget: Budget
    verified: Outcome | None
    same: bool
    chips: int

    @property
    def first(self) -> int:
        """Number of the first chip."""
        first = None if self.verified is None else self.verified.first_draw
        return 0 if first is None else first

    @property
    def calibrated_on(self) -> int:
        return self.study.calibrated_on if self.analog else 0


@contextmanager
def _placed(options: RobustnessOptions) -> Iterator[_Placed]:
    opened = open_model(options.model, options.data, options.label_key, options.dequantize)
    stored = stored_plan(options, opened)
    outcome = None if stored is None else stored.outcome
    verified = None if options.hardware is not None or options.names_layers else outcome
    asked = _as_verified(options, verified)
    budget = with_yield(_budget(options, asked.confidence, outcome, verified, opened), options)
    chips = _chips(options, budget)
    with Running(options) as running:
        study, analog, at = read_placed(asked, running, None, opened=opened)
        study = replace(study, t_s=outcome.t_s if outcome is not None and options.hardware is None else at[0])
        if outcome is not None and options.max_drop is None:
            budget_of_plan(outcome, study.task.metric.name, options.drop_type, asked.confidence)
        same_samples = verified is not None and verified.data == study.task.digest
        bench = study.bench(study.splits.verify if same_samples else study.splits.judged)
        budget.check(bench)
        warn_of_doubtful_labels(bench)
        yield _Placed(study, bench, analog, budget, verified, same_samples, chips)


def _as_verified(options: RobustnessOptions, verified: Outcome | None) -> RunOptions:
    """The options with chips, seed and level of a verification, where they name no others."""
    level = CONFIDENCE if verified is None else verified.confidence
    chosen = replace(
        options,
        confidence=check_confidence(level if options.confidence is None else options.confidence),
        draws=(10 if verified is None else verified.draws) if options.draws is None else options.draws,
        seed=(0 if verified is None else verified.seed) if options.seed is None else options.seed,
    )
    asked = part(chosen, RunOptions)
    if (options.chips is not None and options.chips < 2) or asked.draws < 2:
        raise UsageError("--chips and --draws must be at least 2: one chip says nothing of others")
    return asked


def _chips(options: RobustnessOptions, budget: Budget) -> int:
    """Chips for the spread over chips.

    Raises:
        UsageError: fewer than show the share that is to hold the budget.
    """
    error = one_sided(budget.confidence)
    if options.chips is None:
        return max(CHIPS, ample_chips(budget.share, error))
    needed = chips_for(budget.share, error)
    if options.chips < needed:
        raise UsageError(
            f"--chips {options.chips}: a --yield of {budget.share:g} takes {needed} chips, if every one of them holds"
            " the budget; allow more, or a lower --yield"
        )
    return options.chips


def _budget(
    options: RobustnessOptions, level: float, outcome: Outcome | None, verified: Outcome | None, opened: Opened
) -> Budget:
    generalize = options.generalize or (verified is not None and verified.generalized)
    if outcome is not None and options.max_drop is None:
        return replace(budget_of_plan(outcome, options.metric, options.drop_type, level), generalize=generalize)
    kind = options.drop_type or ("absolute" if outcome is None else outcome.drop_type)
    return budget_of(replace(options, drop_type=kind, generalize=generalize), level, opened)


def _times(study: Study, options: RobustnessOptions) -> list[float]:
    """When the placement is looked at: as the user says, else from 0 to ten years, as far as the devices are known."""
    machine = study.plan.hardware
    known = [t for t in TIMES_S if machine.devices is None or machine.devices.time_problem(t) is None]
    asked = known if options.times is None else list(options.times)
    for t in asked:
        machine.check_time(t)
    return asked


def _differences(found: Robustness, verified: Outcome, same_data: bool) -> Iterator[str]:
    """In what a measurement differs from the verification of the same placement, by what both came to."""
    here = next(one.evaluation for one in found.scales if one.scale == 1)
    same_metric = here.metric == verified.metric
    if not same_metric:
        yield f"{here.metric} instead of {verified.metric}"
    same_samples = same_data and here.samples == verified.samples
    if same_samples and same_metric:
        same_samples = here.baseline == verified.baseline
    if not same_samples:
        yield f"other samples ({here.samples} instead of {verified.samples})"
    same_kind = found.drop_type == verified.drop_type
    if not same_kind:
        yield f"{found.drop_type} drops instead of {verified.drop_type} ones"
    same_chips = (here.draws, here.seed) == (verified.draws, verified.seed)
    if same_metric and same_samples and same_kind:  # where all else is the same, drops tell more than numbers
        same_chips = same_chips and here.drop == verified.drop
    if not same_chips:
        yield f"other chips ({here.draws} of seed {here.seed} instead of {verified.draws} of seed {verified.seed})"
    if found.generalized != verified.generalized:
        yield f"an interval {'over other samples too' if found.generalized else 'over these samples alone'}"
    if here.confidence != verified.confidence:
        yield f"a level of {level_text(here.confidence)} instead of {level_text(verified.confidence)}"
