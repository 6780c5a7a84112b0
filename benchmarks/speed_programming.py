"""Programming and reading phase-change devices of small matrices, against the same formulas in plain torch.

Plain torch maps nothing. It has the matrix on one tile, and then split over as many as lhc, whose tiles have 256 rows.

``OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/speed_programming.py``
"""

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import best_in_turn
from lhc.hardware import Hardware
from lhc.runtime.matrix import AnalogMatrix

SHAPES = ((16, 27), (16, 144), (32, 288), (64, 576), (96, 864))
"""Outputs and inputs, as ResNets have them."""
DAY = 86400.0


def main() -> None:
    """Print times per weight."""
    with torch.no_grad():
        for outputs, inputs in SHAPES:
            weight = np.random.default_rng(0).normal(size=(outputs, inputs)).astype(np.float32)
            matrix, tensor = AnalogMatrix(weight, 1, Hardware.load("lionheart"), "0"), torch.from_numpy(weight)
            tiles = tensor.tensor_split(-(-inputs // 256), dim=1)
            spent = best_in_turn(
                [
                    lambda: _ours(matrix),  # noqa: B023 - called at once
                    lambda: _read(*_programmed(tensor)),  # noqa: B023
                    lambda: [_read(*_programmed(tile)) for tile in tiles],  # noqa: B023
                ],
                30,
            )
            times = [1e9 * one.cpu_s / weight.size for one in spent]
            print(f"{outputs} x {inputs}: {times[0]:.0f} ns a weight; plain torch on one tile {times[1]:.0f}", end="")
            print(f", on {len(tiles)} {times[2]:.0f}")


def _ours(matrix: AnalogMatrix) -> None:
    matrix.program(0, 0)
    matrix.reads(DAY, (0,))


def _pair(weights: Tensor) -> tuple[list[Tensor], Tensor]:
    """Conductances in units of g_max, and the greatest weight."""
    most = weights.abs().max()
    return [(weights / most).clamp(0, 1), (-weights / most).clamp(0, 1)], most


def _read_out(weights: Tensor) -> Tensor:
    """Of drift compensation, with the ADC's noise and steps."""
    return (((weights + 0.04 * torch.randn_like(weights)) * 10).round() / 10).clamp(-10, 10).abs().mean()


def _programmed(weights: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
    held, exponents = [], []
    pair, most = _pair(weights)
    for g in pair:
        sigma = (0.26348 + 1.9650 * g - 1.1731 * g * g) / 25
        held.append((g + sigma * torch.randn_like(g)).clamp_(min=0))
        log = g.clamp(min=1e-7).log()
        mean, spread = (-0.0155 * log + 0.0244).clamp(0.049, 0.1), (-0.0125 * log - 0.0059).clamp(0.008, 0.045)
        exponents.append((mean + spread * torch.randn_like(g)).abs())
    now = (held[0] - held[1]) * most
    return now, exponents, _read_out(now)


def _read(weights: Tensor, exponents: list[Tensor], before: Tensor) -> tuple[Tensor, Tensor]:
    """What a tile holds after a day, and the gain of drift compensation."""
    later = []
    pair, most = _pair(weights)
    for g, nu in zip(pair, exponents, strict=True):
        noise = (0.0088 / (g**0.65).clamp(min=1e-3)).clamp(max=0.2) * 5.1
        drifted = g * ((DAY + 20) / 20) ** -nu
        later.append((drifted + drifted * noise * torch.randn_like(g)).clamp_(min=0))
    now = (later[0] - later[1]) * most
    return now, before / _read_out(now)


if __name__ == "__main__":
    main()
