"""Sections of a hardware description, apart from the devices."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    PlainSerializer,
    PositiveInt,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from lhc.support.documents import holds_more
from lhc.support.number_bounds import GREATEST, SMALLEST, in_range

MOST_BITS = 16
"""Of a weight's magnitude, where it is rounded."""
MOST_VALUES = 2**16
"""Of the attributes of an object: plans and annotated models hold them."""
UNLIMITED = 2**30
"""Rows or columns of a tile that is as large as its layer needs: more than any matrix has."""
LARGEST = 65536
"""Rows or columns of a tile that has a size."""
DriftCompensation = Literal["global", "global-exact", "per-column", "none"]


Array = TypeVar("Array")


@dataclass(frozen=True)
class RareEffect:
    """Mark of a field of `Dac` or `Adc` whose effect, where it is not at its default, the engine ``fast`` leaves out.

    Attributes:
        what: the machine does, with ``{}`` for the field's value: "has ADCs that begin at 0".
        ablation: effect of `lhc.hardware.ablations` that sets the field to its default; empty where that needs more.
        compiled: whether compiled files have it; they are refused where they do not.
    """

    what: str
    ablation: str = ""
    compiled: bool = True


class Section(BaseModel):
    """Unknown fields are errors, values never change, and every number is 0 or of a magnitude that can be squared."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def rare_fields(cls) -> dict[str, RareEffect]:
        """The fields that are marked as rare effects."""
        marks = ((name, mark) for name, field in cls.model_fields.items() for mark in field.metadata)
        return {name: mark for name, mark in marks if isinstance(mark, RareEffect)}

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - of any field
        """pydantic takes true for 1."""
        if isinstance(value, bool):
            kind = cls.model_fields[info.field_name or ""].annotation
            if bool not in (kind, *get_args(kind)) and {int, float} & {kind, *get_args(kind)}:
                raise PydanticCustomError("number", "a number is wanted, not true or false")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _can_be_squared(cls, value: Any) -> Any:  # noqa: ANN401 - of any field
        if not _in_range(value):
            wrong = f"a number is 0 or of a magnitude of {SMALLEST:g} to {GREATEST:g}"
            raise PydanticCustomError("magnitude", wrong)
        return value


def _in_range(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_in_range, value))
    return not isinstance(value, int | float) or in_range(value)


def _is_size(value: int) -> int:
    if value <= 0 or LARGEST < value != UNLIMITED:
        bound = "above 0" if value <= 0 else f"at most {LARGEST}"
        raise ValueError(f"must be {bound}, or null: as many as a layer needs")
    return value


TileSize = Annotated[
    int,
    BeforeValidator(lambda value: UNLIMITED if value is None else value),
    AfterValidator(_is_size),
    PlainSerializer(lambda value: None if value == UNLIMITED else value, return_type=int | None),
]
"""Rows or columns of a tile; null is `UNLIMITED`."""


class Tiles(Section):
    """Crossbar geometry, in unit cells (one differential pair of devices each)."""

    rows: TileSize = 256
    """Inputs of one tile; null: as many as a layer has, as aihwkit's ``max_input_size = 0``."""
    cols: TileSize = 256
    """Outputs of one tile; null: as many as a layer has, as aihwkit's ``max_output_size = 0``."""
    count: PositiveInt | None = None
    """Tiles of the whole machine, over all analog layers; null: no bound."""

    @property
    def limited(self) -> bool:
        """Whether a tile has a size, whatever layer it holds."""
        return UNLIMITED not in (self.rows, self.cols)

    @property
    def size_text(self) -> str:
        """Rows by columns: ``256x255``, ``512xany``."""
        return "x".join("any" if size == UNLIMITED else str(size) for size in (self.rows, self.cols))


class Converter(Section):
    """Converter with evenly spaced codes about 0, from -bound to bound, or from 0 on: base of DAC and ADC."""

    bits: int | None
    bound: float | None

    @property
    def from_zero(self) -> bool:
        """Whether codes begin at 0."""
        return False

    @property
    def step(self) -> float | None:
        """Step of one code, in units of the full scale; None where nothing is quantised."""
        if self.bits is None or self.bound is None:
            return None
        return self.bound / float(2**self.bits - 1) if self.from_zero else 2 * self.bound / float(2**self.bits - 2)

    @property
    def rounding_variance(self) -> float:
        """Variance of what rounding adds, its errors taken as uniform, in units of the full scale squared."""
        step = self.step or 0.0
        return step * step / 12


