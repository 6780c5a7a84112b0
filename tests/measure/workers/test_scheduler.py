"""Who is given which unit, and what is begun before it is asked for; workers are lists here."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from lhc.measure.evaluation_context import Block
from lhc.measure.work_unit import Job
from lhc.measure.workers.scheduler import Scheduler, WorkUnit
from lhc.samples.metrics import Array

SETTING: Any = "context"


class Slip(Future[list[Array]]):
    """A unit that a worker has."""

    def __init__(self, worker: str, unit: WorkUnit) -> None:
        super().__init__()
        self.worker, self.unit = worker, unit


class Office(Scheduler[str]):
    """Workers that finish what they have in the order in which it was given out."""

    def __init__(self, workers: list[str], fails: Callable[[WorkUnit], bool] = lambda unit: False) -> None:
        super().__init__()
        self.workers, self.fails, self.given = workers, fails, list[Slip]()

    def _workers(self) -> list[str]:
        return self.workers

    def _name(self, context: object) -> str:
        return str(context)

    def _submit(self, worker: str, context: object, unit: WorkUnit) -> Slip:
        unit.read()
        self.given.append(Slip(worker, unit))
        return self.given[-1]

    def _finished(self, futures: list[Future[list[Array]]]) -> list[Future[list[Array]]]:
        slip = next(slip for slip in self.given if slip in futures)
        if self.fails(slip.unit):
            slip.set_exception(ValueError(f"{slip.unit.samples} failed"))
        else:
            slip.set_result([np.array([slip.unit.samples])])
        return [slip]

    def by(self, worker: str) -> list[tuple[str, int, int]]:
        """Layer, chip and samples of the units that a worker was given."""
        return [told(slip.unit) for slip in self.given if slip.worker == worker]


def told(unit: WorkUnit) -> tuple[str, int, int]:
    job = unit.work
    assert isinstance(job, Job)
    assert isinstance(unit.samples, int)
    return "".join(sorted(job.placement)), job.draws[0], unit.samples


def block() -> Block:
    return Block(0, 0, {}, None, "")


def unit(layer: str, chip: int, samples: int, read: Callable[[], Block] = block, keeps: bool = True) -> WorkUnit:
    return WorkUnit(Job(frozenset(layer), (chip,), 0.0), samples, read, keeps)


def test_all_units_are_done_once_whatever_the_number_of_workers() -> None:
    units = [unit(layer, chip, samples) for layer in "ab" for samples in range(3) for chip in range(4)]
    for count in (1, 2, 3, 50):
        office = Office([f"w{n}" for n in range(count)])
        found = dict(office.run(SETTING, units))
        assert [int(found[n][0][0]) for n in range(len(units))] == [one.samples for one in units]
        assert sorted(map(told, (slip.unit for slip in office.given))) == sorted(map(told, units))


def test_a_worker_keeps_its_chips_and_goes_through_the_samples_once() -> None:
    office = Office(["x", "y"])
    list(office.run(SETTING, [unit("a", chip, samples) for samples in range(6) for chip in range(4)]))
    for worker in office.workers:
        mine = office.by(worker)
        assert len({chip for _, chip, _ in mine[:12]}) == 2, "two of the four chips each"
        assert [samples for _, _, samples in mine[:10]] == sorted(samples for _, _, samples in mine[:10])


def test_chips_that_are_not_kept_are_programmed_once() -> None:
    office = Office(["x", "y"])
    units = [unit("a", chip, samples, keeps=False) for samples in range(6) for chip in range(4)]
    list(office.run(SETTING, units))
    for worker in office.workers:
        chips = [chip for _, chip, _ in office.by(worker)]
        assert sum(one != other for one, other in pairwise(chips)) <= 2


def test_placements_go_to_different_workers() -> None:
    office = Office(["x", "y"])
    list(office.run(SETTING, [unit(layer, chip, 0) for layer in "abcd" for chip in range(5)]))
    for layer in "abc":
        assert len({slip.worker for slip in office.given if told(slip.unit)[0] == layer}) == 1


def test_chips_of_another_worker_are_taken_where_many_units_are_left() -> None:
    few, many = Office(["x", "y"]), Office(["x", "y"])
    list(few.run(SETTING, [unit("a", 0, samples) for samples in range(2)]))
    list(many.run(SETTING, [unit("a", 0, samples) for samples in range(20)]))
    assert few.by("y") == []
    assert len(many.by("y")) > 5


def test_what_is_certain_goes_out_with_what_is_asked_for_and_what_may_be_to_the_idle() -> None:
    office = Office(["x", "y", "z"])
    office.expect(SETTING, [unit("b", 0, 0)], [unit("a", chip, 0) for chip in range(7, 10)])
    assert office.given == [], "nobody is given anything before something is asked for"
    list(office.run(SETTING, [unit("a", 0, 0)]))
    assert [told(slip.unit) for slip in office.given[:3]] == [("b", 0, 0), ("a", 0, 0), ("a", 7, 0)]
    before = len(office.given)
    found = dict(office.run(SETTING, [unit("a", 7, 0), unit("b", 0, 0)]))
    assert sorted(found) == [0, 1]
    assert ("a", 7, 0) not in [told(slip.unit) for slip in office.given[before:]], "it was begun before"


def test_what_is_not_expected_any_more_is_dropped_and_shows_nowhere() -> None:
    office = Office(["x", "y", "z"])
    office.expect(SETTING, [], [unit("b", chip, 0) for chip in range(9)])
    list(office.run(SETTING, [unit("a", 0, 0)]))
    begun = [slip for slip in office.given if told(slip.unit)[0] == "b"]
    assert begun
    office.expect(SETTING, [], [])
    assert any(slip.cancelled() for slip in begun)
    before = len(office.given)
    assert list(dict(office.run(SETTING, [unit("a", 1, 0)]))) == [0]
    assert len(office.given) == before + 1


def test_an_error_of_what_nobody_asks_for_is_none() -> None:
    office = Office(["x", "y"], fails=lambda one: told(one)[0] == "b")
    office.expect(SETTING, [], [unit("b", 0, 0)])
    assert len(list(office.run(SETTING, [unit("a", chip, 0) for chip in range(4)]))) == 4
    with pytest.raises(ValueError, match="0 failed"):
        list(office.run(SETTING, [unit("b", 0, 0)]))


def test_a_run_that_ends_early_leaves_nothing_waiting() -> None:
    def late() -> None:
        raise TimeoutError

    office = Office(["x"])
    with pytest.raises(TimeoutError):
        list(office.run(SETTING, [unit("a", 0, 0), unit("a", 1, 0)._replace(check=late), unit("a", 2, 0)]))
    before = len(office.given)
    list(office.run(SETTING, [unit("c", 0, 0)]))
    assert [told(slip.unit) for slip in office.given[before:]] == [("c", 0, 0)]


def test_a_limit_of_time_holds_for_what_was_expected_too() -> None:
    def late() -> None:
        raise TimeoutError

    office = Office(["x", "y"])
    wanted = [unit("a", chip, 0) for chip in range(3)]
    office.expect(SETTING, wanted, [])
    with pytest.raises(TimeoutError):
        list(office.run(SETTING, [one._replace(check=late) for one in wanted]))
    assert office.given == []


def test_nothing_that_was_expected_is_begun_after_an_error() -> None:
    def late() -> None:
        raise TimeoutError

    office = Office(["x", "y"])
    office.expect(SETTING, [unit("b", chip, 0) for chip in range(3)], [])
    with pytest.raises(TimeoutError):
        list(office.run(SETTING, [unit("a", 0, 0)._replace(check=late)]))
    before = len(office.given)
    list(office.run(SETTING, [unit("c", 0, 0)]))
    assert [told(slip.unit) for slip in office.given[before:]] == [("c", 0, 0)]


def test_workers_may_come_and_go() -> None:
    office = Office(["x", "y"])

    def changed() -> Iterator[WorkUnit]:
        yield from (unit("a", chip, 0) for chip in range(8))

    run = office.run(SETTING, changed())
    next(run)
    office.workers = ["y", "z"]
    assert len(list(run)) == 7
    assert office.by("z")
