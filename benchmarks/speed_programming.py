"""Programming a chip and reading it after a day, against aihwkit: its noise model alone, and its own tile objects.

Both peers have the matrix mapped before; lhc maps it, and hands out what the tiles hold.

``OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/speed_programming.py``
"""

import numpy as np
import numpy.typing as npt
import torch
from aihwkit.simulator.tiles.array import TileModuleArray

from benchmarks.timing import best, best_in_turn
from lhc.hardware import Hardware
from lhc.runtime.tiles.analog_matrix import AnalogMatrix

SHAPES = ((16, 144), (64, 64), (64, 576), (255, 256), (1024, 1024))
"""Outputs and inputs."""
PRESETS = ("lionheart", "hermes", "standard-pcm-torch")
DAY = 86400.0
READS = range(5)
"""One of inference, and those that a calibration is spread over."""


def main() -> None:
    """Print times per weight, and ratios."""
    small = _matrix((64, 64), Hardware.load("lionheart"))
    five = best(lambda: small.reads(0, 0, DAY, READS), 50)
    print(f"lionheart 64 x 64, programmed and read {len(READS)} times: {1000 * five.cpu_s:.1f} ms", flush=True)
    for preset in PRESETS:
        hardware = Hardware.load(preset)
        for shape in SHAPES:
            weight, ours = _weight(shape), _matrix(shape, hardware)
            model = hardware.to_rpu_config().noise_model
            mapped = torch.from_numpy(weight / np.abs(weight).max(axis=1, keepdims=True))
            tiles = TileModuleArray(*shape, hardware.to_rpu_config(), bias=False)
            tiles.set_weights(torch.from_numpy(weight))
            tiles.eval()
            with torch.inference_mode():
                spent = best_in_turn(
                    [
                        lambda: ours.read(0, 0, DAY),  # noqa: B023 - called at once
                        lambda: _noise(model, mapped),  # noqa: B023
                        lambda: _tiles(tiles),  # noqa: B023
                    ],
                    max(3, 2**21 // weight.size // 10),
                )
            lhc, noise, objects = (1e9 * one.cpu_s / weight.size for one in spent)
            print(
                f"{preset} {shape[0]} x {shape[1]}: {lhc:.0f} ns a weight; aihwkit's noise model alone {noise:.0f}"
                f" ({lhc / noise:.2f}), its tiles with drift compensation {objects:.0f} ({lhc / objects:.2f})"
            )


def _weight(shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _matrix(shape: tuple[int, int], hardware: Hardware) -> AnalogMatrix:
    ranges = [1.0] * -(-shape[1] // hardware.tiles.rows)
    return AnalogMatrix(_weight(shape), 1, hardware, "0", ranges)


def _noise(model: object, mapped: torch.Tensor) -> None:
    programmed, drift = model.apply_programming_noise(mapped)  # type: ignore[attr-defined]  # aihwkit is untyped
    model.apply_drift_noise(programmed, drift, DAY)  # type: ignore[attr-defined]


def _tiles(tiles: TileModuleArray) -> None:
    for row in tiles.array:
        for tile in row:
            tile.program_weights()
            tile.drift_weights(DAY)


if __name__ == "__main__":
    main()
