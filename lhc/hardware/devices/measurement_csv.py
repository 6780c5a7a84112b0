"""Devices from a table of measurements: CSV in, `Measured` out.

Columns ``target_UNIT``, ``time_UNIT``, ``conductance_UNIT``, ``device`` and, where there are several, ``chip``; units
of conductance are S, mS, uS, nS, those of time ms, s, min, h, d. Times count from the end of programming; the earliest
is the first read. A device is told by chip, device and target, and must be measured at all times, the same to the last
digit for all; rows that repeat a device and a time are reads of it, and tell the noise of one. More than `MOST_TARGETS`
different targets are put into as many classes of equal width, in which the conductance is taken as linear in the
target. Chips are pooled; what share of the variance lies between them is told (intraclass correlation, one-way analysis
of variance within targets and times).

Mean m and deviation s are those over devices, at every target and time; the noise of reads, pooled over times, is taken
out of s and of the correlation of a device's deviations from time to time. Where devices of a target hold 0 at least, m
and s are those of the normal that has their mean and deviation once it is cut off at 0, as `Measured` cuts it:
conductances are never negative, and what lies below 0 is held as 0 (a censored normal distribution).
"""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy

from lhc.errors import DataError
from lhc.hardware.aihwkit_config.fusion_csv_format import read_fusion
from lhc.hardware.description.hardware import Hardware
from lhc.hardware.devices.device_base import DeviceModel
from lhc.hardware.devices.measured import MOST_ENTRIES, Floats, Measured
from lhc.hardware.devices.pcm_and_reram import StateIndependent
from lhc.hardware.devices.unit_cell import PairedDevices
from lhc.support.number_bounds import GREATEST, SMALLEST
from lhc.support.number_formatting import share_text

_FARTHEST = (-3.0, 6.0)
"""Means in units of the deviation: below, one in a thousand is not 0; above, nothing is cut off."""
_LILLIEFORS = 1.035


def before_cut(mean: float, std: float) -> tuple[float, float]:
    """Mean m and standard deviation s of a normal X for which max(X, 0) has the given ones.

    With a = m / s, max(X, 0) has the mean s (a Φ(a) + φ(a)) and the mean square s² ((1 + a²) Φ(a) + a φ(a)) (moments of
    a censored normal: Tobin, Econometrica 26, 1958). Their ratio tells a. Where it lies below that of a = -3, m = -3 s
    and the mean alone is met.
    """
    if mean <= 0 or std <= 0 or mean >= _FARTHEST[1] * std:
        return mean, std
    wanted = 1 + (std / mean) ** 2

    def surplus(a: float) -> float:
        first, second = _moments(a)
        return second / first**2 - wanted

    a = float(scipy.optimize.brentq(surplus, *_FARTHEST)) if surplus(_FARTHEST[0]) > 0 else _FARTHEST[0]
    s = mean / _moments(a)[0]
    return a * s, s


def _misfit(values: npt.NDArray[np.float64]) -> tuple[float, bool]:
    """Kolmogorov-Smirnov distance of values, ``(n,)``, from the normal that fits, and whether it is beyond chance.

    The normal is one that is cut off at 0 where no value lies below. The bound is Lilliefors's for a fitted mean and
    deviation at 1 % (JASA 62, 1967, as approximated by Stephens).
    """
    ordered = np.sort(values)
    mean, std = float(values.mean()), float(values.std())
    if ordered[0] >= 0:
        mean, std = before_cut(mean, std)
    expected = scipy.special.ndtr((ordered - mean) / std)
    ranks = np.arange(len(ordered) + 1) / len(ordered)
    beyond = np.maximum(ranks[1:] - expected, expected - ranks[:-1])
    distance, root = float(beyond[ordered != 0].max(initial=0.0)), math.sqrt(len(ordered))
    return distance, distance * (root - 0.01 + 0.85 / root) > _LILLIEFORS


def _moments(a: float) -> tuple[float, float]:
    """Mean and mean square of max(X, 0) for a deviation of 1 and a mean of a."""
    density, below = math.exp(-a * a / 2) / math.sqrt(2 * math.pi), float(scipy.special.ndtr(a))
    return a * below + density, (1 + a * a) * below + a * density


Integers = npt.NDArray[np.int64]


