"""A task reads no more of its samples than it is asked for, and they are the same wherever they lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lhc.samples.task
from lhc.errors import DataError
from lhc.samples.metrics import METRICS, Array
from lhc.samples.task import LazyArray, Task


class Elsewhere(LazyArray):
    """An array that is read row by row, and remembers which rows."""

    def __init__(self, values: Array) -> None:
        super().__init__(values.shape, values.dtype)
        self.values = values
        self.read: list[tuple[int, int]] = []

    def _rows(self, start: int, stop: int) -> Array:
        self.read.append((start, stop))
        return self.values[start:stop]


def values(samples: int, width: int = 3) -> Array:
    return np.random.default_rng(samples).normal(size=(samples, width)).astype(np.float32)


def lazy(samples: int = 100, finite: bool = True) -> tuple[Task, Elsewhere]:
    array = Elsewhere(values(samples))
    return Task({"x": array}, np.arange(samples), METRICS["accuracy"], finite=finite), array


def in_memory(samples: int = 100) -> Task:
    return Task({"x": values(samples)}, np.arange(samples), METRICS["accuracy"])


def test_parts_of_a_task_are_made_without_reading() -> None:
    task, array = lazy()
    part = task.take(np.array([90, 3, 4, 5])).head(3).with_metric(METRICS["kl"])
    assert len(part) == 3
    assert not array.read
    np.testing.assert_array_equal(part.inputs["x"], array.values[[90, 3, 4]])
    assert sorted(array.read) == [(3, 5), (90, 91)], "neighbours are read together"


def test_a_block_reads_its_own_samples_only() -> None:
    task, array = lazy(10)
    for where, feeds in task.blocks(4):
        assert array.read == [(where.start, where.stop)]
        assert isinstance(feeds["x"], np.ndarray)
        np.testing.assert_array_equal(feeds["x"], array.values[where])
        array.read.clear()


def test_all_samples_are_looked_through_in_bounded_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lhc.samples.task, "PIECE_BYTES", 7 * 3 * 4)
    task, array = lazy(20, finite=False)
    pieces = [(0, 7), (7, 14), (14, 20)]
    assert array.read == pieces, "once, to see whether they are finite"
    assert task.digest == in_memory(20).digest
    assert array.read == 2 * pieces


@pytest.mark.parametrize("row", [0, 6, 7, 19])
def test_a_value_that_is_not_finite_is_found_in_every_piece(row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lhc.samples.task, "PIECE_BYTES", 7 * 3 * 4)
    broken = values(20)
    broken[row, 1] = np.inf
    with pytest.raises(DataError, match="'x' holds NaN or infinite"):
        Task({"x": Elsewhere(broken)}, None, METRICS["kl"])


def test_samples_larger_than_a_piece_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lhc.samples.task, "PIECE_BYTES", 1)
    task, array = lazy(3)
    assert task.digest == in_memory(3).digest
    assert array.read == [(0, 1), (1, 2), (2, 3)]


indices = st.lists(st.integers(0, 29), min_size=1, max_size=12).map(np.array)


@given(indices, st.data())
def test_a_part_of_a_part_is_what_numpy_takes(first: Array, data: st.DataObject) -> None:
    second = data.draw(st.lists(st.integers(0, len(first) - 1), min_size=1, max_size=8).map(np.array))
    start, stop = sorted(data.draw(st.tuples(st.integers(0, 8), st.integers(0, 8))))
    step = data.draw(st.integers(1, 3))
    for task in (lazy(30)[0], in_memory(30)):
        part = task.take(first).take(second)
        expected = values(30)[first][second]
        np.testing.assert_array_equal(part.inputs["x"], expected)
        np.testing.assert_array_equal(part.inputs["x"][start:stop:step], expected[start:stop:step])
        assert part.digest == Task({"x": expected}, first[second], METRICS["kl"]).digest


@given(st.integers(0, 30), st.integers(0, 40))
def test_digest_of_a_block_is_that_of_a_task_of_these_samples(start: int, length: int) -> None:
    task = lazy(30)[0]
    block = np.arange(30)[start : start + length]
    if len(block):
        assert task.block_digest(start, start + length) == in_memory(30).take(block).digest
    assert task.block_digest(0, 30) == task.digest


def test_digest_of_a_block_is_worked_out_once_and_kept_with_another_metric() -> None:
    task, array = lazy()
    first = task.block_digest(10, 20)
    again = task.with_metric(METRICS["kl"]).block_digest(10, 20)
    assert again == first == task.block_digest(10, 20)
    assert array.read == [(10, 20)]


def test_rows_that_are_not_those_of_the_digest_are_refused() -> None:
    task, array = lazy(30)
    digest = task.block_digest(10, 20)
    array.values[25] += 1
    task.read(10, 20)
    array.values[15] += 1
    with pytest.raises(DataError, match=r"samples 10 to 19 have changed during the run, in 'x'; nothing is kept"):
        task.read(10, 20)
    with pytest.raises(DataError, match="samples 10 to 19 have changed"):
        list(task.with_metric(METRICS["kl"]).blocks(10))
    assert task.block_digest(10, 20) == digest


def test_the_digest_of_rows_that_were_read_is_known() -> None:
    task, array = lazy(30)
    inputs, targets = task.read(10, 20)
    np.testing.assert_array_equal(inputs["x"], array.values[10:20])
    np.testing.assert_array_equal(targets, np.arange(10, 20))
    assert task.block_digest(10, 20) == in_memory(30).take(np.arange(10, 20)).digest
    assert array.read == [(10, 20)]


def test_digest_of_a_block_tells_blocks_apart_by_inputs_and_targets() -> None:
    task = in_memory(30)
    relabelled = Task(task.inputs, np.arange(30)[::-1], METRICS["accuracy"])
    blocks = [t.block_digest(start, start + 10) for t in (task, relabelled) for start in (0, 10, 20)]
    assert len(set(blocks)) == 6
    repeated = task.take(np.tile(np.arange(10), 2))
    assert repeated.block_digest(0, 10) == repeated.block_digest(10, 20) == blocks[0]


def test_an_input_without_axes_goes_whole_into_every_block_and_every_part() -> None:
    rate = np.array(16000)
    task = Task({"rate": rate, "x": values(10)}, None, METRICS["kl"])
    assert len(task) == 10
    for part in (task, task.head(7), task.take(np.array([5, 2, 1]))):
        assert {feeds["rate"].item() for _, feeds in part.blocks(2)} == {16000}
        assert {feeds["rate"].shape for _, feeds in part.blocks(2)} == {()}
    other = Task({"rate": np.array(8000), "x": values(10)}, None, METRICS["kl"])
    assert other.digest != task.digest
    assert other.block_digest(0, 5) != task.block_digest(0, 5)


def test_samples_in_memory_are_cut_without_copying_them() -> None:
    x = values(20)
    task = Task({"x": x}, None, METRICS["kl"])
    assert np.shares_memory(np.asarray(task.head(5).inputs["x"]), x)
    assert all(np.shares_memory(feeds["x"], x) for _, feeds in task.blocks(8))


def test_digest_of_strings_is_that_of_their_text() -> None:
    def digest(*texts: str) -> str:
        return Task({"x": np.array(texts, object)}, None, METRICS["kl"]).digest

    assert digest("ab", "c") == digest("".join(["a", "b"]), "c")
    assert digest("ab", "c") != digest("a", "bc")
