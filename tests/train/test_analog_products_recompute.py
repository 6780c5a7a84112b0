"""A chip that is made again for the gradient, instead of being held for it."""

from collections.abc import Callable

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from lhc.hardware import Hardware
from lhc.train.analog_products import recomputed
from lhc.train.chip_noise import KeyedMatrix
from tests.train.conftest import Build
from tests.train.product_cases import CASES, network

pytestmark = pytest.mark.analog


@pytest.mark.parametrize("case", CASES)
def test_a_chip_is_made_again_for_the_gradient_where_weights_are_frozen(
    build: Build, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its gradient is that of the chip that is held, and of its weights nothing is kept for it."""
    noisy, feeds = network(build, case, Hardware.load("lionheart"), trains=False)
    (product,) = noisy.analog.values()
    weight = noisy.module._constants["w"]
    noisy.draw(1.0)
    chip = product.drawn
    assert isinstance(chip, KeyedMatrix)
    memory: list[StorageWeakRef] = []

    def watched(tensor: torch.Tensor, make: Callable[[], torch.Tensor]) -> object:
        memory.append(StorageWeakRef(tensor.untyped_storage()))  # type: ignore[no-untyped-call]
        return recomputed(tensor, make)

    monkeypatch.setattr("lhc.train.analog_products.recomputed", watched)
    gradients = []
    for drawn in (chip, chip.made(product.form.matrix(weight))):
        product.drawn = drawn
        x = torch.from_numpy(feeds["x"]).requires_grad_()
        torch.manual_seed(4)
        output = product(x, weight, None)
        assert len(memory) == 1
        assert memory[0].expired()  # type: ignore[no-untyped-call]
        gradients.append(torch.autograd.grad(output.square().sum(), x)[0])
    assert torch.equal(*gradients)
    assert bool(gradients[0].any())
