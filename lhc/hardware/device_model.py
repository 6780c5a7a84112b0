"""What every model of devices has."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from lhc.hardware.sections import Section

__all__ = ["DeviceModel", "Positive", "Scale"]

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

    def to_attributes(self) -> dict[str, Any]:
        """aihwkit's attributes."""
        values = {attribute: getattr(self, field) for attribute, field in self.attributes.items()}
        return {attribute: list(v) if isinstance(v, tuple) else v for attribute, v in values.items()}

    @classmethod
    def fields_from(cls, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Fields from the attributes of an aihwkit noise model."""
        return {field: attributes[attribute] for attribute, field in cls.attributes.items() if attribute in attributes}

    def time_problem(self, t_s: float) -> str | None:
        """Why the model says nothing about a time of inference (seconds), if so."""
        return None

    def lasting(self, t_s: float) -> float:
        """About what share of its conductance a device keeps until a time of inference (seconds)."""
        return 1.0