MOST_TARGETS = 32
LEAST_DEVICES = 10
"""Of a target: fewer say nothing of a spread."""
MOST_OFF = 10.0
"""Times that the mean conductance at the greatest target may be more or less than it; beyond, units do not fit."""
_UNITS = {
    "conductance": {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3},
    "time": {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0},
}
"""What a unit is in µS, and in s."""
_TOLD_MOVE = 5e-4
_TOLD_CUT = 0.01
"""Of the deviation, that a cut changes mean or deviation by."""
_CORRELATION_DIGITS = 9
"""Rounding to six makes an eigenvalue of 0 more negative than a description of devices may have."""
_SHOWN_UNITS = {"conductance": ("S", "mS", "uS", "nS")}
_UNIT_CELL = ("g_min_us", "pair", "pairs_per_weight")
_SCALES = ("programming_noise_scale", "drift_scale", "read_noise_scale")
"""Fields that measured devices have as well."""
_READ_NOISE = "currents.read_noise"
_KINDS = {"target": "conductance", "conductance": "conductance", "time": "time"}


@dataclass(frozen=True)
class FittedDevices:
    """Fitted device tables, and how well normal distributions describe the measurements.

    Attributes:
        measured: how many devices.
        reads: of each device at each time, on average.
        distributions: how many were compared: one of every target and time.
        unlike: how many of them are not normal; 1 in 100 by chance.
        distance: the greatest Kolmogorov-Smirnov distance from the fitted normal one.
        cut: how many of the normal ones are cut off at 0, by which their mean or deviation is changed.
        between_chips: share of the variance that chips differ by; None of one chip.
        moved: greatest change of a correlation, all of which are made those of something (no negative eigenvalue).
    """

    devices: Measured
    measured: int
    reads: float
    distributions: int
    unlike: int
    distance: float
    between_chips: float | None
    moved: float = 0.0
    cut: int = 0

    def __str__(self) -> str:
        """In a sentence."""
        table = self.devices
        noise = "told apart from the spread" if any(table.read_us) else "part of the spread: no repeats"
        found = (
            f"{self.measured} devices at {len(table.targets_us)} targets and {len(table.times_s)} times, each read"
            f" {self.reads:.3g} times at a time; {self.unlike} of {self.distributions} distributions are not normal"
            " (Lilliefors, 1 %), the farthest by"
            f" {self.distance:.3f}; read noise is {noise}"
        )
        if self.cut:
            found += f"; {self.cut} are cut off at 0, and have the mean and deviation that were measured once they are"
        if self.moved >= _TOLD_MOVE:
            found += (
                f"; correlations from time to time were moved, by at most {self.moved:.3f}, to some that errors can"
                " have (negative eigenvalues taken as 0)"
            )
        if self.reads > 1 and self.between_chips is None:
            found += "; of one chip: rows of the same device name are taken as reads of one device"
        if self.between_chips is None:
            return found
        return f"{found}; {share_text(self.between_chips)} of the variance is between chips, and emulated as of devices"


def with_measured_devices(base: Hardware, path: Path, targets: Path | None = None) -> tuple[Hardware, FittedDevices]:
    """A machine with the devices of a table of measurements, in the unit cells that it has.

    Args:
        targets: both are aihwkit's CSV for the Fusion chip, this one before programming; see `fit_devices`.

    Raises:
        DataError: the table cannot be read, or says too little.
        ConfigError: the rest of the machine is not for such devices.
    """
    found = fit_devices(path, targets)
    last = found.devices.times_s[-1]  # after the first read, which may be the only one
    changed = {
        "name": f"{base.name}-{path.stem}",
        "description": f"{base.name} with devices as measured",
        "source": base.source_beside(f"devices: {path.name}"),
        "devices": found.devices.model_dump() | _kept(base.devices),
        "t_inference_s": min(base.t_inference_s, last + found.devices.t_0_s if last else 0.0),
    }
    if any(found.devices.read_us):
        changed["left_out"] = [effect.model_dump() for effect in base.left_out if not effect.read_noise]
        if base.currents.constant:  # that of devices, which the table has
            changed["currents"] = base.currents.model_dump() | {"read_noise": 0.0}
    return base.with_fields(changed), found


def devices_text(base: Hardware, machine: Hardware) -> str:
    """Sentence on what became of a machine's devices and read noise; empty where it had none.

    Constant read noise of `Currents` is that of devices: where a table has repeats, it holds it, and both would count
    it twice.
    """
    before = {} if base.devices is None else base.devices.model_dump(exclude={"model"})
    after = {} if base.devices is None or machine.devices is None else machine.devices.model_dump()
    if base.currents.read_noise > 0:
        before |= {_READ_NOISE: base.currents.read_noise}
        after |= {_READ_NOISE: machine.currents.read_noise}
    kept = [f"{name} {value}" for name, value in before.items() if name in after and after[name] == value]
    gone = [name for name in before if name not in after or after[name] != before[name]]
    told = [f"kept: {', '.join(kept)}"] if kept else []
    if gone:
        told.append(f"replaced by the tables: {', '.join(gone)}")
    if base.devices is not None and not base.devices.pairs:
        told.append(f"{base.devices.model} had one device a weight; now it is a pair, {after.get('pair')}")
    return f"devices of {base.name}: {'; '.join(told)}" if told else ""


