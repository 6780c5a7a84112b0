"""Base of the device models: their fields and attributes in aihwkit, factors on their noise, times of inference."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from lhc.hardware.description.tiles_and_converters import Section

LEAST_MAGNITUDE = 1e-7
"""aihwkit's own bound, of the greatest weight of a tile and of a relative conductance."""
Tensor = Any
"""Of torch, which is known to the runtime alone: these are given, and asked for others like them."""

Scale = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class DeviceModel(Section):
    """One noise model, of aihwkit's mostly, and how its attributes are called here."""

    model: str
    module: ClassVar[str]
    """Module of aihwkit.inference.noise; empty where it has no such model."""
    kind: ClassVar[str]
    """Class in that module."""
    arguments: ClassVar[tuple[str, ...]] = ("g_max",)
    """Attributes that its constructor takes; the others are set afterwards."""
    attributes: ClassVar[Mapping[str, str]]
    """aihwkit's attribute to field."""
    identity: ClassVar[tuple[str, ...]] = ("model",)
    """Fields that decide the defaults of others: an override that changes one starts from these defaults."""
    pairs: ClassVar[bool] = True
    """Whether a weight stands on a pair of cells, one for each sign."""
    unmeasured: ClassVar[tuple[str, ...]] = ()
    """Fields whose defaults no measurement is behind."""

    @property
    def assumed(self) -> tuple[str, ...]:
        """Fields that a description leaves to such defaults, and that matter."""
        return tuple(field for field in self.unmeasured if field not in self.model_fields_set)

    def to_attributes(self) -> dict[str, Any]:
        """aihwkit's attributes."""
        values = {attribute: getattr(self, field) for attribute, field in self.attributes.items()}
        return {attribute: list(v) if isinstance(v, tuple) else v for attribute, v in values.items()}

    @classmethod
    def fields_from(cls, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Fields from the attributes of an aihwkit noise model."""
        return {field: attributes[attribute] for attribute, field in cls.attributes.items() if attribute in attributes}

    def scaled(self, fields: Iterable[str], value: Callable[[float], float]) -> dict[str, object]:
        """Fields that change where factors of these names do, as far as the model has such."""
        known = [field for field in fields if field in type(self).model_fields]
        return {field: value(float(getattr(self, field))) for field in known}

    def time_problem(self, t_s: float) -> str | None:
        """Reason why the model says nothing about a time of inference (seconds); None where it does."""
        return None

    @property
    def ages(self) -> bool:
        """Whether anything changes with the time since programming: drift, or read noise, which grows with it."""
        return any(getattr(self, scale, 1.0) > 0 for scale in ("drift_scale", "read_noise_scale"))

    def lasting(self, t_s: float) -> float:
        """About what share of its conductance a device keeps until a time of inference (seconds)."""
        return 1.0
