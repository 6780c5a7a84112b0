"""Overrides: what is different for some layers. Also the paths of fields in messages."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from glob import has_magic
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator
from pydantic_core import ErrorDetails, InitErrorDetails

from lhc.hardware.description.costs import cost_models
from lhc.hardware.description.tiles_and_converters import Section, moved
from lhc.hardware.description.uniform_machine import Machine
from lhc.hardware.devices.pcm_and_reram import DEVICE_MODELS, Devices
from lhc.support.documents import field_problem, unknown_key

_DEVICES: TypeAdapter[Devices] = TypeAdapter(Devices)
Partial = dict[str, object]
_OF_CHIPS = frozenset({"when", "time_s", "samples", "reads"})
"""Fields of the section ``compensation`` that say when chips are calibrated, and on what."""
_LONGEST = 1000
_SHOWN = 20
"""Most problems that a message lists."""
_KINDS: dict[str, Callable[[], tuple[str, ...]]] = {
    "devices": lambda: (*DEVICE_MODELS,),
    "costs": cost_models,
    "drift": lambda: ("kind", "object"),
}


class Override(Section):
    """Fields that layers of some names have instead of the machine's; the tiles are the machine's."""

    layers: str
    """Glob on layer names. No regular expression: a description may come from anywhere, and one can run for ever."""
    dac: Partial = Field(default_factory=dict)
    """Fields of this section to replace."""
    adc: Partial = Field(default_factory=dict)
    """Fields of this section to replace."""
    currents: Partial = Field(default_factory=dict)
    """Fields of this section to replace."""
    mapping: Partial = Field(default_factory=dict)
    """Fields of this section to replace."""
    devices: Partial | None = Field(default_factory=dict)
    """Fields of this section to replace; another ``model`` starts from its defaults; null: perfect devices."""
    compensation: Partial = Field(default_factory=dict)
    """Fields of this section to replace, but for those of the calibration of a whole chip."""
    on_tiles: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Tiles of a chip whose tiles differ (``faults``) that hold the layer, from 0, in the order of its own tiles."""
    on_tiles_by: Literal["user", "file", "sensitivity"] = "user"
    """Who chose them: the order of the file and sensitivities are lhc's, and chosen anew where that is asked for."""

    @field_validator("layers")
    @classmethod
    def _is_a_glob(cls, pattern: str) -> str:
        if pattern.startswith("re:"):
            raise ValueError("patterns of a description are globs, such as *conv1*; a second override has another one")
        if len(pattern) > _LONGEST:
            raise ValueError(f"a glob of more than {_LONGEST} characters")
        return pattern

    @field_validator("compensation")
    @classmethod
    def _calibrates_whole_chips(cls, fields: Partial) -> Partial:
        if of_chips := sorted(_OF_CHIPS & fields.keys()):
            raise ValueError(f"a chip is calibrated as a whole: {', '.join(of_chips)} cannot differ between layers")
        return fields

    def matches(self, layer: str) -> bool:
        """Whether a layer of that name is meant."""
        # A calibrated machine has an override for every layer, by its name: no regular expression is made for these.
        return fnmatchcase(layer, self.layers) if has_magic(self.layers) else layer == self.layers

    def apply(self, base: Machine, where: tuple[str | int, ...] = ()) -> dict[str, object]:
        """The sections of a machine that change.

        Args:
            where: path of this override, for errors.

        Raises:
            ValidationError: a field is unknown or wrong.
        """
        changed: dict[str, object] = {}
        errors: list[InitErrorDetails] = []
        for name in ("dac", "adc", "currents", "mapping", "compensation", "devices"):
            partial = getattr(self, name)
            if partial == {}:
                continue
            section = getattr(base, name)
            try:
                if name == "devices":
                    changed[name] = None if partial is None else _DEVICES.validate_python(_merged(section, partial))
                else:
                    changed[name] = type(section).model_validate(section.model_dump() | partial)
            except ValidationError as error:
                errors += [moved(detail, (*where, name)) for detail in error.errors()]
        if self.on_tiles is not None:
            chosen = {"tiles": self.on_tiles, "ranked": self.on_tiles_by == "sensitivity"}
            changed["faults"] = base.faults.model_copy(update=chosen)
        if errors:
            raise ValidationError.from_exception_data("Override", errors)
        return changed


def _merged(base: Devices | None, partial: Partial) -> Partial:
    if base is None or any(partial.get(key, getattr(base, key, None)) != getattr(base, key) for key in base.identity):
        return partial
    return base.model_dump() | partial


def _field_path(detail: ErrorDetails) -> str:
    """Path of a field as the user wrote it: pydantic puts the model after ``devices`` and ``costs``."""
    loc: list[Any] = list(detail["loc"])
    path = [part for i, part in enumerate(loc) if i == 0 or part not in _KINDS.get(loc[i - 1], tuple)()]
    if detail["type"] == "device_model":
        path = [*(path or ["devices"]), "model"]
    return ".".join(map(str, path)) or "hardware"


def problems(error: ValidationError, model: type[BaseModel] = Machine) -> str:
    """All that is wrong, each with the path of its field and what was given.

    Args:
        model: of the document, for the names of its fields.
    """
    schema, found = model.model_json_schema(), error.errors()
    told = [f"{_field_path(e):.200}: {problem(e, schema)}{_given(e)}" for e in found[:_SHOWN]]
    return "; ".join(told) + (f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")


def problem(detail: ErrorDetails, schema: Mapping[str, Any]) -> str:
    """Problem with one field, with the nearest key where the key is unknown.

    Args:
        detail: as pydantic tells it.
        schema: JSON schema of the document.
    """
    if detail["type"] != "extra_forbidden":
        return field_problem(detail)
    loc = list(detail["loc"])
    at = loc.index("overrides") if "overrides" in loc else len(loc)
    if len(loc) > at + 3:  # an override's sections are those of the machine
        del loc[at : at + 2]
    return unknown_key(schema, loc)


def _given(detail: ErrorDetails) -> str:
    """Value that the user wrote, in brackets; empty where it is more than a value."""
    given = detail["input"]
    if isinstance(given, dict) and detail["type"] == "device_model":
        given = given.get("model")
    return "" if isinstance(given, dict | BaseModel) else f" (got {given!r:.60})"
