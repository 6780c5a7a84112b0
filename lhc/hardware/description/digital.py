"""Section ``digital`` of a hardware description: number formats of the products that digital cores compute."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, model_validator

from lhc.hardware.description.costs import Assumed, Figures, Known
from lhc.hardware.description.tiles_and_converters import Section

Precision = Literal["int8", "bf16", "fp16", "fp32"]
"""Number format of the two operands of a digital product; sums are wider."""
BYTES: dict[Precision, int] = {"int8": 1, "bf16": 2, "fp16": 2, "fp32": 4}
"""Of a stored number."""
_ORDER = ("int8", "bf16", "fp16", "fp32")


class ProductCycles(Figures):
    """Cycles of a product in a number format, as multiples of those in int8; its energy grows alike."""

    bf16: Annotated[PositiveFloat, Assumed("", "a SIMD register of 16 bytes holds half as many numbers")] = 2.0
    fp16: Annotated[PositiveFloat, Assumed("", "a SIMD register of 16 bytes holds half as many numbers")] = 2.0
    fp32: Annotated[PositiveFloat, Assumed("", "a SIMD register of 16 bytes holds a quarter as many")] = 4.0
    int8: Annotated[PositiveFloat, Known("", "the unit")] = 1.0

    def of(self, precision: Precision) -> float:
        """Cycles in a format."""
        return {"int8": self.int8, "bf16": self.bf16, "fp16": self.fp16, "fp32": self.fp32}[precision]


class DigitalCores(Section):
    """Arithmetic of the digital side, which decides what its products cost and how they are emulated.

    The default is that of the default costs: ALPINE's cores run int8, and ARMv8-A has single precision in SIMD.
    """

    precision: Precision | Literal["as-file"] = "int8"
    """Of digital products; as-file: as the network computes them, which costs what that format costs."""
    high_precision: Literal["bf16", "fp16", "fp32"] | None = "fp32"
    """Of the products that ``precision`` takes too much accuracy from; null: the machine has no other."""
    per_channel: bool = True
    """Whether weights in int8 have a scale for every output channel, or one for all."""
    range_quantile: Annotated[float, Field(gt=0.5, le=1)] = 1.0
    """Share of the values of a tensor that its int8 codes hold without clipping; 1: from the least to the greatest."""
    cycles: ProductCycles = ProductCycles()
    """Of a product in each format, int8 is 1: its time and energy."""

    @model_validator(mode="before")
    @classmethod
    def _none_is_above_the_highest(cls, data: object) -> object:
        """Where nothing is said, there is no format above one that is named as-file or fp32."""
        if isinstance(data, dict) and data.get("precision") in ("as-file", "fp32") and "high_precision" not in data:
            return data | {"high_precision": None}
        return data

    @model_validator(mode="after")
    def _high_is_higher(self) -> "DigitalCores":
        if self.high_precision is None:
            return self
        if self.precision == "as-file":
            raise ValueError("high_precision: with precision as-file there is no lower one; name a precision, or null")
        if _ORDER.index(self.high_precision) <= _ORDER.index(self.precision):
            raise ValueError(f"high_precision: {self.high_precision} is not above {self.precision}")
        return self
