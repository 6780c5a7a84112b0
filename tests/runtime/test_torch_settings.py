"""What a caller has set in torch: out of the way while lhc computes, and there again afterwards."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from lhc.models import zoo_entry
from lhc.runtime import HybridSession
from lhc.runtime.torch_settings import differentiating, isolated, making_on_cpu, seeded_generator

pytestmark = pytest.mark.analog


def test_settings_of_the_caller_come_back() -> None:
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        torch.set_num_threads(2)
        torch.set_float32_matmul_precision("medium")
        with isolated():
            assert torch.get_num_threads() == 1
            assert torch.get_float32_matmul_precision() == "highest"
            assert torch.is_inference_mode_enabled()
        assert torch.get_num_threads() == 2
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


def test_random_numbers_of_the_caller_go_on_where_they_were() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with isolated(), seeded_generator() as reseed:
        reseed(7)
        torch.rand(7)
    assert torch.equal(torch.rand(3), expected)


def test_gradients_are_there_where_they_are_asked_for() -> None:
    with differentiating():
        x = torch.ones(2, requires_grad=True)
        (gradient,) = torch.autograd.grad((x * x).sum(), x)
    assert torch.equal(gradient, torch.full((2,), 2.0))


def test_settings_come_back_once_the_last_thread_is_done() -> None:
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    inside, leave = threading.Event(), threading.Event()

    def computing() -> None:
        with isolated():
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=computing)
    try:
        with isolated():
            other.start()
            inside.wait(10)
        assert torch.get_float32_matmul_precision() == "highest"
        leave.set()
        other.join()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        leave.set()
        torch.set_float32_matmul_precision(precision)


def _in_threads(count: int, work: Callable[[int], np.ndarray], times: int) -> list[np.ndarray]:
    """Results of so many calls, which begin together in every thread."""
    together = threading.Barrier(count)

    def one(number: int) -> list[np.ndarray]:
        together.wait()
        return [work(number) for _ in range(times)]

    with ThreadPoolExecutor(count) as pool:
        return [found for results in pool.map(one, range(count)) for found in results]


FEEDS = {"x": np.random.default_rng(1).standard_normal((3, 1, 8, 8)).astype(np.float32)}


@pytest.mark.parametrize("engine", ["fast", "aihwkit"])
def test_sessions_that_are_made_in_threads_are_the_chips_of_their_seeds(engine: str) -> None:
    model = zoo_entry("digits-narrow").model()

    def answers(seed: int) -> np.ndarray:
        session = HybridSession(model, "lionheart", "all-analog", seed=seed, engine=engine)  # type: ignore[arg-type]
        return np.asarray(session.run(None, FEEDS)[0])

    expected = [answers(seed).tobytes() for seed in range(4)]
    found = _in_threads(4, answers, 3)
    assert [array.tobytes() for array in found] == [one for one in expected for _ in range(3)]


def test_one_session_answers_every_call_once_in_threads() -> None:
    """Calls take their places in the stream in some order; together they are what one thread is answered."""
    model = zoo_entry("digits-narrow").model()
    alone, shared = (HybridSession(model, "lionheart", "all-analog", seed=1) for _ in range(2))
    expected = sorted(np.asarray(alone.run(None, FEEDS)[0]).tobytes() for _ in range(12))

    found = _in_threads(4, lambda _: np.asarray(shared.run(None, FEEDS)[0]), 3)

    assert sorted(array.tobytes() for array in found) == expected


def test_another_thread_does_not_draw_what_a_seed_stands_for() -> None:
    torch.manual_seed(3)

    def drawn(seed: int) -> np.ndarray:
        with seeded_generator() as reseed:
            reseed(seed)
            return np.concatenate([torch.randn(50).numpy() for _ in range(20)])

    expected = [drawn(seed).tobytes() for seed in range(4)]
    found = _in_threads(4, drawn, 20)
    assert [array.tobytes() for array in found] == [one for one in expected for _ in range(20)]


def test_tensors_are_made_on_the_cpu_whatever_the_caller_computes_on() -> None:
    with torch.device("meta"):
        with making_on_cpu():
            assert torch.zeros(1).device.type == "cpu"
        assert torch.zeros(1).device.type == "meta"
    with making_on_cpu():
        assert torch.zeros(1).device.type == "cpu"
