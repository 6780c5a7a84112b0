"""The search of a boundary finds what measuring the whole grid finds, in few measurements."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhc.errors import OutOfTimeError
from lhc.pipeline.steps.explain.feasible_region import Index, RegionSearch


class Staircase:
    """A grid on which line j holds the budget up to some place, the best machine at either end of either axis."""

    def __init__(self, places: int, heights: list[int], rising: tuple[bool, bool]) -> None:
        self.shape, self.heights, self.rising, self.measured = (places, len(heights)), heights, rising, 0

    def loss(self, at: Index) -> tuple[int, int]:
        i, j = (n - 1 - a if rises else a for n, a, rises in zip(self.shape, at, self.rising, strict=True))
        return i, j

    def __call__(self, at: Index) -> tuple[Literal["shown", "broken"], tuple[float, float]]:
        self.measured += 1
        i, j = self.loss(at)
        return ("shown" if i < self.heights[j] else "broken"), (0.0, float(i + j))


@st.composite
def staircases(draw: st.DrawFn) -> Staircase:
    places, lines = draw(st.integers(2, 9)), draw(st.integers(1, 9))
    heights = draw(st.lists(st.integers(0, places), min_size=lines, max_size=lines))
    rising = draw(st.booleans()), draw(st.booleans()) if lines > 1 else False
    return Staircase(places, sorted(heights, reverse=True), rising)


@given(staircases())
def test_a_boundary_is_that_of_the_whole_grid(grid: Staircase) -> None:
    search = RegionSearch(grid.shape, grid)
    search.run()
    assert search.complete
    assert search.steady
    assert search.rising == grid.rising
    for line in range(grid.shape[1]):
        row = [(i, line) for i in range(grid.shape[0])]
        held = [at for at in row if grid(at)[0] == "shown"]
        worst = max(held, key=grid.loss, default=None)
        others = [at for at in row if at not in held]
        beyond = min(others, key=grid.loss, default=None)
        assert search.held(line) == tuple(None if at is None else at[0] for at in (worst, beyond))


@pytest.mark.parametrize(("lines", "most"), [(1, 6), (5, 17)], ids=["one field", "two fields"])
def test_a_boundary_takes_few_measurements(lines: int, most: int) -> None:
    """On 9 places; with one field, bisection and both ends. Of 81 machines, a fifth are 16."""
    counts = []
    for slope in range(10):
        for start in range(10):
            grid = Staircase(9, [max(0, min(9, start - slope * line)) for line in range(lines)], (True, False))
            RegionSearch(grid.shape, grid).run()
            counts.append(grid.measured)
    assert max(counts) <= most
    assert sum(count > 16 for count in counts) <= 1


@pytest.mark.parametrize("inside", ["shown", "broken"])
def test_numbers_that_are_best_or_worst_in_the_middle_are_found_out(inside: Literal["shown", "broken"]) -> None:
    outside: Literal["shown", "broken"] = "broken" if inside == "shown" else "shown"

    def measure(at: Index) -> tuple[Literal["shown", "broken"], tuple[float, float]]:
        return (inside if 0 < at[0] < 4 else outside), (0.0, float(at[0]))

    search = RegionSearch((5, 1), measure)
    search.run()
    assert not search.steady


def test_when_the_time_is_over_what_was_measured_stays() -> None:
    grid, most = Staircase(9, [5, 4, 0], (False, False)), 3

    def measure(at: Index) -> tuple[Literal["shown", "broken"], tuple[float, float]]:
        if grid.measured >= most:
            raise OutOfTimeError("over")
        return grid(at)

    with pytest.raises(OutOfTimeError):
        RegionSearch(grid.shape, measure).run()
    grid.measured, most = 0, 4
    search = RegionSearch(grid.shape, measure)
    search.run()
    assert (search.complete, len(search.found)) == (False, 4)
    assert [search.held(line)[0] for line in range(3)] == [0, None, None], "as far as it was measured"
