"""Devices as they were measured: tables of mean and spread by target and time, and how errors last.

A device with target x (µS) holds at time t

    g(t) = m(x, t) + s(x, t) z(t),    never below 0,

m and s being mean and standard deviation over devices, interpolated linearly in x and in ln(1 + t / t_0). z is standard
normal at every time and has the measured correlation C(x) from time to time: z = L n, where L Lᵀ = C at the targets of
the table (Cholesky; rows of L are interpolated in x and ln(1 + t / t_0) and scaled to length 1), and n are independent
numbers that a device is given when it is programmed and keeps. A read adds noise of its own.
"""

from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from lhc.hardware.devices.device_base import Positive, Scale
from lhc.hardware.devices.unit_cell import PairedDevices
from lhc.support.number_formatting import time_text

Floats = npt.NDArray[np.float64]
MOST_ENTRIES = 1024
"""Of a table's axis."""
Ascending = Annotated[tuple[Scale, ...], Field(min_length=1, max_length=MOST_ENTRIES)]
Correlation = tuple[tuple[tuple[float, ...], ...], ...]
_LEAST_EIGENVALUE = -1e-6


class Measured(PairedDevices):
    """Tables of measurements, such as ``lhc hardware NAME --measured FILE.csv`` makes: one pair of devices a weight."""

    model: Literal["measured"] = "measured"
    g_max_us: Positive
    """Greatest conductance that weights are mapped to, in µS."""
    targets_us: Ascending
    """Conductances that were aimed at, ascending, from 0 to g_max or beyond, in µS."""
    t_0_s: Positive
    """Time between programming and the first read, in s; times of inference count from then."""
    times_s: Ascending
    """Times of the measurements, ascending, in s after the first read, which is the first of them."""
    mean_us: tuple[tuple[float, ...], ...]
    """Mean conductance, in µS: for each of the times, by target."""
    std_us: tuple[tuple[Scale, ...], ...]
    """Standard deviation from device to device, in µS, likewise."""
    correlation: Correlation
    """Of a device's deviations from the mean, from time to time: for each of the targets, by time and time."""
    read_us: tuple[Scale, ...]
    """Standard deviation from read to read, in µS, by target."""
    programming_noise_scale: Scale = 1.0
    """Factor on what devices are off their targets at the first read; 0 switches it off."""
    drift_scale: Scale = 1.0
    """Factor on what changes after the first read; 0 switches drift off."""
    read_noise_scale: Scale = 1.0
    """Factor on the deviation from read to read; 0 switches it off."""

    module = ""
    kind = "MeasuredNoise"
    attributes: ClassVar[dict[str, str]] = {}

    @model_validator(mode="after")
    def _tables_fit(self) -> "Measured":
        times, targets = len(self.times_s), len(self.targets_us)
        for name, axis in (("targets_us", self.targets_us), ("times_s", self.times_s)):
            if list(axis) != sorted(set(axis)) or axis[0] != 0:
                raise ValueError(f"{name} must ascend from 0")
        if self.targets_us[-1] < self.g_max_us:
            raise ValueError("targets_us must reach from 0 to g_max_us")
        shapes = {"mean_us": (times, targets), "std_us": (times, targets), "correlation": (targets, times, times)}
        for name, shape in shapes.items():
            if _shape(getattr(self, name)) != shape:
                raise ValueError(f"{name} must have {' x '.join(map(str, shape))} numbers")
        if len(self.read_us) != targets:
            raise ValueError(f"read_us must have {targets} numbers")
        matrices = np.array(self.correlation)
        if not np.allclose(matrices, matrices.transpose(0, 2, 1)) or not np.allclose(np.einsum("kii->ki", matrices), 1):
            raise ValueError("correlation must be symmetric, with 1 on its diagonals")
        if np.linalg.eigvalsh(matrices).min() < _LEAST_EIGENVALUE:
            raise ValueError("correlation is no correlation matrix: it has a negative eigenvalue")
        return self

    def time_problem(self, t_s: float) -> str | None:
        # A week after programming is t_0 less than a week after the first read; who measured at a week means that.
        last = self.times_s[-1] + self.t_0_s
        return None if t_s <= last else f"the devices were measured until {time_text(last)} after programming"

    def lasting(self, t_s: float) -> float:
        g_max = np.array([self.g_max_us])
        first, later = (self._mean_and_std(g_max, t)[0][0] for t in (0.0, min(t_s, self.times_s[-1])))
        return float(1 + self.drift_scale * (later / first - 1)) if first > 0 and later > 0 else 1.0

    def conductances(self, targets: Floats, independent: Floats, t_s: float) -> Floats:
        """Conductances ``t_s`` seconds after the first read, in µS, without read noise.

        Args:
            targets: in µS.
            independent: standard normal numbers of each device, as many as times in the tables, ``(times, *targets)``.
            t_s: within the times of the tables; what is later counts as the last of them.
        """
        first, later = (self._measured(targets, independent, t) for t in (0.0, t_s))
        programmed = targets + self.programming_noise_scale * (first - targets)
        return np.asarray(np.maximum(programmed + self.drift_scale * (later - first), 0))

    def read_noise(self, targets: Floats) -> Floats:
        """Standard deviation of a read, in µS."""
        return np.asarray(self.read_noise_scale * np.interp(targets, self.targets_us, self.read_us))

    def _measured(self, targets: Floats, independent: Floats, t_s: float) -> Floats:
        mean, std = self._mean_and_std(targets, t_s)
        rows = [np.interp(targets, self.targets_us, row) for row in self._at(_factors(self.correlation), t_s)]
        z = sum(row * n for row, n in zip(rows, independent, strict=True))
        return np.asarray(mean + std * z / np.sqrt(sum(row**2 for row in rows)))

    def _mean_and_std(self, targets: Floats, t_s: float) -> tuple[Floats, Floats]:
        mean, std = (
            np.interp(targets, self.targets_us, self._at(np.array(t), t_s)) for t in (self.mean_us, self.std_us)
        )
        return mean, std

    def _at(self, table: Floats, t_s: float) -> Floats:
        """A table at a time, its first axis being times."""
        logarithms = np.log1p(np.array(self.times_s) / self.t_0_s)
        place = float(np.interp(np.log1p(t_s / self.t_0_s), logarithms, np.arange(len(logarithms))))
        k, part = int(place), place - int(place)
        return np.asarray(table[k] if part == 0 else (1 - part) * table[k] + part * table[k + 1])


@lru_cache(maxsize=64)
def _factors(correlation: Correlation) -> Floats:
    """L of every target, ``(times, times, targets)``."""
    matrices = np.array(correlation)
    lower = np.linalg.cholesky(matrices - 2 * _LEAST_EIGENVALUE * np.eye(matrices.shape[1]))
    return np.asarray(lower.transpose(1, 2, 0), np.float64)


def _shape(table: object) -> tuple[int, ...]:
    """Shape of nested tuples, with a 0 where their lengths differ."""
    if not isinstance(table, tuple):
        return ()
    inner = {_shape(one) for one in table}
    return (len(table), *(inner.pop() if len(inner) == 1 else (0,)))
