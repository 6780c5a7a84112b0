"""Row of a plan for one layer: placement, reason, sensitivity, and what checked predicted sensitivities."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from lhc.graph import RUN_TIME_OPERANDS, Origin
from lhc.hardware.description.digital import Precision
from lhc.plan.field_types import Chips, Count, Interval, Name, Number, Samples, check_interval, first_double
from lhc.support.number_bounds import MOST_COPIES
from lhc.support.number_formatting import bounds_text, counted, number_text

Placement = Literal["analog", "digital"]
Method = Literal["measure", "fisher"]
"""How a sensitivity was found: by running the analog layer, or predicted from gradients of the digital network."""
Basis = Literal["measured", "predicted"]
"""The same in words."""
Reason = Literal[
    "eligible",  # may be analog; nothing decided yet
    "budget",  # analog: within the budget
    "sensitivity",  # digital: the budget was not shown to hold with it
    "cost",  # digital: on tiles it costs more than it saves
    "strategy",  # placed by the rule of a strategy that does not measure
    "time",  # digital: the time was over before every layer was ranked
    "placed",  # analog as it was placed: for other hardware, or for a budget that it was not shown to hold later
    "forced",  # fixed by the user
    "excluded",  # left out by the user
    "not-judged",  # no output that is judged depends on it
    "no-static-weight",
    "unsupported",
    "adapter",  # digital on purpose: what corrects a product on tiles
    "columns",  # digital on purpose: the columns of a product that tiles would do most damage to
    "parity",  # the emulation does not reproduce the operator
    "tiles",  # not enough tiles
]
NEVER_ANALOG: frozenset[Reason] = frozenset({"no-static-weight", "unsupported", "adapter", "parity"})
"""Reasons of layers that no tile computes, whatever the user affords."""
_STEP = re.compile(r"(?:(?<=/recurrent)_|/)\d+((?:_reverse)?(?:_gates|_new)?)$")
"""Ends the name of a step: of a recurrent operator (`lhc.canonical.rules.recurrent`), or an iteration of a loop."""
Decision = tuple[Placement, Reason, str]
"""Where a layer is computed, why as a token, and the sentence with its numbers."""


GREATEST = 1e100
"""Of a number in a plan: its square is finite, and no metric of float32 outputs is larger."""


class PlanRecord(BaseModel):
    """Unknown fields are errors, values never change, and every number is finite, and so is what is made of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _bounded(cls, value: object) -> object:
        for number in _numbers(value):
            if abs(number) > GREATEST:
                raise ValueError(f"{number} is beyond {GREATEST:g}, which no measured number is")
        return value


def _numbers(value: object) -> Iterator[float]:
    """Numbers in a value of a field."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, tuple | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _numbers(inner)


class Sensitivity(PlanRecord):
    """Damage that one analog layer does: mean over draws, in the unit of the metric. Larger is worse."""

    metric: Name
    mean: float
    std: float = Field(ge=0)
    interval: Interval | None
    draws: Chips = 1
    method: Method = "measure"
    by_weights: float | None = None
    """Part by programmed weights and the DAC; predictions alone tell it from the rest."""
    by_outputs: float | None = None
    """Part by output noise and the ADC's rounding."""
    copies: int = Field(default=1, ge=1, le=MOST_COPIES)
    """Times that tiles held its weights."""

    @model_validator(mode="after")
    def _lies_in_its_interval(self) -> Self:
        check_interval("interval", self.interval, self.mean, "mean")
        return self

    @property
    def basis(self) -> Basis:
        """Basis of the figure in one word: measured or predicted."""
        return "measured" if self.method == "measure" else "predicted"

    @property
    def estimate(self) -> str:
        """Mean and interval."""
        return (
            number_text(self.mean)
            if self.interval is None
            else f"{number_text(self.mean)} {bounds_text(self.interval)}"
        )

    @property
    def copies_text(self) -> str:
        """With how many copies of the weights it was found."""
        return f"with {counted(self.copies, 'copy', 'copies')}"

    def __str__(self) -> str:
        return f"{self.estimate} {self.metric} {self.copies_text}, {self.basis}"


class IfAnalog(PlanRecord):
    """Tiles and copies of a digital layer if it were analog."""

    tiles: Count
    copies: int = Field(ge=1, le=MOST_COPIES)


