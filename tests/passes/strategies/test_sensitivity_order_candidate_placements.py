"""Paths by hand: rows, what fits between them, and steps that are worth a test."""

from lhc.passes.strategies.sensitivity_order import left_out, rows_and_fillings, thinned


def sets(*names: str) -> list[frozenset[str]]:
    return [frozenset(name) for name in names]


def test_between_two_rows_lies_what_fits() -> None:
    found = rows_and_fillings(frozenset("z"), sets("a", "b", "c"), [1.0, 5.0, 3.0], lambda placement: True)
    assert [*dict.fromkeys(found)] == sets("z", "az", "acz", "abz", "abcz")


def test_what_has_no_room_is_passed_over() -> None:
    found = rows_and_fillings(frozenset(), sets("a", "b", "c"), [1.0, 2.0, 3.0], lambda placement: "b" not in placement)
    assert [*dict.fromkeys(found)] == sets("", "a", "ac")


def test_steps_that_are_no_better_or_hardly_so_are_left_out() -> None:
    values = {frozenset(""): 100.0, frozenset("a"): 99.0, frozenset("b"): 90.0, frozenset("c"): 95.0}
    values |= {frozenset("d"): 41.0, frozenset("e"): 40.0}
    assert thinned(list(values), lambda placement: values[placement]) == sets("", "b", "d", "e")
    assert thinned([], len) == []
    assert thinned(sets("a"), len) == sets("a")


def test_the_best_of_what_was_too_small_a_step_comes_back() -> None:
    values = {frozenset(""): 100.0, frozenset("a"): 60.0, frozenset("b"): 59.0, frozenset("c"): 58.0}
    values |= {frozenset("d"): 59.5, frozenset("e"): 1.0, frozenset("f"): 0.0}
    placements = list(values)
    path = thinned(placements, lambda placement: values[placement])
    assert path == sets("", "a", "e", "f")
    found = [left_out(placements, path, place, lambda placement: values[placement]) for place in range(4)]
    assert found == [None, frozenset("c"), None, None], "f is on the path behind e, and nothing behind f"
    assert left_out(sets("a"), sets("a"), 0, len) is None