def _kept(devices: DeviceModel | None) -> dict[str, object]:
    """Fields that measured devices have in common with these: the unit cell, and factors on effects."""
    cell = _UNIT_CELL if isinstance(devices, PairedDevices) and devices.pairs else ()
    # A deviation in µS there, and no factor.
    scales = _SCALES[:2] if isinstance(devices, StateIndependent) else _SCALES
    return {name: getattr(devices, name) for name in (*cell, *scales) if hasattr(devices, name)}


def fit_devices(path: Path, targets: Path | None = None) -> FittedDevices:
    """Devices from a table of measurements; arguments and errors: see `with_measured_devices`.

    A Fusion CSV has one read and no time: it counts as one second after programming, and devices are known then alone.
    """
    rows = _rows(path) if targets is None else _fusion_rows(path, targets)
    times = np.unique(rows.times)
    if times[0] < SMALLEST:
        least = f"must be above 0 ({SMALLEST:g} s at least)"
        raise DataError(f"{path}: times count from the end of programming and {least}, got {times[0]:g} s")
    devices, number = np.unique(rows.devices, axis=0, return_inverse=True)
    place = np.searchsorted(times, rows.times)
    counts, sums, squares = (np.zeros((len(devices), len(times))) for _ in range(3))
    for table, values in ((counts, 1.0), (sums, rows.values), (squares, rows.values**2)):
        np.add.at(table, (number.ravel(), place), values)
    if (counts == 0).any():
        device, time = np.argwhere(counts == 0)[0]
        target, name = devices[device]
        raise DataError(
            f"{path}: device {rows.names[int(name)][1]!r} with target {target:g} µS has no value at {times[time]}"
            " s; leave it out, or measure every device at all times, written alike for all of them"
        )
    means = sums / counts
    within = np.maximum(squares - counts * means**2, 0)
    centres, classes = _classes(devices[:, 0])
    few = [centres[k] for k in range(len(centres)) if np.sum(classes == k) < LEAST_DEVICES]
    if few or centres[0] != 0:
        what = f"fewer than {LEAST_DEVICES} devices have target {few[0]:g} µS" if few else "no device has target 0"
        raise DataError(f"{path}: {what}; a spread needs some, and zero weights are cells with target 0")
    if len(centres) < 2:
        raise DataError(f"{path}: no device has a target above 0, so nothing tells what weights are held by")
    if len(times) > MOST_ENTRIES:
        raise DataError(f"{path}: {len(times):,} different times; keep at most {MOST_ENTRIES:,}, e.g. a few a decade")
    _check_apart(centres, centres, "targets", "µS", path)
    _check_apart(times, times - times[0], "times", "s", path)
    chips = np.unique([rows.names[int(name)][0] for name in devices[:, 1]], return_inverse=True)[1]
    return _fitted(centres, classes, devices[:, 0], chips, times, means, within, counts, path)


@dataclass(frozen=True, eq=False)
class _Rows:
    """A table: target (µS) and number of the name of every row's device, its time (s), its value (µS).

    Names are those of the chip and of the device.
    """

    devices: Floats
    times: Floats
    values: Floats
    names: list[tuple[str, str]]


