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
    **more: object,
) -> Any:  # noqa: ANN401
    """A result within a budget of 0.01; ``upper``: ages, and the upper bound of the drop at each."""
    known = {"objective": "energy", "confidence": 0.9, "drop_word": "drop"} | more
    outcome = SimpleNamespace(drop=0.0, interval=interval, generalized=False, max_drop=0.01, **known)
    hardware = SimpleNamespace(name=name, is_stochastic=stochastic)
    ages = tuple(SimpleNamespace(t_s=t, deciding={False: (0.0, bound)}.__getitem__) for t, bound in upper)
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


def test_without_analog_layers_nothing_ages() -> None:
    """A dash would say that devices are not known."""
    result = machine("a", None)
    result.plan.analog = set()
    assert holding_text(result) == "all digital"
