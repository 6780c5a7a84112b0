"""Values that people write as text: sizes of memory, shapes of inputs, times, names of engines."""

from collections.abc import Iterable, Mapping
from operator import index
from pathlib import Path
from string import ascii_letters
from typing import Literal, get_args

from lhc.errors import UsageError
from lhc.support.number_bounds import MOST_COPIES

__all__ = [
    "AskedEngine",
    "Engine",
    "bytes_of",
    "check_times",
    "copies_of",
    "engine_of",
    "hardware_of",
    "machines_of",
    "metric_of",
    "sample_axes_of",
    "shapes_of",
    "share_of",
    "time_of",
    "times_of",
]

Engine = Literal["fast", "aihwkit"]
"""What computes products on tiles, see `lhc.options.shared.Emulating`."""
AskedEngine = Literal["auto", "fast", "aihwkit"]
"""What a user may ask for: ``auto`` leaves the choice to the machine."""

_SECONDS = {"": 1, "s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_SECONDS |= {"d": 86400, "day": 86400, "y": 31536000, "year": 31536000}
"""Of a unit of time; a year has 365 days."""
TIMES = "write seconds, or a number with s, min, h, d or y, e.g. 86400, 30min, 1d or 10 years"


def bytes_of(text: str | int) -> int:
    """Bytes that a size names: ``2GiB``, ``500MB``, or a number.

    Raises:
        UsageError: it names none.
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError as error:
        raise UsageError(f"--memory {text!r}: write a size such as 2GiB or 500MB") from error


def copies_of(text: str | int) -> str | int:
    """``auto``, ``off``, or a number of copies.

    Raises:
        UsageError: none of these.
    """
    number = int(text) if str(text).isdecimal() else 0
    if text in ("auto", "off") or 0 < number <= MOST_COPIES:
        return str(text) if number == 0 else number
    raise UsageError(f"{text!r}: write auto, off or a number from 1 to {MOST_COPIES:,}")


def hardware_of(given: object) -> object:
    """Hardware as named, or as described by an aihwkit configuration.

    Raises:
        UsageError: an object that is no machine.
        ConfigError: a configuration that a description cannot say.
    """
    if given is None or isinstance(given, str | Path):
        return given
    from lhc.hardware import Hardware

    return Hardware.load(given)


def machines_of(given: Iterable[object]) -> tuple[object, ...]:
    """Machines, each as named or described by an aihwkit configuration."""
    return tuple(map(hardware_of, given))


def engine_of(name: object) -> AskedEngine:
    """The name of an engine, checked.

    Raises:
        UsageError: there is no such engine.
    """
    known: dict[object, AskedEngine] = {"auto": "auto", "fast": "fast", "aihwkit": "aihwkit"}
    if name not in known:
        raise UsageError(f"{name!r}: choose {', '.join(get_args(AskedEngine))}")
    return known[name]


def metric_of(name: object) -> str:
    """The name of a metric.

    Raises:
        UsageError: a function itself, or a metric, which go with the samples.
    """
    if isinstance(name, str):
        return name
    raise UsageError(
        f"of type {type(name).__name__}: write a metric's name, or module:function; a function itself goes with the"
        ' samples: data=lhc.Task({"input": images}, labels, lhc.Metric("name", higher_is_better=True,'
        " needs_targets=True, score=function))"
    )


def shapes_of(options: Iterable[str] | Mapping[str, Iterable[int]]) -> dict[str, tuple[int, ...]]:
    """Shapes of inputs by name, as ``NAME=1,3,224,224`` gives each, or by name already.

    Raises:
        UsageError: one is not written like that.
    """
    if isinstance(options, Mapping):
        try:
            return {str(name): tuple(index(size) for size in sizes) for name, sizes in options.items()}
        except TypeError as error:
            raise UsageError(f'{options!r}: write {{"NAME": (1, 3, 224, 224)}}') from error
    shapes = {}
    for option in options:
        name, _, sizes = str(option).rpartition("=")
        try:
            shape = tuple(int(size) for size in sizes.split(","))
        except ValueError:
            shape = ()
        if not name or not shape or min(shape) < 0:
            raise UsageError(f"{option!r}: write NAME=1,3,224,224; an axis of 0 is empty, as a cache is at first")
        shapes[name] = shape
    return shapes


def sample_axes_of(options: object) -> dict[str, int | Literal["call"]]:
    """Axes that count samples by name of the input or output, as ``NAME=1``, ``NAME=call`` or ``1`` give each.

    That of the scored output, which is not named, is under the empty name.

    Raises:
        UsageError: one is not written like that.
    """
    if isinstance(options, Mapping):
        given = [(str(name), axis) for name, axis in options.items()]
    else:
        several = options if isinstance(options, Iterable) and not isinstance(options, str) else [options]
        given = [(name, axis) for name, _, axis in (str(one).rpartition("=") for one in several)]
    return {name: _sample_axis(name, axis) for name, axis in given}


def _sample_axis(name: str, axis: object) -> int | Literal["call"]:
    if axis == "call":
        return "call"
    try:
        return int(str(axis))
    except ValueError:
        written = f"{name}={axis}" if name else str(axis)
        raise UsageError(f"{written!r}: write an axis such as 1, NAME=1, or NAME=call (a call is a sample)") from None


def share_of(text: str | float, flag: str) -> float:
    """A share, as ``0.05`` or ``5%``.

    Raises:
        UsageError: none, or not from 0 to below 1; ``flag`` says of which option.
    """
    written = str(text)
    try:
        value = float(written.removesuffix("%")) / (100 if written.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise UsageError(f"{flag} {text}: write a share from 0 to below 1; 0.95 and 95% are the same")
    return value


def check_times(times: Iterable[float]) -> None:
    """Refuse what is no time after the first read.

    Raises:
        UsageError: there is one.
    """
    for t_s in times:
        if not t_s >= 0:
            raise UsageError(f"--t-inference: a time of inference must be at least 0 s, got {t_s:g}")


def time_of(text: str | float) -> float:
    """Seconds, as ``86400``, ``1d``, ``30min`` or ``10 years`` give them.

    >>> time_of("86400"), time_of("1.5h"), time_of("30 min"), time_of("10 years"), time_of("1e3 s"), time_of("1 Day")
    (86400.0, 5400.0, 1800.0, 315360000.0, 1000.0, 86400.0)

    Raises:
        UsageError: it is no time.
    """
    written = str(text).strip()
    number = written.rstrip(ascii_letters)
    unit = written[len(number) :].lower()
    try:
        value = float(number.replace("_", "no digit"))  # Python takes 1_0 for 10
        return value * _SECONDS[unit if unit == "s" else unit.removesuffix("s")]
    except (KeyError, ValueError) as error:
        raise UsageError(f"{written!r} is no time: {TIMES}") from error


def times_of(given: str | float | Iterable[str | float]) -> list[float]:
    """Seconds, as ``0,1h,1d`` gives them, or several values, each as `time_of` reads it; of one value, that alone.

    Raises:
        UsageError: one is no time.
    """
    parts = given.split(",") if isinstance(given, str) else given if isinstance(given, Iterable) else [given]
    return [time_of(part) for part in parts]