class Dac(Converter):
    """Input side of a tile."""

    bits: int | None = Field(default=8, ge=2, le=24)
    """Resolution: 2^bits - 2 steps over the range, 2^bits - 1 where ``code`` is unsigned; null: not quantised."""
    bound: float | None = Field(default=1.0, gt=0)
    """Inputs are clipped to ±bound after scaling; null: unbounded."""
    scaling: Literal["abs_max", "static", "none"] = "abs_max"
    """``abs_max`` divides every input vector by its greatest magnitude (dynamic input scaling). ``static`` clips
    inputs to ±R and divides them by R, one range R per layer and row split of its tiles, calibrated on data."""
    range_quantile: float = Field(default=0.9999, gt=0, le=1)
    """``static``: R is this quantile of the magnitudes of a layer's inputs; 1: their maximum."""
    slice_bits: Annotated[int | None, RareEffect("drives inputs in slices")] = Field(default=None, ge=1, le=16)
    """Bits of an input's magnitude that are driven at once; every slice is read by the ADCs, and what they give is
    shifted and added digitally. null: all bits at once."""
    code: Annotated[
        Literal["sign-magnitude", "twos-complement", "unsigned"], RareEffect("drives inputs in the code {}")
    ] = "sign-magnitude"
    """How slices hold a sign: each in the sign of the input, or one slice more for it, which is driven by negative
    inputs and counts negatively. ``unsigned``: codes begin at 0, and inputs below 0 are clipped to it."""
    signs: Literal["fixed", "layer", "calibrated"] = "fixed"
    """``fixed``: ``code`` is that of all layers. ``layer``: it is to be found on data, for every layer by itself:
    ``unsigned`` where no input is below 0; then it is ``calibrated``, in an override for the layer that plans have."""

    @property
    def from_zero(self) -> bool:
        """See `Converter`."""
        return self.code == "unsigned"

    @model_validator(mode="after")
    def _slices_are_of_codes(self) -> "Dac":
        if self.slice_bits is not None and not 2 <= (self.bits or 0) <= MOST_BITS + (not self.from_zero):
            most = MOST_BITS + (not self.from_zero)
            raise ValueError(f"slice_bits: inputs of bits from 2 to {most} can be driven in slices")
        return self

    @model_validator(mode="after")
    def _code_is_that_of_ranges(self) -> "Dac":
        if self.code == "twos-complement" and self.slice_bits is None:
            raise ValueError("code: twos-complement needs slice_bits: its sign is a slice")
        if (self.code == "unsigned" or self.signs != "fixed") and self.scaling != "static":
            raise ValueError(
                "code: unsigned and signs need scaling: static, since the range of one vector does not say whether"
                " others are negative"
            )
        if self.code == "unsigned" and self.to_calibrate:
            raise ValueError("signs: layer finds the layers that are unsigned; code is that of the others")
        return self

    @property
    def to_calibrate(self) -> bool:
        """Whether it is still to be found if inputs have signs."""
        return self.signs == "layer"

    @property
    def lows(self) -> tuple[int, ...]:
        """The first bit of the magnitude of every slice, the least significant slice first; none without slices."""
        if self.slice_bits is None or self.bits is None:
            return ()
        return tuple(range(0, self.bits - (not self.from_zero), self.slice_bits))

    @property
    def reads(self) -> tuple[float, ...]:
        """Weight of each read of a product, the least significant input slice first.

        In two's complement the last one is that of the signs.
        """
        if self.slice_bits is None or self.bits is None:
            return (1.0,)
        greatest, bits = 2**self.slice_bits - 1, self.bits - (not self.from_zero)
        counted = tuple(greatest * 2**low / (2**bits - 1) for low in self.lows)
        return (*counted, -(2**bits) / (2**bits - 1)) if self.code == "twos-complement" else counted

    @property
    def clip(self) -> float | None:
        """Greatest magnitude of a scaled input; None where none is clipped: scaled vectors and ranges end at 1."""
        return None if self.bound is None or (self.bound >= 1 and self.scaling != "none") else self.bound


