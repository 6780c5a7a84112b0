"""Fixed-sequence tests whose outcome is given: what is tested next, at which level, and what is kept."""

from dataclasses import dataclass, field

import pytest

from lhc.errors import NotFiniteError, OutOfTimeError
from lhc.pipeline.steps.verify.fixed_sequence_test import Forecast, Path, Verified, fixed_sequence_test
from lhc.results import Evaluation, Verdict

STEPS = tuple(frozenset("abcdefghij"[:n]) for n in range(1, 11))


@dataclass
class Truth:
    """Accepts what drops by at most nine tenths of the budget of 1; remembers sizes and levels.

    From ``cliff`` layers on, everything drops by 1.3.
    """

    each: float
    time: int = 100
    cliff: int = 100
    asked: list[int] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)

    def __call__(self, placement: frozenset[str], number: int, error: float, begin: bool) -> Verified:
        if len(self.asked) >= self.time and not begin:
            raise OutOfTimeError("over")
        self.asked.append(len(placement))
        self.levels.append(error)
        drop = self.each * len(placement) if len(placement) < self.cliff else 1.3
        drops = (drop - 0.05, drop + 0.05) * 5
        interval = (drop - 0.05, drop + 0.05)
        found = Evaluation("kl", False, 0, drops, 0, 0, None, drop, interval, None, drops, 1, 0, 0, 0.9)
        return Verified(placement, Verdict("accepted" if drop <= 0.9 else "rejected", found), range(number, number + 1))


def path(each: float, **more: object) -> Path:
    """Ten steps of which the search saw the last."""
    given = {"grounded": True, **more}
    return Path(frozenset(), STEPS, [float(n) for n in range(1, 11)], [(10.0, 10 * each, 0.1)], **given)  # type: ignore[arg-type]


def kept(tried: list[Verified]) -> int:
    return len(tried[-1].placement)


def test_a_sequence_begins_at_half_of_the_budget_and_ends_with_the_first_failure() -> None:
    truth = Truth(0.1)
    assert kept(fixed_sequence_test(path(0.1), truth, 1.0, 100, 0.05)) == 9
    assert truth.asked[0] == 5
    assert truth.asked == sorted(truth.asked)
    assert len(truth.asked) <= 5, "steps are long where nothing is at stake"
    assert truth.levels == [pytest.approx(0.045)] * len(truth.asked)


def test_with_a_share_of_the_chips_steps_are_shorter_and_a_second_sequence_needs_chips() -> None:
    truth = Truth(0.1)
    assert kept(fixed_sequence_test(path(0.1), truth, 1.0, 100, 0.05, 0.95)) == 9
    assert truth.asked[0] == 2
    assert truth.levels == [0.05] * len(truth.asked)
    enough = Truth(0.1)
    fixed_sequence_test(path(0.1), enough, 1.0, 122, 0.05, 0.95)
    assert enough.levels == [pytest.approx(0.045)] * len(enough.asked)
    spread = Forecast(0.0, 0.1, 1e-4, damage=2.0, drop=0.2, error=0.01, deviation=0.1)
    mean, one_by_one = (spread.chance(6.0, 1.0, 100, share) for share in (None, 0.95))
    assert one_by_one < 0.5 < 0.95 < mean


def test_what_the_search_made_too_much_of_is_reached_all_the_same() -> None:
    truth = Truth(0.05)
    assert kept(fixed_sequence_test(path(0.2), truth, 1.0, 100, 0.05)) == 10
    assert truth.asked[0] == 2


def test_where_the_first_step_fails_a_second_sequence_begins_below_it_with_what_was_kept_for_it() -> None:
    truth = Truth(0.3)
    assert kept(fixed_sequence_test(path(0.1), truth, 1.0, 100, 0.05)) == 3
    assert truth.asked[:2] == [5, 0]
    assert all(size < 5 for size in truth.asked[1:])
    assert truth.levels == [pytest.approx(0.045), *[pytest.approx(0.005)] * (len(truth.asked) - 1)]


