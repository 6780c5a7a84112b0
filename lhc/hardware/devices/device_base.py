"""Base of the device models: cells, pairs, drift times, programming and read noise."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from lhc.hardware.description.tiles_and_converters import Section

__all__ = ["LEAST_MAGNITUDE", "LEAST_READOUT", "DeviceModel", "Pair", "PairedDevices", "Positive", "Scale", "Tensor"]

LEAST_MAGNITUDE = 1e-7
"""aihwkit's own bound, of the greatest weight of a tile and of a relative conductance."""
LEAST_READOUT = 1e-4
"""aihwkit's own bound of a mean read-out."""
Tensor = Any
"""Of torch, which is known to the runtime alone: these are given, and asked for others like them."""

Pair = Literal["one-sided", "two-sided", "reference-column", "digital-offset", "single"]
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

    def scaled(self, fields: Iterable[str], value: Callable[[float], float]) -> dict[str, object]:
        """Fields that change where factors of these names do, as far as the model has such."""
        known = [field for field in fields if field in type(self).model_fields]
        return {field: value(float(getattr(self, field))) for field in known}

    def time_problem(self, t_s: float) -> str | None:
        """Why the model says nothing about a time of inference (seconds), if so."""
        return None

    @property
    def ages(self) -> bool:
        """Whether anything changes with the time since programming: drift, or read noise, which grows with it."""
        return any(getattr(self, scale, 1.0) > 0 for scale in ("drift_scale", "read_noise_scale"))

    def lasting(self, t_s: float) -> float:
        """About what share of its conductance a device keeps until a time of inference (seconds)."""
        return 1.0


class PairedDevices(DeviceModel):
    """Devices of which a pair holds a weight, as the difference of its two conductances."""

    g_max_us: Positive
    g_min_us: Scale = 0.0
    """Conductance of a device that is programmed to nothing, in µS: g_max over the on/off ratio. Programming noise,
    drift and read noise are those of what a device really holds; a pair's difference takes g_min away again."""
    pair: Pair = "one-sided"
    """``one-sided``: one device of a pair holds the weight, the other g_min. ``two-sided``: both hold half of it,
    above and below the middle of g_min and g_max. ``reference-column``: one device a weight, of which 0 is the middle;
    the other is that of its row in a column of the tile whose devices hold the middle. What that column gives is
    subtracted from every other's before the ADC. ``digital-offset``: one device a weight, likewise, whose middle is
    subtracted behind the ADC, times the sum of the inputs. ``single`` (``reram_cmo`` alone): one device a weight, g_min
    for the least and g_max for the greatest of the tile, without a reference, as aihwkit's model has it."""
    pairs_per_weight: int = Field(default=1, ge=1, le=16)
    """Pairs in the unit cell of a weight, all programmed to the weight, whose currents add up in its column; a full
    scale is that of all of them together."""

    known_pairs: ClassVar[tuple[Pair, ...]] = ("one-sided", "two-sided", "reference-column", "digital-offset")

    @model_validator(mode="after")
    def _devices_can_be_switched(self) -> "PairedDevices":
        if self.g_min_us >= self.g_max_us:
            raise ValueError("g_min_us must be below g_max_us")
        if self.pair not in self.known_pairs:
            raise ValueError(
                f"pair: {self.pair} is not one of {self.model}, whose cells are {', '.join(self.known_pairs)}"
            )
        if self.pair == "single" and self.pairs_per_weight > 1:
            raise ValueError("pair: single is one device a weight: pairs_per_weight is 1")
        return self

    @property
    def plain(self) -> bool:
        """Whether a weight stands on one pair whose device that holds nothing of it has no conductance."""
        return self.g_min_us == 0 and self.pair == "one-sided" and self.pairs_per_weight == 1

    @property
    def span_us(self) -> float:
        """Conductance difference of a pair for a tile's greatest weight, in µS."""
        return (self.g_max_us - self.g_min_us) / (2 if self.pair in ("reference-column", "digital-offset") else 1)

    @property
    def offset(self) -> float:
        """Offset subtracted behind the ADC: an empty device, in units of the greatest weight of a tile.

        (g_max + g_min) / (g_max - g_min), as ISAAC's bias (Shafiee et al., ISCA 2016), there of half the range.
        """
        if self.pair != "digital-offset":
            return 0.0
        return (self.g_max_us + self.g_min_us) / (self.g_max_us - self.g_min_us)

    def cells(self, weights: Any) -> tuple[Any, ...]:  # noqa: ANN401 - an array of any library
        """Target conductances of a pair, in µS, ``(outputs, inputs)``; of a reference ``(1, inputs)``.

        Two of them, or the one whose offset is subtracted digitally.

        Args:
            weights: ``(outputs, inputs)``, in units of the greatest one of the tile.
        """
        span, negative = self.g_max_us - self.g_min_us, -weights
        if self.pair == "one-sided":
            shares = weights * (weights > 0), negative * (negative > 0)
        elif self.pair == "two-sided":
            shares = (1 + weights) / 2, (1 + negative) / 2
        elif self.pair == "digital-offset":
            return (self.g_min_us + span * (1 + weights) / 2,)
        else:
            shares = (1 + weights) / 2, (1 + 0 * weights[:1]) / 2
        return self.g_min_us + span * shares[0], self.g_min_us + span * shares[1]