class Adc(Converter):
    """Output side of a tile."""

    bits: int | None = Field(default=8, ge=2, le=24)
    """Resolution: 2^bits - 2 steps over ±bound, or 2^bits - 1 from 0 to bound; null: not quantised."""
    bound: float | None = Field(default=12.0, gt=0)
    """Outputs saturate at ±bound; null: unbounded."""
    polarity: Annotated[Literal["bipolar", "unipolar"], RareEffect("has ADCs that begin at 0")] = "bipolar"
    """``unipolar``: the range begins at 0, and what noise takes below it is clipped; for sums that are never negative,
    of inputs and weights whose signs are slices of their own."""
    zero_skipping: Annotated[bool, RareEffect("reads all-zero vectors and columns")] = True
    """Whether all-zero vectors are not driven and all-zero columns not converted. If not, they have the noise of ADCs
    as others do."""
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of the normal noise added to every output before the ADC, in units of the
    product of one full-scale input and one full-scale weight."""
    cell_mismatch: Annotated[float, RareEffect("has noise that depends on outputs")] = Field(default=0.0, ge=0, le=10)
    """What the mismatch of the cells' capacitors adds to ``noise`` in charge-based tiles, in every product anew: for an
    output of z, in the same unit, the variance is ``noise``² (1 + ``cell_mismatch``² / (1 + |z|)), as in ASiM (Zhang
    et al., arXiv 2411.11022; its README and code)."""
    bound_management: Literal["iterative", "none"] = "iterative"
    """``iterative`` halves the inputs of a vector that saturates and reads it again; ``none`` clips it."""
    sensing: Annotated[Literal["current", "voltage"], RareEffect("senses voltages")] = "current"
    """``current``: the sum of what a column's devices conduct. ``voltage``: that over the conductance of the whole
    column, by which outputs are multiplied digitally; ``bound`` and ``noise`` are then in units of a full-scale input,
    and columns of more conductance have coarser steps in the product; see `lhc.hardware.converters`."""
    range: Literal["fixed", "layer", "column", "calibrated"] = "fixed"
    """``fixed``: ``bound`` is that of all layers. ``layer``, ``column``: it is to be calibrated on data, for every
    layer, or every output of one, by itself; then it is ``calibrated``, in an override for the layer that plans have.
    """
    range_quantile: float = Field(default=0.9999, gt=0, le=1)
    """Calibrated: the bound is this quantile of the magnitudes of what ideal tiles give; 1: their maximum."""
    columns: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None = None
    """Calibrated by column: range of every output of the layer, as a share of ``bound``."""
    kind: Literal["ideal", "sar", "ramp"] = "ideal"
    """``ideal``: steps are all alike. ``sar``: levels are those of an array of capacitors that every ADC has, ``ramp``:
    of one that all ADCs of a tile share; see `lhc.hardware.converters`."""
    capacitor_mismatch: Annotated[float, RareEffect("has ADCs whose capacitors differ")] = Field(
        default=0.0, ge=0, le=0.1
    )
    """``sar``, ``ramp``: relative standard deviation of the unit capacitor, frozen in every chip."""
    columns_per_adc: PositiveInt = 1
    """``sar``: neighbouring columns of a tile that one ADC converts after each other."""

    @property
    def from_zero(self) -> bool:
        """See `Converter`."""
        return self.polarity == "unipolar"

    @property
    def reads_again(self) -> bool:
        """Whether vectors that saturate it are read again, with smaller inputs."""
        return self.bound_management == "iterative" and self.bound is not None

    @model_validator(mode="after")
    def _kind_has_its_numbers(self) -> "Adc":
        if self.polarity == "unipolar" and self.kind != "ideal":
            raise ValueError("polarity: unipolar needs kind: ideal: other kinds tell the sign first")
        if self.kind == "ideal" and self.capacitor_mismatch > 0:
            raise ValueError("capacitor_mismatch is that of kind: sar or kind: ramp")
        if self.kind != "sar" and self.columns_per_adc > 1:
            raise ValueError("columns_per_adc is that of kind: sar")
        if self.kind != "ideal" and (self.bits is None or self.bits > MOST_BITS):
            raise ValueError(f"kind: {self.kind} needs bits, at most {MOST_BITS}")
        if self.kind == "ramp" and self.bits and self.capacitor_mismatch > 0.25 * 2 ** (0.5 - self.bits / 2):
            raise ValueError(
                "kind: ramp needs levels that ascend: capacitor_mismatch is at most 0.25 / 2^((bits - 1) / 2)"
            )
        return self

    @model_validator(mode="after")
    def _has_what_is_calibrated(self) -> "Adc":
        if self.to_calibrate and self.bound is None:
            raise ValueError(f"range: {self.range} calibrates bound, which is null: nothing is bounded")
        if self.noise > 0 and (self.range == "column" or self.columns is not None):
            raise ValueError(
                "range: column is for ADCs without noise: whether it grows with the range is not described"
            )
        return self

    @property
    def to_calibrate(self) -> bool:
        """Whether its range is still to be found."""
        return self.range in ("layer", "column")


class Mapping(Section):
    """Scaling of a weight matrix onto conductances."""

    omega: float = Field(default=1.0, ge=0, le=1)
    """The greatest weight of a column (or tile) is omega in the unit of DACs and ADCs. 0: weights are not scaled, and
    that unit is a weight of 1, as aihwkit's ``weight_scaling_omega = 0``. Conductances do not depend on it: the
    greatest weight of a tile has g_max."""
    columnwise: bool = True
    """Scale every column of a tile by its own greatest weight; otherwise one scale a tile."""
    cell_bits: int | None = Field(default=None, ge=1, le=16)
    """Bits of a weight's magnitude that a cell holds; weights are rounded to what their cells hold. null: any value."""
    slices: int = Field(default=1, ge=1, le=8)
    """Tiles that a weight is spread over, with ``cell_bits`` of its magnitude on each and ADCs of their own; what they
    give is shifted and added digitally."""
    code: Literal["sign-magnitude", "twos-complement"] = "sign-magnitude"
    """How slices hold a sign: each in the sign of the weight, or one bit each (``cell_bits: 1``), of which the most
    significant one counts negatively."""

    def scales(self, greatest: Array) -> Array:
        """Mapping scale of aihwkit: value of one unit of a tile's output.

        Args:
            greatest: magnitude of the weights of a column, or of the tile; an array of any library.
        """
        return greatest / self.omega if self.omega > 0 else greatest * 0 + 1  # type: ignore[operator, return-value]

    @model_validator(mode="after")
    def _cells_have_a_full_scale(self) -> "Mapping":
        if self.omega == 0 and self.cell_bits is not None:
            raise ValueError("cell_bits round weights to shares of a full scale, which omega: 0 does not have")
        return self

    @model_validator(mode="after")
    def _slices_have_bits(self) -> "Mapping":
        if self.code == "twos-complement" and (self.cell_bits != 1 or self.slices < 2):
            raise ValueError("code: twos-complement needs cell_bits: 1 and at least two slices")
        if self.slices > 1 and self.cell_bits is None:
            raise ValueError("slices need cell_bits: how many bits of a weight each of them holds")
        if self.slices * (self.cell_bits or 0) > MOST_BITS:
            raise ValueError(f"slices x cell_bits: at most {MOST_BITS} bits of magnitude")
        return self


