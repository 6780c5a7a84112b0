"""Numbers of a machine that a user varies: read, and checked against the machine before anything is measured."""

from collections.abc import Sequence
from itertools import product
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import numpy as np
from pydantic import BaseModel

from lhc.errors import ConfigError, UsageError
from lhc.hardware import Hardware
from lhc.hardware.description.uniform_machine import Machine
from lhc.options.declaration.option_fields import nearest
from lhc.options.declaration.value_parsing import time_of
from lhc.results import VariedField

STEPS = {1: (32,), 2: (8, 4)}
"""Steps that a range is divided into: of one field, or of the first and the second of two."""
WIDE = 4.0
"""Ranges whose ends differ by this factor or more are divided into equal ratios, others into equal steps; so are a few
whole numbers."""
MOST_MACHINES = 10_000
"""Combinations of values that are checked before anything is measured."""


def numeric_fields(machine: Machine) -> dict[str, type[int | float]]:
    """Path of every field that is one number, such as ``adc.bits``, and whether it is a whole one.

    Fields of the sections that the machine has: ``devices`` are those of its own model. Overrides are left out.
    """
    found: dict[str, type[int | float]] = {}

    def walk(section: BaseModel, above: str) -> None:
        for name, field in type(section).model_fields.items():
            value = getattr(section, name)
            if isinstance(value, BaseModel):
                walk(value, f"{above}{name}.")
            elif (kind := _kind_of_number(field.annotation)) is not None:
                found[above + name] = kind

    walk(machine, "")
    return found


def _kind_of_number(annotation: object) -> type[int | float] | None:
    """The kind of number that a field's type allows, null beside it or not; None where it is no number."""
    kinds = set(_members(annotation)) - {type(None)}
    if not kinds or not kinds <= {int, float}:
        return None
    return float if float in kinds else int


def _members(annotation: object) -> list[object]:
    """Types that an annotation allows; of a closed set, those of its values."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return [type(value) for value in inside]
    if origin is Annotated:
        return _members(inside[0])
    return [one for each in inside for one in _members(each)] if origin in (Union, UnionType) else [annotation]


def overridden(machine: Hardware, path: str) -> tuple[str, ...]:
    """Patterns of the layers for which an override sets a field, or another model of devices."""
    section, _, name = path.partition(".")

    def sets(partial: object) -> bool:
        other_devices = section == "devices" and (partial is None or (isinstance(partial, dict) and "model" in partial))
        return other_devices or (isinstance(partial, dict) and name in partial)

    return tuple(one.layers for one in machine.overrides if sets(getattr(one, section, {})))


def varied_fields(texts: Sequence[str], machine: Hardware) -> tuple[VariedField, ...]:
    """The fields that are varied, each as ``FIELD=A..B`` or ``FIELD=A,B,C`` gives its values.

    Raises:
        UsageError: the machine has no such number, a value is none or out of bounds, or fields contradict each other.
    """
    steps = STEPS[len(texts)]
    fields = tuple(_field(text, machine, most) for text, most in zip(texts, steps, strict=True))
    if len({field.path for field in fields}) < len(fields):
        raise UsageError(f"--vary {fields[0].path}: is given twice")
    if np.prod([len(field.values) for field in fields]) > MOST_MACHINES:
        raise UsageError(f"--vary: more than {MOST_MACHINES:,} combinations of values; give fewer, or ranges")
    ends_first = (dict.fromkeys((field.values[0], field.values[-1], *field.values)) for field in fields)
    for values in product(*ends_first):
        try:
            with_values(machine, fields, values)
        except ConfigError as error:
            raise UsageError(f"--vary {' '.join(texts)}: {error}") from error
    return fields


def with_values(machine: Hardware, fields: Sequence[VariedField], values: Sequence[float]) -> Hardware:
    """The machine with these values of varied fields.

    Raises:
        ConfigError: there is no such machine.
    """
    kinds = numeric_fields(machine)
    numbers = {field.path: kinds[field.path](value) for field, value in zip(fields, values, strict=True)}
    return machine.with_numbers(numbers)


def _field(text: str, machine: Hardware, steps: int) -> VariedField:
    path, _, given = text.partition("=")
    kinds = numeric_fields(machine)
    if not given:
        raise UsageError(f"--vary {text}: write FIELD=A..B or FIELD=A,B,C, e.g. adc.bits=4..8")
    if path not in kinds:
        if path in machine.numbers:
            raise UsageError(f"--vary {path}: is no single number; 'lhc hardware {machine.name}' shows what it is")
        raise UsageError(
            f"--vary {path}: hardware {machine.name!r} has no number of that name{nearest(path, set(kinds))}"
        )
    ends = given.split("..")
    parts = ends if len(ends) == 2 else given.split(",")
    numbers = sorted(_number(part, path, kinds[path]) for part in parts)
    if len(set(numbers)) < max(2, len(numbers)):
        raise UsageError(f"--vary {text}: two different values at least")
    low, high = numbers[0], numbers[-1]
    values = _divided(low, high, steps, kinds[path] is int) if len(ends) == 2 else tuple(numbers)
    return VariedField(path, values, _own(machine, path))


def _own(machine: Hardware, path: str) -> float | None:
    """A number of a machine by its path; None where it is null."""
    found: object = machine
    for name in path.split("."):
        found = getattr(found, name)
    return float(found) if isinstance(found, int | float) else None


def _number(text: str, path: str, kind: type[int | float]) -> float:
    in_seconds = path.endswith("_s")
    try:
        value = time_of(text) if in_seconds else float(text.replace("_", "no digit"))
    except (UsageError, ValueError) as error:
        what = "seconds, or a time such as 1h" if in_seconds else "numbers alone, in the unit that the name ends with"
        raise UsageError(f"--vary {path}: {text.strip()!r} is no number: write {what}") from error
    if not np.isfinite(value) or (kind is int and value != int(value)):
        raise UsageError(f"--vary {path}: {text.strip()}: write {'whole' if kind is int else 'finite'} numbers")
    return value


def _divided(low: float, high: float, steps: int, whole: bool) -> tuple[float, ...]:
    """Values from one end of a range to the other, rounded to three digits between them."""
    if whole and high - low <= steps:
        return tuple(np.arange(low, high + 1).tolist())
    few = whole and high - low <= WIDE * steps
    evenly = np.geomspace if low > 0 and high / low >= WIDE and not few else np.linspace
    inner = (round(value) if whole else float(f"{value:.3g}") for value in evenly(low, high, steps + 1)[1:-1])
    return (low, *sorted({float(value) for value in inner if low < value < high}), high)
