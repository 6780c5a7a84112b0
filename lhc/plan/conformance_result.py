"""Conformance: agreement of the engine ``fast`` with ``aihwkit``, the definition."""

from pydantic import Field, model_validator

from lhc.plan.layer_plan import PlanRecord

SHARE = 0.005
"""Of all outputs that may become the next code, since sums are taken in another order."""
FURTHER = 0.0005
"""Of those that may be further apart: of vectors that one engine reads again and the other does not."""
COLUMN = 0.5
"""Of the outputs of one column: an error of a column alone is a small share of all."""
FARTHEST = 16.0
"""Steps that any output may be apart: a vector that one engine reads again has a doubled step, and noise of its own."""
_LEAST = 4
"""Outputs that may be apart whatever the shares say: of few outputs one is a large share."""


class LayerConformance(PlanRecord):
    """The outputs of one layer that both engines computed, for the same inputs, devices and noise."""

    name: str
    outputs: int = Field(ge=0)
    """How many were compared."""
    apart: int = Field(ge=0)
    """How many differ by more than the rounding of sums."""
    further: int = Field(ge=0)
    """How many of these differ by more than one step of the ADC."""
    greatest: float = Field(ge=0)
    """Greatest difference, in steps of the ADC of the output; of the coarsest, where rows of tiles add up."""
    column: float = Field(ge=0, le=1)
    """Greatest share of the outputs of one column that differ; 0 where these are few."""

    @model_validator(mode="after")
    def _some_of_all(self) -> "LayerConformance":
        if not self.further <= self.apart <= self.outputs:
            raise ValueError(f"{self.further} of {self.apart} of {self.outputs} outputs")
        return self

    @property
    def conforms(self) -> bool:
        """Whether no more differ than may."""
        few = self.apart <= max(_LEAST, self.outputs * SHARE) and self.column <= COLUMN
        return few and self.further <= max(_LEAST, self.outputs * FURTHER) and self.greatest <= FARTHEST


class Conformance(PlanRecord):
    """The engine ``fast`` compared with ``aihwkit`` on the activations of a placed network, on one chip."""

    layers: tuple[LayerConformance, ...] = Field(max_length=100_000)

    @property
    def outputs(self) -> int:
        """Number of outputs that were compared."""
        return sum(layer.outputs for layer in self.layers)

    @property
    def apart(self) -> int:
        """Number of outputs that differ."""
        return sum(layer.apart for layer in self.layers)

    @property
    def further(self) -> int:
        """Number of outputs that differ by more than one step."""
        return sum(layer.further for layer in self.layers)

    @property
    def greatest(self) -> float:
        """Greatest difference, in steps."""
        return max((layer.greatest for layer in self.layers), default=0.0)

    @property
    def wrong(self) -> tuple[LayerConformance, ...]:
        """Layers of which more differ than may, the worst first."""
        found = [layer for layer in self.layers if not layer.conforms]
        return tuple(sorted(found, key=lambda layer: -layer.apart / layer.outputs))