def _rows(path: Path) -> _Rows:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            columns = _columns([cell.strip() for cell in next(lines, [])], path)
            found = list(_values(lines, columns, path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV: {error}") from error
    if not found:
        raise DataError(f"{path}: no measurements")
    numbers: dict[tuple[str, str], int] = {}
    order = [numbers.setdefault(name, len(numbers)) for _, _, _, name in found]
    targets, times, values = np.array([row[:3] for row in found]).T
    return _Rows(np.stack([targets, order], 1), times, values, list(numbers))


def _fusion_rows(path: Path, targets: Path) -> _Rows:
    held, aimed = read_fusion(path), read_fusion(targets)
    sizes = [[(one.name, one.height, one.width) for one in layers] for layers in (held, aimed)]
    if sizes[0] != sizes[1] or not held:
        raise DataError(f"{path}: its layers are not those of {targets}; both come from one export")
    values, wanted = (np.concatenate([one.conductances_us for one in layers]) for layers in (held, aimed))
    if wanted.min() < 0:
        raise DataError(f"{targets}: targets are 0 or more, and one is {wanted.min():g} µS")
    names = [("", f"{one.name} {place}") for one in held for place in range(len(one.conductances_us))]
    number = np.arange(len(values), dtype=np.float64)
    return _Rows(np.stack([np.round(wanted, 9), number], 1), np.ones(len(values)), values, names)


def _columns(header: list[str], path: Path) -> dict[str, tuple[int, float]]:
    """Where each column is, and what its unit is in µS or s."""
    columns = {}
    for index, title in enumerate(header):
        name, _, unit = title.lower().replace("µ", "u").replace("μ", "u").partition("_")
        units = _UNITS[_KINDS[name]] if name in _KINDS else {"": 1.0}
        if name not in (*_KINDS, "device", "chip"):
            continue
        if unit not in units:
            if name not in _KINDS:
                raise DataError(f"{path}: column {title!r} has no unit; name it {name}")
            known = ", ".join(_SHOWN_UNITS.get(_KINDS[name], units))
            raise DataError(f"{path}: column {title!r} has no unit that is known; name it {name}_UNIT, of {known}")
        columns[name] = (index, units[unit])
    missing = [name for name in (*_KINDS, "device") if name not in columns]
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(missing)}; a table of measurements has target_us, time_s, conductance_us,"
            " device, and may have chip; other units: target_nS, time_h"
        )
    return columns


def _values(
    lines: Iterator[list[str]], columns: dict[str, tuple[int, float]], path: Path
) -> Iterator[tuple[float, float, float, tuple[str, str]]]:
    for number, line in enumerate(lines, start=2):
        if not line:
            continue
        try:
            target, time, value = (
                float(line[columns[n][0]]) * columns[n][1] for n in ("target", "time", "conductance")
            )
            name = (line[columns["chip"][0]] if "chip" in columns else "", line[columns["device"][0]])
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}, line {number}: numbers are wanted, got {','.join(line)!r:.80}") from error
        if not all(abs(one) <= GREATEST for one in (target, time, value)) or target < 0:
            raise DataError(
                f"{path}, line {number}: targets are 0 or more, and all numbers finite and at most {GREATEST:g} µS or s"
            )
        yield round(target, 9), time, value, name


def _classes(targets: Floats) -> tuple[Floats, Integers]:
    """Targets of the tables, and which of them each device is counted to."""
    found, classes = np.unique(targets, return_inverse=True)
    if len(found) <= MOST_TARGETS:
        return found, classes
    centres = np.linspace(0, found[-1], MOST_TARGETS)
    return centres, np.rint(targets / centres[1]).astype(np.int64)


def _fitted(
    targets: Floats,
    classes: Integers,
    aimed: Floats,
    chips: Integers,
    times: Floats,
    means: Floats,
    within: Floats,
    counts: Floats,
    path: Path,
) -> FittedDevices:
    """Tables from the means of every device at every time, ``(devices, times)``.

    Args:
        classes: of each device.
        aimed: target of each device.
        times: s after programming.
        means: over the reads of a device at a time.
        within: sums of squares about them.
        counts: of reads.

    Raises:
        DataError: what devices hold is far from what was aimed at.
    """
    (mean, std), tables = np.zeros((2, 2, len(times), len(targets)))
    read, all_normed = np.zeros(len(targets)), np.zeros_like(means)
    correlation, distances, moved = [], [], [0.0]
    for k, target in enumerate(targets):
        own = classes == k
        slope = np.polyfit(aimed[own], means[own], 1)[0] if np.ptp(aimed[own]) > 0 else 0.0
        values = means[own] - (aimed[own] - target)[:, None] * slope
        spare = (counts[own] - 1).sum()
        read[k] = np.sqrt(within[own].sum() / spare) if spare else 0.0
        total = values.var(axis=0, ddof=1)
        mean[:, k] = values.mean(axis=0)
        std[:, k] = np.sqrt(np.maximum(total - read[k] ** 2 / counts[own].mean(axis=0), 0))
        normed = (values - mean[:, k]) / np.where(std[:, k] > 0, std[:, k], np.inf)
        all_normed[own] = normed
        possible, change = _correlation(normed)
        moved.append(change)
        correlation.append(tuple(_numbers(row, _CORRELATION_DIGITS) for row in possible))
        fitted = np.stack([mean[:, k], std[:, k]], 1)
        tables[:, :, k] = np.transpose([before_cut(*pair) for pair in fitted] if means[own].min() >= 0 else fitted)
        distances += [_misfit(column) for column in values.T if column.std() > 0]
    devices = Measured(
        g_max_us=_numbers(targets)[-1],
        targets_us=_numbers(targets),
        t_0_s=float(times[0]),
        times_s=_numbers(times - times[0]),
        mean_us=tuple(map(_numbers, tables[0])),
        std_us=tuple(map(_numbers, tables[1])),
        correlation=tuple(correlation),
        read_us=_numbers(read),
    )
    _check_units(float(targets[-1]), float(mean[0, -1]), path)
    greatest = max((distance for distance, _ in distances), default=0.0)
    unlike, between = sum(beyond for _, beyond in distances), _between_chips(all_normed, classes, chips)
    cut = int(np.any(np.abs(tables - (mean, std)) > _TOLD_CUT * std, axis=0).sum())
    reads = float(counts.mean())
    return FittedDevices(devices, len(means), reads, len(distances), unlike, greatest, between, max(moved), cut)


