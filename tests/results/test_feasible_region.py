"""Verdicts of machines between those that were measured."""

from dataclasses import replace

import pytest

from lhc.results import FeasibleRegion, PointVerdict, RegionPoint, VariedField, check_region
from tests.report.made_reports import evaluated


def region(*points: tuple[float, float, PointVerdict]) -> FeasibleRegion:
    """A region over noise, of which less is better, and bits, of which more is."""
    fields = (
        VariedField("adc.noise", (1.0, 2.0, 3.0), 1.0, False),
        VariedField("adc.bits", (4.0, 6.0, 8.0), 8.0, True),
    )
    found = tuple(RegionPoint((noise, bits), verdict, evaluated(0.88), 1.0) for noise, bits, verdict in points)
    return FeasibleRegion(0.03, "absolute", fields, found, ())


@pytest.mark.parametrize(
    ("at", "verdict"),
    [
        ((2.0, 6.0), "shown"),
        ((1.5, 7.0), "shown"),
        ((2.0, 5.9), "not shown"),
        ((2.1, 6.0), "not shown"),
        ((3.0, 6.0), "broken"),
        ((3.5, 5.0), "broken"),
    ],
    ids=str,
)
def test_a_machine_is_as_those_that_are_no_better_or_no_worse(at: tuple[float, float], verdict: str) -> None:
    assert region((2.0, 6.0, "shown"), (3.0, 6.0, "broken")).verdict(*at) == verdict


def test_what_is_not_shown_casts_doubt_on_what_is_worse() -> None:
    found = region((2.0, 6.0, "shown"), (1.0, 8.0, "not shown"))
    assert found.verdict(2.0, 6.0) == "shown", "it was measured"
    assert found.verdict(1.5, 7.0) == "not shown"


def test_nothing_is_concluded_where_drops_do_not_grow_steadily() -> None:
    found = replace(region((2.0, 6.0, "shown"), (1.0, 8.0, "broken")), steady=False)
    assert (found.verdict(2.0, 6.0), found.verdict(1.0, 8.0)) == ("shown", "broken")
    assert found.verdict(1.5, 7.0) == "not shown"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"points": ()}, "region.points: holds no machine"),
        ({"fields": ()}, "region.fields: one or two"),
        ({"fields": (VariedField("adc.noise", (1.0, 2.0)),)}, r"region.points.0.values: are not"),
    ],
    ids=["no points", "no fields", "other fields"],
)
def test_a_region_that_cannot_be_drawn_is_refused(changed: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_region(replace(region((2.0, 6.0, "shown")), **changed))  # type: ignore[arg-type]
