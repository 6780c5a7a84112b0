"""What is said of machines side by side, from results that are made up."""

from types import SimpleNamespace
from typing import Any

import pytest

from lhc.report.tables.comparison import held_ages, holding_text, interval_notes, overlapping_pairs

HOUR, DAY, YEAR = 3600.0, 86400.0, 31536000.0


def machine(
    name: str,
    interval: tuple[float, float] | None,
    *upper: tuple[float, float],
    stochastic: bool = True,
    share: float | None = None,
    drops: tuple[float, ...] = (),
    **more: object,
) -> Any:  # noqa: ANN401
    """A result within a budget of 0.01; ``upper``: ages, and the upper bound of the drop at each.

    ``share``: of all chips, that is to hold the budget; ``drops``: of the chips at every age.
    """
    known = {"objective": "energy", "confidence": 0.9, "drop_word": "drop"} | more
    budget = {"generalized": False, "max_drop": 0.01, "drop_type": "absolute", "yield_share": share}
    outcome = SimpleNamespace(drop=0.0, interval=interval, **budget, **known)
    hardware = SimpleNamespace(name=name, is_stochastic=stochastic)
    ages = tuple(
        SimpleNamespace(t_s=t, deciding={False: (0.0, bound)}.__getitem__, drops=drops, confidence=0.9)
        for t, bound in upper
    )
    return SimpleNamespace(plan=SimpleNamespace(hardware=hardware, outcome=outcome, analog={"a"}), ages=ages)


def test_machines_are_told_apart_where_no_value_lies_in_both_intervals() -> None:
    results = [machine("a", (0.0, 0.2)), machine("b", (0.1, 0.3)), machine("c", (0.25, 0.4)), machine("d", None)]
    assert overlapping_pairs(results) == [("a", "b"), ("b", "c")]


def test_a_machine_that_draws_nothing_has_its_drop_alone() -> None:
    results = [machine("ideal", None, stochastic=False), machine("b", (0.0, 0.1)), machine("c", (0.05, 0.1))]
    assert overlapping_pairs(results) == [("ideal", "b"), ("b", "c")]


def test_levels_and_objectives_that_differ_are_named() -> None:
    same = [machine("a", (0.0, 0.2)), machine("b", (0.1, 0.3))]
    assert list(interval_notes(same)) == ["interval: of the mean drop, 90 % confidence"]
    other = machine("c", (0.0, 0.1), objective="macs", confidence=0.991)
    assert list(interval_notes([*same, other])) == [
        "interval: of the mean drop, 90 % to 99.1 % confidence",
        "placed for different objectives: a energy, b energy, c macs (--objective sets one for all)",
    ]


@pytest.mark.parametrize(
    ("ages", "found", "text"),
    [
        ([], (None, None), "-"),
        ([(HOUR, 0.005), (DAY, 0.01)], (DAY, None), "over 1 day"),
        ([(HOUR, 0.005), (DAY, 0.02), (YEAR, 0.005)], (HOUR, DAY), "1 hour to 1 day"),
        ([(HOUR, 0.02), (DAY, 0.0)], (None, HOUR), "before 1 hour"),
    ],
)
def test_a_placement_holds_until_the_first_age_at_which_it_is_not_shown_to(
    ages: list[tuple[float, float]], found: tuple[float | None, float | None], text: str
) -> None:
    result = machine("a", None, *ages)
    assert held_ages(result) == found
    assert holding_text(result) == text


@pytest.mark.parametrize(
    ("failing", "chips", "found"),
    [
        pytest.param(0, 40, (HOUR, None), id="all of 40 chips show 90 %"),
        pytest.param(4, 40, (None, HOUR), id="4 of 40 that fail do not"),
        pytest.param(0, 10, (None, HOUR), id="10 chips cannot show 90 %"),
    ],
)
def test_at_every_age_the_share_of_chips_of_yield_is_to_be_shown(
    failing: int, chips: int, found: tuple[float | None, float | None]
) -> None:
    drops = (0.02,) * failing + (0.0,) * (chips - failing)
    assert held_ages(machine("a", None, (HOUR, 0.005), share=0.9, drops=drops)) == found


def test_without_analog_layers_nothing_ages() -> None:
    """A dash would say that devices are not known."""
    result = machine("a", None)
    result.plan.analog = set()
    assert holding_text(result) == "all digital"
