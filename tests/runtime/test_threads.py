"""What a caller has set in torch: out of the way while lhc computes, and there again afterwards."""

import pytest
import torch

from lhc.runtime.threads import differentiating, isolated

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
    with isolated():
        torch.rand(7)
    assert torch.equal(torch.rand(3), expected)


def test_gradients_are_there_where_they_are_asked_for() -> None:
    with differentiating():
        x = torch.ones(2, requires_grad=True)
        (gradient,) = torch.autograd.grad((x * x).sum(), x)
    assert torch.equal(gradient, torch.full((2,), 2.0))