def _check_apart(values: Floats, axis: Floats, name: str, unit: str, path: Path) -> None:
    """Refuse ascending values that the axis of a table, which they stand at, does not tell apart."""
    rounded = _numbers(axis)
    for k in range(1, len(rounded)):
        if rounded[k] <= rounded[k - 1]:
            raise DataError(
                f"{path}: {name} {values[k - 1]:.15g} and {values[k]:.15g} {unit} are the same in a table, whose"
                " numbers have six digits; write them alike, or keep one of them"
            )


def _check_units(target: float, held: float, path: Path) -> None:
    """Refuse devices that hold something else altogether than what was aimed at, both in µS."""
    if not 1 / MOST_OFF <= held / target <= MOST_OFF:
        raise DataError(
            f"{path}: devices with target {target:g} µS have a mean of {held:g} µS at the first read; are the units of"
            " both columns right?"
        )


def _between_chips(normed: Floats, classes: Integers, chips: Integers) -> float | None:
    """Share of the variance that lies between chips, of standardised deviations ``(devices, times)``."""
    count = int(chips.max()) + 1
    groups = classes * count + chips
    sizes = np.bincount(groups)
    groups_of_class = np.bincount(np.unique(groups) // count)
    spare, inner = float(np.sum(groups_of_class - 1)), float(len(groups) - np.count_nonzero(sizes))
    if spare <= 0 or inner <= 0:
        return None
    means = np.stack([np.bincount(groups, column) for column in normed.T], 1) / np.maximum(sizes, 1)[:, None]
    outer_square = float(np.sum(sizes[:, None] * means**2)) / spare
    inner_square = float(np.sum((normed - means[groups]) ** 2)) / inner
    in_class = np.bincount(np.arange(len(sizes)) // count, sizes)
    uneven = np.bincount(np.arange(len(sizes)) // count, sizes.astype(float) ** 2) / np.maximum(in_class, 1)
    typical = float(np.sum(in_class - uneven)) / spare
    share = (outer_square - inner_square) / max(outer_square + (typical - 1) * inner_square, 1e-30)
    return float(np.clip(share, 0, 1))


def _correlation(normed: Floats) -> tuple[Floats, float]:
    """Correlation over time of standardised deviations ``(devices, times)``, and how far it was moved to be valid."""
    estimated = normed.T @ normed / (len(normed) - 1)
    np.fill_diagonal(estimated, 1.0)
    possible = _nearest_correlation(estimated)
    return possible, float(np.abs(possible - estimated).max())


def _nearest_correlation(estimated: Floats) -> Floats:
    """A correlation near an estimate that may be none, since the noise of reads was taken out of its deviations.

    Negative eigenvalues become 0 and the diagonal is scaled to 1: the spectral method (Rebonato and Jaeckel 1999), one
    step of Higham's (IMA J. Numer. Anal. 22, 2002).
    """
    values, vectors = np.linalg.eigh(estimated)
    positive = (vectors * np.maximum(values, 0)) @ vectors.T
    scale = np.sqrt(np.diag(positive))
    return np.asarray(positive / np.outer(scale, scale))


def _numbers(values: Floats, digits: int = 6) -> tuple[float, ...]:
    """Numbers rounded to so many digits; negligible ones become 0."""
    return tuple(float(f"{value:.{digits}g}") if abs(value) > 1e-12 else 0.0 for value in values)