def _few(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if holds_more(values, MOST_VALUES):
        raise ValueError(f"more than {MOST_VALUES} values; let the class read a file of its own")
    return values


ClassName = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$", max_length=500)]
"""``module:Class``."""
Parameters = Annotated[dict[str, JsonValue], AfterValidator(_few)]
"""By name of an argument or attribute; tuples, arrays and tensors are mappings of ``$tuple``, ``$array``, ``$tensor``.
"""


class UserObject(Section):
    """An object of aihwkit's, or of the user's, by its class."""

    type: ClassName
    """Its class, ``module:Class``."""
    parameters: Parameters = Field(default_factory=dict)
    """Arguments of the constructor, and attributes that are set afterwards."""


def _kind_of_drift(value: object) -> str:
    return "object" if isinstance(value, dict | UserObject) else "kind"


class Compensation(Section):
    """Compensation of device errors without training: drift compensation, calibration of outputs."""

    drift: Annotated[
        Annotated[DriftCompensation, Tag("kind")] | Annotated[UserObject, Tag("object")], Discriminator(_kind_of_drift)
    ] = "global"
    """``global``: one gain a tile, the mean magnitude of a read-out after programming over that at the time of
    inference (Joshi et al., Nat. Commun. 2020). ``none``: no gain. ``global-exact``: over the read-out that ideal
    devices would give. ``per-column``: one gain a column. An object of aihwkit's interface (`BaseDriftCompensation`),
    by its class: ``{type: module:Class, parameters: {…}}``."""
    copies: bool = True
    """Whether inputs may drive further rows of tiles that hold the same weights on devices of their own."""
    outputs: Literal["affine", "offset", "none"] = "affine"
    """What is corrected digitally per column of every chip: on calibration samples, outputs get the mean (``offset``),
    or mean and deviation (``affine``), of the digital network's (as AdaBS: Joshi et al., Nat. Commun. 2020)."""
    samples: PositiveInt = 256
    """Calibration samples, without labels."""
    reads: PositiveInt = 4
    """Reads that the calibration samples are spread over, each with read noise drawn anew."""
    when: Literal["readout", "programming", "age", "period"] = "readout"
    """When outputs are calibrated: at the time of inference, with the read-out of drift compensation (``readout``);
    once, at the first read (``programming``); once, at ``time_s`` (``age``), before which no results are known; at the
    first read and every ``time_s`` after it (``period``)."""
    time_s: float | None = Field(default=None, gt=0)
    """For ``age`` and ``period``, in seconds after the first read."""

    @model_validator(mode="after")
    def _has_its_time(self) -> "Compensation":
        if (self.time_s is not None) != (self.when in ("age", "period")):
            raise ValueError("time_s belongs to when: age or when: period, which need it")
        return self

    def calibrated_at(self, t_s: float) -> float:
        """Time of the last calibration of outputs before a time of inference, in seconds after the first read.

        With ``age`` there is none before ``time_s``; `lhc.hardware.Hardware.check_time` refuses such times.
        """
        if self.when == "readout":
            return t_s
        if self.time_s is None:
            return 0.0
        return min(self.time_s, t_s) if self.when == "age" else t_s // self.time_s * self.time_s


class Training(Section):
    """Noise and limits of hardware-aware training (not used for inference)."""

    weight_noise: float = Field(default=0.08, ge=0)
    """Standard deviation of the normal weight noise; 0: none."""
    weight_noise_type: Literal["multiplicative", "additive"] = "multiplicative"
    """``multiplicative``: relative to each weight; ``additive``: relative to the greatest weight of the tile."""
    clip: float | None = Field(default=1.0, gt=0)
    """Weights are clipped to ±clip after every step, relative to the tile's full scale; null: not clipped."""
    clip_sigma: float | None = Field(default=None, gt=0)
    """Weights are clipped to this many standard deviations of the tile's weights, but never above ``clip``."""
    remap: Literal["channelwise", "layerwise", "none"] = "channelwise"
    """Columns, or tiles, are rescaled to the full range after every step."""
    out_scaling: Literal["columnwise", "tile", "none"] = "columnwise"
    """Whether a digital scale of every column, or of every tile, is learned."""
    learn_input_range: bool = True
    """``dac.scaling: static``: whether the ranges are learned, from the calibrated ones on."""


class LeftOut(Section):
    """An effect of the described machine that the emulation leaves out; users are told whenever it is used."""

    name: str
    """Of the effect, or of aihwkit's setting."""
    size: str
    """How large it is, with its unit."""
    text: str
    """What it is and what leaving it out changes."""
    read_noise: bool = False
    """It is read noise of devices, which devices that were measured have in their own tables."""


def moved(detail: ErrorDetails, where: tuple[str | int, ...]) -> InitErrorDetails:
    """Problem with a field, at a path that begins further up."""
    # As a value and not as the template, in which a brace of the message would begin a field.
    wrong = PydanticCustomError(detail["type"], "{message}", {"message": detail["msg"]})
    return InitErrorDetails(type=wrong, loc=(*where, *detail["loc"]), input=detail["input"])
