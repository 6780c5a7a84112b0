"""Noise on outputs: the same distribution and gradients by compiled loops and by torch."""

import pytest
import torch

from lhc.train.analog_products import with_noise

pytestmark = pytest.mark.analog

SHAPES = {"images": ((50, 6, 7, 5), 50 * 6, (50 * 2, 35)), "rows": ((40, 9, 30), 360, (1, 30))}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["compiled", "torch"])
@pytest.mark.parametrize("case", SHAPES)
def test_noise_and_gradients_are_those_of_the_formula(case: str, dtype: torch.dtype) -> None:
    """10,000 values: a deviation is known to 0.7 %; gradients are linear in the noise that was seen."""
    size, count, shape = SHAPES[case]
    torch.manual_seed(0)
    lines, places = torch.rand(count, dtype=dtype) + 0.5, torch.rand(shape, dtype=dtype) + 0.5
    clean = torch.randn(size, dtype=dtype)
    given = [tensor.clone().requires_grad_() for tensor in (clean, lines, places)]
    noisy = with_noise(given[0] * 1, given[1], given[2])
    spread = places.repeat_interleave(count // shape[0], 0) * lines[:, None]
    unit = (noisy.detach() - clean).reshape(spread.shape) / spread
    assert abs(float(unit.mean())) < 0.04
    assert float(unit.std()) == pytest.approx(1, abs=0.03)
    weights = torch.randn_like(noisy)
    (noisy * weights).sum().backward()  # type: ignore[no-untyped-call]
    moved = weights.reshape(spread.shape) * unit
    by_place = (moved * lines[:, None]).reshape(shape[0], -1, shape[1]).sum(1)
    by_line = (moved * spread / lines[:, None]).sum(1)
    for found, expected in zip(given, (weights, by_line, by_place), strict=True):
        torch.testing.assert_close(found.grad, expected, rtol=1e-3, atol=1e-3)


def test_noise_follows_from_the_seed_and_leaves_views_alone() -> None:
    given = torch.zeros(4, 6)
    seen = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        seen.append(with_noise(given.view(4, 6), torch.ones(4), torch.ones(1, 6)))
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert not given.any()
