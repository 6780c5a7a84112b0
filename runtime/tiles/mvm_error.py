"""MVM error: distance of a matrix's products on tiles from the exact ones."""

import numpy as np
import numpy.typing as npt
import torch

from lhc.hardware import Hardware
from lhc.runtime.calibration.converter_ranges import RangeRecorder
from lhc.runtime.engines.protocol import Position
from lhc.runtime.engines.registry import matrix_on_chips
from lhc.runtime.tiles.analog_matrix import AnalogMatrix
from lhc.runtime.torch_settings import isolated

Floats = npt.NDArray[np.float32]


def mvm_error(matrix: Floats, x: Floats, hardware: Hardware, devices: str, seed: int, t_s: float) -> float:
    """Squared error of products on one chip, each as a share of its square, mean over the vectors.

    Nothing is calibrated but static input ranges, on these vectors.

    Args:
        matrix: ``(outputs, inputs)``.
        x: vectors, ``(vectors, inputs)``; those whose product is zero count nothing, and all of them are no error.
        devices: names the devices, for their seeds.
        t_s: seconds after the first read.
    """
    with isolated():
        ranges = None
        if hardware.needs_calibration:
            recorder = RangeRecorder(matrix.shape[1], len(matrix), hardware.tiles.rows)
            recorder.drive(torch.from_numpy(np.ascontiguousarray(x.T))[None], 0)
            ranges = tuple(found or 1.0 for found in recorder.ranges(hardware.dac.range_quantile))
        tiles = AnalogMatrix(np.ascontiguousarray(matrix), 1, hardware, devices, ranges)
        chip = matrix_on_chips("auto", [tiles.read(seed, 0, t_s)], [0], seed, hardware, convolves=False)
        found = chip.multiply(torch.from_numpy(np.ascontiguousarray(x)), Position(0, len(x)), 0)[0].numpy()
    exact = x.astype(np.float64) @ matrix.T
    squares = np.square(exact).sum(axis=1)
    if not (squares > 0).any():
        return 0.0
    return float((np.square(found - exact).sum(axis=1)[squares > 0] / squares[squares > 0]).mean())