@pytest.mark.parametrize("cliff", [7, 8, 9])
def test_where_a_jump_fails_a_second_sequence_goes_over_what_was_jumped(cliff: int) -> None:
    truth = Truth(0.05, cliff=cliff)
    assert kept(fixed_sequence_test(path(0.1), truth, 1.0, 100, 0.05)) == cliff - 1
    failed = next(number for number, size in enumerate(truth.asked) if size >= cliff)
    assert truth.asked[failed] > truth.asked[failed - 1] + 1, "a jump"
    assert all(truth.asked[failed - 1] < size < truth.asked[failed] for size in truth.asked[failed + 1 :])
    before, after = truth.levels[: failed + 1], truth.levels[failed + 1 :]
    assert before == [pytest.approx(0.045)] * len(before)
    assert after == [pytest.approx(0.005)] * len(after)
    assert after


def test_without_a_jump_there_is_one_sequence() -> None:
    truth = Truth(0.05, cliff=7)
    assert kept(fixed_sequence_test(path(0.1, adapts=False), truth, 1.0, 100, 0.05)) == 6
    assert truth.asked == [5, 6, 7]


def test_nothing_below_the_first_step_leaves_it_the_whole_chance() -> None:
    truth = Truth(2.0)
    tried = fixed_sequence_test(Path(frozenset(), STEPS[:1], [1.0], [(1.0, 2.0, 0.1)]), truth, 1.0, 100, 0.05)
    assert [len(one.placement) for one in tried] == [1, 0]
    assert truth.levels[0] == 0.05


@pytest.mark.parametrize(
    ("ground", "more"),
    [
        pytest.param("", {"adapts": False}, id="digital, and other samples are to hold"),
        pytest.param("x", {}, id="layers that are analog anyway"),
    ],
)
def test_a_ground_that_may_be_accepted_in_error_has_a_part_of_the_chance(ground: str, more: dict[str, bool]) -> None:
    truth = Truth(2.0)
    one = Path(frozenset(ground), STEPS[:1], [1.0], [(1.0, 2.0, 0.1)], **more)
    fixed_sequence_test(one, truth, 1.0, 100, 0.05)
    assert truth.levels == [pytest.approx(0.045), pytest.approx(0.005)]


def test_a_ground_without_a_part_of_the_chance_is_not_tested() -> None:
    """100 chips cannot show 95 % of all with a tenth of the chance of error."""
    truth = Truth(2.0)
    one = Path(frozenset("x"), STEPS[:1], [1.0], [(1.0, 2.0, 0.1)])
    fixed_sequence_test(one, truth, 1.0, 100, 0.05, 0.95)
    assert (truth.asked, truth.levels) == ([1], [0.05])


@pytest.mark.parametrize("ground", ["", "x"])
@pytest.mark.parametrize("cliff", range(1, 11))
def test_nothing_is_tested_without_a_chance_of_error(ground: str, cliff: int) -> None:
    """All of it is spent by the first sequence, where further chips could not show the share with a tenth."""
    steps = [step.union(ground) for step in STEPS]
    truth = Truth(0.1, cliff=cliff)
    one = Path(frozenset(ground), steps, [float(n) for n in range(1, 11)], [(10.0, 1.0, 0.1)])
    fixed_sequence_test(one, truth, 1.0, 100, 0.05, 0.95)
    assert min(truth.levels) > 0


def test_the_least_drop_is_kept_where_nothing_holds() -> None:
    truth = Truth(2.0)
    tried = fixed_sequence_test(path(0.1, grounded=False), truth, 1.0, 100, 0.05)
    assert kept(tried) == min(truth.asked)
    assert not tried[-1].verdict.accepted


def test_when_the_time_is_over_what_was_shown_by_then_is_kept() -> None:
    assert kept(fixed_sequence_test(path(0.1), Truth(0.1, time=1), 1.0, 100, 0.05)) == 5
    truth = Truth(0.3, time=0)
    assert kept(fixed_sequence_test(path(0.1), truth, 1.0, 100, 0.05)) == 0
    assert truth.asked == [5, 0], "one test is begun, and what is digital anyway is looked at"