class LayerPlan(PlanRecord):
    """The decision about one operator that multiplies. ``weight`` and ``output`` find it again without its name."""

    name: Name
    op_type: Name
    weight: str | None
    output: str
    placement: Placement
    reason: Reason
    detail: str
    macs: Count
    """By stored weights, per sample."""
    parameters: Count
    tiles: Count
    """Tiles the layer needs when it is analog, with all copies of its weights; written as 0 where it is digital."""
    copies: int = Field(default=1, ge=0, le=MOST_COPIES)
    """Times that tiles hold its weights when it is analog, each time on devices of its own; written likewise."""
    if_analog: IfAnalog | None = None
    """Where a digital layer is written, what both would be; None in memory."""
    precision: Precision | None = None
    """Number format of its product where it is digital; None on tiles, and where it is that of the file."""
    sensitivity: Sensitivity | None = None
    """With one copy of its weights; with all of them in plans of earlier versions."""
    with_copies: Sensitivity | None = None
    """With those that it has before a placement leaves tiles over for further ones, where these are more than one."""
    module: str | None = None
    """Path of the PyTorch module it came from, where the file tells and the name does not."""
    input_range: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    """Calibrated static input range of each row split of its tiles, where the hardware has them."""
    sums: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    """How great sums in its columns are, where that was measured (`lhc.hardware.converters.repeated_reads`)."""
    origin: str | None = None
    """Operator of the file that it is a part of, by name, where that is written otherwise (`lhc.canonical`)."""
    operator: str | None = None
    """What that operator is."""
    digital_columns: tuple[Number, ...] = ()
    """Outputs of the product that the row ``NAME/columns`` computes; the numbers here are of the others."""
    activation_macs: Count = 0
    """Of two activations, per sample; no part of ``macs``."""
    steps: Samples = 1
    """Products by its weights, one after the other, that the row stands for (`lhc.plan.recurrent_steps`)."""
    counted: bool = True
    """Whether all that it multiplies is in these numbers; what is not known counts nothing."""

    @model_validator(mode="before")
    @classmethod
    def _tell_apart(cls, data: object) -> object:
        """Earlier plans had products of two activations under ``macs``."""
        if not isinstance(data, dict) or "activation_macs" in data or data.get("reason") != "no-static-weight":
            return data
        if not str(data.get("detail", "")).startswith(RUN_TIME_OPERANDS):
            return data
        return data | {"macs": 0, "activation_macs": data.get("macs", 0)}

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: object) -> object:
        """Digital layers are written with what they would take beside 0; earlier plans wrote just that."""
        if not isinstance(data, dict):
            return data
        found = dict(data)
        would = found.pop("if_analog", None)
        if would is not None and not isinstance(would, IfAnalog):
            would = IfAnalog.model_validate(would)
        if would is None and found.get("placement") == "digital":
            would = IfAnalog(tiles=0, copies=1)
        known = {} if would is None else would.model_dump()
        return found | {name: value for name, value in known.items() if found.get(name) == 0}

    @model_validator(mode="after")
    def _is_one_layer(self) -> Self:
        if self.copies < 1:
            raise ValueError("copies: must be at least 1 where a layer is analog")
        if self.placement == "analog" and self.tiles == 0:
            raise ValueError("tiles: must be at least 1 where a layer is analog")
        if (column := first_double(self.digital_columns)) is not None:
            raise ValueError(f"digital_columns: {column} is there twice")
        return self

    @model_serializer(mode="wrap")
    def _written(self, written: SerializerFunctionWrapHandler) -> dict[str, object]:
        found: dict[str, object] = written(self)
        if self.placement == "digital":
            would = {name: found[name] for name in IfAnalog.model_fields if name in found}
            found |= dict.fromkeys(would, 0)
            if "if_analog" in found:
                found["if_analog"] = would
        elif "if_analog" in found:
            del found["if_analog"]
        return found

    def retrained(self, origin: Origin | None, input_range: tuple[float, ...] | None) -> "LayerPlan":
        """The layer with trained weights, in the file that holds these; it was measured with the former ones."""
        of = {"origin": origin and origin.node, "operator": origin and origin.kind}
        known = {"sensitivity": None, "with_copies": None, "digital_columns": (), "input_range": input_range}
        return self.model_copy(update=known | of)

    @property
    def damage(self) -> Sensitivity | None:
        """The sensitivity that is nearest to how a placement has it: what is known of most copies of its weights."""
        return self.with_copies or self.sensitivity

    @property
    def sensitivity_text(self) -> str:
        """Its sensitivity, and that with its copies where it has several; empty where it has none."""
        return "; ".join(str(found) for found in (self.sensitivity, self.with_copies) if found is not None)

    @property
    def may_be_analog(self) -> bool:
        """Whether it is analog, or still free to be."""
        return self.reason == "eligible" or self.placement == "analog"

    @property
    def kind(self) -> str:
        """The operator as the file has it."""
        return self.operator or self.op_type

    @property
    def title(self) -> str:
        """Name of the layer for people: its module path, and its own name where that is another."""
        name = self.own_name if self.steps == 1 else f"{self.own_name}, {self.steps} steps"
        return name if self.module is None else f"{self.module} ({name})"

    @property
    def own_name(self) -> str:
        """Its name, without a number where the row stands for several steps."""
        return self.name if self.steps == 1 else self.stem

    @property
    def stem(self) -> str:
        """Its name without the number of a step, where it has one."""
        return _STEP.sub(r"\1", self.name)

    @property
    def path(self) -> str:
        """Dotted path: its module's, or its own name's, with slashes as dots."""
        return self.module or self.name.partition(";")[0].strip("/").replace("/", ".")

    @property
    def block(self) -> str:
        """Path of the block that it is in: down to the first number (``encoder.layer.3``), else what holds it.

        A module without weights for its product is one that does more, such as a whole block with its attention.
        """
        parts = self.path.split(".")
        own = self.module is None or self.reason != "no-static-weight"  # a module of its own is inside of a block
        within = parts[:-1] if own else parts
        number = next((index for index, part in enumerate(within) if part.isdigit()), len(parts) - 2)
        return ".".join(parts[: number + 1])


class Agreement(PlanRecord):
    """Predicted against measured sensitivities of the same layers."""

    layers: dict[Name, tuple[float, float]]
    """Name -> (predicted, measured) damage."""
    correlation: float | None = Field(ge=-1, le=1)
    """Of the ranks (Spearman); None where it is undefined."""
    ratio: float | None = Field(gt=0)
    """Geometric mean of predicted over measured damage; None where none was seen."""
    good: bool
    """Both are close enough to one for the prediction to be used."""

    @property
    def figures(self) -> str:
        """Figures of the agreement, in words."""
        correlation = "undefined" if self.correlation is None else f"{self.correlation:.2f}"
        ratio = "undefined" if self.ratio is None else f"{self.ratio:.2f}"
        return f"rank correlation {correlation}, predicted over measured {ratio} (geometric mean)"

    def __str__(self) -> str:
        return f"{len(self.layers)} layers were measured to check the predicted damage: {self.figures}"
