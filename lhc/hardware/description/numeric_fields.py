"""Numbers of a machine by their dotted paths, for whoever varies them."""

from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from lhc.hardware.description.hardware import Hardware
from lhc.hardware.description.uniform_machine import Machine


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
            elif (kind := _number(field.annotation)) is not None:
                found[above + name] = kind

    walk(machine, "")
    return found


def _number(annotation: object) -> type[int | float] | None:
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