def test_a_bolder_placement_that_gives_no_numbers_ends_the_sequence_and_what_was_shown_is_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class NoNumbers(Truth):
        def __call__(self, placement: frozenset[str], number: int, error: float, begin: bool) -> Verified:
            if len(placement) >= self.cliff:
                raise NotFiniteError("NaN")
            return super().__call__(placement, number, error, begin)

    assert kept(fixed_sequence_test(path(0.1), NoNumbers(0.1, cliff=7), 1.0, 100, 0.05)) == 6
    assert "a bolder placement was not kept: NaN" in caplog.text
    assert 0 < kept(fixed_sequence_test(path(0.1), NoNumbers(0.1, cliff=5), 1.0, 100, 0.05)) < 5
    with pytest.raises(NotFiniteError):
        fixed_sequence_test(path(0.1), NoNumbers(0.1, cliff=0), 1.0, 100, 0.05)


def test_every_test_has_chips_of_its_own_also_behind_one_that_gave_no_numbers() -> None:
    numbers: list[int] = []

    class NoNumbers(Truth):
        def __call__(self, placement: frozenset[str], number: int, error: float, begin: bool) -> Verified:
            numbers.append(number)
            if len(placement) >= self.cliff:
                raise NotFiniteError("NaN")
            return super().__call__(placement, number, error, begin)

    fixed_sequence_test(path(0.1), NoNumbers(0.1, cliff=7), 1.0, 100, 0.05)
    assert numbers == [0, 1, 2], "the second gave no numbers"


def test_a_path_that_does_not_adapt_is_tested_step_by_step() -> None:
    truth = Truth(0.1)
    assert kept(fixed_sequence_test(path(0.1, adapts=False), truth, 1.0, 100, 0.05)) == 9
    assert truth.asked == [5, 6, 7, 8, 9, 10]


def test_without_a_step_the_ground_is_tested() -> None:
    truth = Truth(0.1)
    fixed_sequence_test(Path(frozenset("ab"), (), ()), truth, 1.0, 100, 0.05)
    assert (truth.asked, truth.levels) == ([2], [0.05])


def test_a_forecast_goes_by_what_was_judged_near_the_budget_and_by_tests() -> None:
    curved = Path(frozenset(), STEPS, [float(n) for n in range(1, 11)], [(5.0, 0.5, 0.1), (10.0, 10.0, 0.1)])
    assert Forecast.of(curved, 1.0).predicted(5.0) < 1.0, "and not five, as the other says"
    nothing = Forecast.of(path(0.0), 1.0)
    assert 0 < nothing.predicted(10.0) < 0.5, "what cannot be seen may still be there"
    trial = Truth(0.3)
    seen = nothing.seen(3.0, trial(STEPS[2], 0, 0.05, False).verdict, 1.0)
    assert seen.expected(4.0) == pytest.approx(1.2, abs=0.2)
    assert seen.chance(4.0, 1.0, 100) < seen.chance(3.1, 1.0, 100)
    retrained = Forecast.of(path(0.1, base=0.5), 1.0)
    assert retrained.predicted(0.0) == 0.5


def test_between_a_placement_that_holds_and_one_that_does_not_drops_lie_on_a_line() -> None:
    before, low, high = Forecast.of(path(0.05), 1.0), Truth(0.1), Truth(0.15)
    shown = before.seen(4.0, low(STEPS[3], 0, 0.05, False).verdict, 1.0)
    failed = shown.seen(8.0, high(STEPS[7], 1, 0.05, False).verdict, 1.0)
    between = shown.below(failed)
    assert between.expected(6.0) == pytest.approx((0.4 + 1.2) / 2)
    assert between.chance(7.0, 1.0, 100) < 0.5 < between.chance(5.0, 1.0, 100)
    assert before.below(failed).factor == failed.factor, "nothing was shown to hold"
