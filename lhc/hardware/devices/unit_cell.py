"""Unit cell of a weight: pairs of devices or a reference column, conductance range, and target conductances.

aihwkit's noise model of such cells is `lhc.hardware.devices.aihwkit_noise_models`.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from lhc.hardware.devices.device_base import DeviceModel, Positive, Scale

Pair = Literal["one-sided", "two-sided", "reference-column", "digital-offset", "single"]


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
        """Whether a weight is on one pair of devices, of which the unused one has zero conductance."""
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
