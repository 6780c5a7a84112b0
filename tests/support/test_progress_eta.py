"""The time left of a step is right within a factor of 1.5 after a tenth of it, however it reports."""

from collections.abc import Iterator

import pytest

from lhc.support.progress_eta import TimeLeft, share_done

Report = tuple[float, str, int, int]


def training() -> Iterator[Report]:
    """200 steps of half a second, a validation of two seconds after every 50."""
    now = 10.0
    for step in range(1, 201):
        now += 0.5
        yield now, f"training, validation drop {step // 50}", step, 200
        if step % 50 == 0:
            yield now, "validating", 0, 1
            now += 2.0
            yield now, "validating", 1, 1


def sensitivities() -> Iterator[Report]:
    """Fourteen layers; chips of each are programmed before the first of its four units is done."""
    now = 5.0
    for layer in range(1, 15):
        yield now, f"sensitivity {layer}/14 conv{layer}", 0, 4
        now += 0.3
        for unit in range(1, 5):
            now += 0.4
            yield now, f"sensitivity {layer}/14 conv{layer}", unit, 4


def looks() -> Iterator[Report]:
    """A test of a hundred units, after one of another placement; chips are programmed for 20 s."""
    for began, units in ((0.0, 4), (30.0, 100)):
        yield began, "testing 15 analog layers", 0, units
        for unit in range(units):
            yield began + 20 + unit * 0.5, "testing 15 analog layers", unit + 1, units


@pytest.mark.parametrize("run", [training, sensitivities, looks], ids=lambda run: run.__name__)
def test_after_a_tenth_the_time_left_is_right(run: object) -> None:
    reports = list(run())  # type: ignore[operator]
    name = reports[0][1].split()[0].rstrip(",")
    end = max(at for at, what, done, total in reports if what.startswith(name) and done)
    now = [0.0]
    time_left = TimeLeft(lambda: now[0])
    compared = 0
    for at, what, done, total in reports:
        now[0] = at
        left = time_left(what, done, total)
        if what.startswith(name) and 0.1 <= share_done(what, done, total) < 0.95 and at > 30 * (name == "testing"):
            assert left is not None
            assert (end - at) / 1.5 <= left <= (end - at) * 1.5
            compared += 1
    assert compared > 20


def test_work_that_was_finished_before_is_no_sign_of_speed() -> None:
    now = [0.0]
    time_left = TimeLeft(lambda: now[0])
    assert time_left("training, validation drop 0", 120, 200) is None, "states were found there"
    now[0] = 1.0
    assert time_left("training, validation drop 0", 121, 200) == pytest.approx(79)


def test_nothing_is_left_at_the_end_of_a_step() -> None:
    now = [0.0]
    time_left = TimeLeft(lambda: now[0])
    time_left("verifying", 0, 3)
    left = []
    for done in (1, 2, 3):
        now[0] = float(done)
        left.append(time_left("verifying", done, 3))
    assert left == [None, pytest.approx(1.0), None]
