"""Costs of a machine: what its cost model needs, every number with its unit and where it comes from.

A number is either known, with its source, or assumed, with the reason; all of them can be changed in YAML, with a
source of their own: ``product_ns: {value: 80, source: measured on chip 7}``.
`lhc.costs` holds the formulas.

Another package adds a cost model in one file: a subclass of `CostSection` for its numbers, and its formulas, registered
with `lhc.costs.formulas`. Its entry point in the group ``lhc.costs`` has the name that descriptions give as ``model``,
and leads to the subclass. A description alone never makes lhc import anything that is not installed so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler  # where pydantic 2.9 has it
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from lhc.errors import ConfigError
from lhc.hardware.description.tiles_and_converters import Section, moved
from lhc.support.installed_packages import installed, installed_names, package_of

_GROUP = "lhc.costs"


@dataclass(frozen=True)
class Known:
    """A published or measured number."""

    unit: str
    source: str


@dataclass(frozen=True)
class Assumed:
    """A number that no source gives."""

    unit: str
    reason: str


Source = Annotated[str, Field(min_length=1, max_length=500)]


class Sourced(Section):
    """A number that the description brings, and where it comes from."""

    value: PositiveFloat
    source: Source

    @model_validator(mode="before")
    @classmethod
    def _both_are_there(cls, given: object) -> object:
        if isinstance(given, cls) or (isinstance(given, dict) and {"value", "source"} <= given.keys()):
            return given
        raise ValueError("a number needs its source: write both, value and source, as fields")


class ChipFigures(Section):
    """Areas and standing power of a chip; what is null is not known, and left out of what is shown."""

    tile_mm2: Sourced | None = None
    """mm² of a tile, with its converters and buffers."""
    converters_mm2: Sourced | None = None
    """mm² of a tile's DACs and ADCs, a part of the tile."""
    core_mm2: Sourced | None = None
    """mm² of a digital core."""
    rest_mm2: Sourced | None = None
    """mm² of what is there once: memories, links, pads."""
    rest_mw: Sourced | None = None
    """mW that what is there once draws beside tiles, cores and memory."""

    @model_validator(mode="after")
    def _converters_are_a_part(self) -> "ChipFigures":
        part, tile = self.converters_mm2, self.tile_mm2
        if part is not None and (tile is None or part.value > tile.value):
            raise ValueError("converters_mm2 is a part of tile_mm2: give that too, and at least as much")
        return self


class Figures(Section):
    """Numbers, each by itself or with its source, as ``{value, source}``, in which form it is written again."""

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def sources(self) -> Mapping[str, str]:
        """Sources of the numbers that the description brings, by field; most have none."""
        return self._sources

    @model_validator(mode="wrap")
    @classmethod
    def _with_sources(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401 - not yet read
        if not isinstance(given, dict):
            return handler(given)
        told = {name: one for name, one in given.items() if isinstance(one, dict) and {"value", "source"} & one.keys()}
        sources = {name: cls._source(name, one) for name, one in told.items()}
        made = handler(given | {name: one["value"] for name, one in told.items()})
        made._sources.update(sources)
        return made

    @staticmethod
    def _source(name: str, given: dict[str, object]) -> str:
        wrong: PydanticCustomError | None = None
        if given.keys() != {"value", "source"}:
            wrong = PydanticCustomError("sourced", "write a number, or both value and source, as fields")
        elif not isinstance(given["source"], str) or not 1 <= len(given["source"]) <= 500:
            wrong = PydanticCustomError("source", "source is a text of 1 to 500 characters")
        if wrong is not None:
            raise ValidationError.from_exception_data("Costs", [InitErrorDetails(type=wrong, loc=(name,), input=given)])
        return str(given["source"])

    @model_serializer(mode="wrap")
    def _as_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        return written | {name: {"value": written[name], "source": one} for name, one in self._sources.items()}


class CostSection(Figures):
    """Numbers of a cost model; a subclass has a field of each, marked `Known` or `Assumed`.

    A subclass gives ``model`` its name, as a Literal and as the default.
    """

    model: str
    chip: ChipFigures | None = None
    """Areas of the machine; null: none is known."""
    slices: ClassVar[bool] = False
    """Whether the formulas count the tiles and reads that slices of weights and inputs take; else they are refused."""
    simplifications: ClassVar[tuple[tuple[str, str], ...]] = ()
    """What the formulas leave out or take as simple, for reports: what it is about, and how it is taken."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """JSON schema of a cost model, where any may stand."""
        if cls is not CostSection:
            return handler(schema)
        return {"anyOf": [handler(section.__pydantic_core_schema__) for section in cls.__subclasses__()]}


class Core(Figures):
    """The digital core: an in-order ARMv8 with SIMD, which also feeds the tiles. It runs int8."""

    count: Annotated[int, Field(gt=0, le=65536), Known("", "ALPINE's systems have up to 8; LionHeart's has one")] = 1
    """Cores that work at once, on different samples."""
    waits: Annotated[bool, Known("", "ALPINE: the instruction that starts a product takes as long as the product")] = (
        True
    )
    """Whether a core waits for a product that it has started; else cores, links and tiles work at once on different
    vectors, with buffers between them."""
    clock_ghz: Annotated[PositiveFloat, Known("GHz", "ALPINE's code: default clock, for which it times the tiles")] = (
        2.0
    )
    macs_per_cycle: Annotated[
        PositiveFloat,
        Assumed("MAC/cycle", "LionHeart: 35 % of peak, taken as 8 a cycle; a Cortex-A53 does 3.1 in gemmlowp's kernel"),
    ] = 2.8
    """Of a digital product, unfolding included."""
    gather_cycles: Annotated[
        NonNegativeFloat, Assumed("cycles/element", "load, store and a third of a loop, dual issue")
    ] = 2.0
    """Unfolding (im2col) of one input of one analog product."""
    quantise_cycles: Annotated[
        NonNegativeFloat, Assumed("cycles/element", "24 SIMD instructions for 16 elements, and packing words")
    ] = 2.0
    """From a stored activation to a DAC code in a word for the tile."""
    maximum_cycles: Annotated[NonNegativeFloat, Assumed("cycles/element", "load and maximum of 4 elements")] = 0.5
    """Dynamic input scaling: magnitude of a vector."""
    division_cycles: Annotated[
        NonNegativeFloat, Known("cycles", "ALPINE's code: floating-point latency of its core")
    ] = 6.0
    """Dynamic input scaling: one division per vector and tile."""
    rescale_cycles: Annotated[
        NonNegativeFloat, Assumed("cycles/element", "unpack, convert and scale 4 elements in 8 SIMD instructions")
    ] = 2.0
    """From an ADC code to an activation: scales of the column, of the vector, and of drift compensation."""
    add_cycles: Annotated[NonNegativeFloat, Assumed("cycles/element", "load, add and store 4 elements")] = 1.0
    """Adding a partial sum of another tile."""
    convert_cycles: Annotated[NonNegativeFloat, Assumed("cycles/element", "scale, round and narrow, SIMD")] = 1.0
    """A crossing: between activations of analog products and the int8 of digital ones."""
    elementwise_cycles: Annotated[
        NonNegativeFloat, Assumed("cycles/element", "16 elements at a time, memory-bound")
    ] = 1.0
    """Operators that are no products: ReLU, additions, pooling, normalisation by constants."""
    function_cycles: Annotated[NonNegativeFloat, Assumed("cycles/element", "a polynomial and a division")] = 20.0
    """Operators with a function or a division in them: softmax, GELU, layer normalisation."""
    active_pj_per_cycle: Annotated[
        NonNegativeFloat,
        Known("pJ/cycle", "Cortex-A53 in 28 nm with caches, measured: Hikey board, 960 MHz, running less waiting"),
    ] = 320.0
    waiting_pj_per_cycle: Annotated[
        NonNegativeFloat, Assumed("pJ/cycle", "a stalled core takes a third of the 320 pJ of a running one")
    ] = 100.0
    """While it waits for a tile or for memory."""


class TileCosts(Figures):
    """One tile of the geometry in ``tiles``, with its converters and buffers."""

    product_ns: Annotated[PositiveFloat, Known("ns", "ALPINE: 100 ns for 256x256, from a 14 nm PCM chip")] = 100.0
    product_pj_per_cell: Annotated[
        NonNegativeFloat, Known("pJ/cell", "ALPINE: 12.8 TOPS/W in 14 nm, times 5.3 for its 28 nm system")
    ] = 0.828
    """One product with DACs and ADCs, per unit cell of the tile, however few are used."""
    io_bytes_per_ns: Annotated[PositiveFloat, Known("B/ns", "ALPINE: 4 int8 values per instruction of 1 ns")] = 4.0
    """To a tile and from it, in words of 4 bytes."""
    links: Annotated[Literal["core", "own"], Known("", "ALPINE: instructions of the core move every word")] = "core"
    """Whether a core moves inputs and outputs one after the other, or every tile has a link of that rate, all of which
    work at once."""
    buffer_pj_per_byte: Annotated[
        NonNegativeFloat, Known("pJ/B", "Horowitz, ISSCC 2014: 10 pJ for 64 bits of an 8 kB memory, 45 nm")
    ] = 1.25
    """Input and output memory of a tile."""
    schedule: Annotated[Literal["serial", "parallel"], Assumed("", "one core starts the tiles one after the other")] = (
        "serial"
    )
    """Whether the tiles of one product work one after the other or all at once."""
    reread_share: Annotated[
        NonNegativeFloat,
        Assumed("", "without copies; none in 288,276 vectors of digits and ResNet20 on lionheart"),
    ] = 0.0
    """Products that bound management repeats, as a share of all, where nothing was measured: at least so many."""
    samples_per_readout: Annotated[
        PositiveFloat, Assumed("samples", "drift is logarithmic: hours between read-outs")
    ] = 1e6
    """Samples between two read-outs of drift compensation, each one product per row and tile."""


class Memory(Figures):
    """Memory that holds the weights of digital products: the cache if those of all products fit, else DRAM."""

    cache_bytes: Annotated[PositiveInt, Known("B", "ALPINE's example system: 1 MB of L2")] = 1048576
    dram_gb_per_s: Annotated[PositiveFloat, Known("GB/s", "IBM 3D-CiM-LLM-Inference-Simulator: default")] = 5.332
    dram_pj_per_byte: Annotated[NonNegativeFloat, Assumed("pJ/B", "ALPINE: 120 pJ per access, taken as 8 bytes")] = 15.0


class AlpineCosts(CostSection):
    """A core with tightly coupled tiles, after ALPINE (Klein et al., IEEE TC 72(7), 2023): LionHeart's system."""

    model: Literal["alpine"] = "alpine"
    core: Core = Core()
    tile: TileCosts = TileCosts()
    memory: Memory = Memory()

    slices = True
    simplifications = (
        ("unfolding", "every input of every analog product is gathered anew; neighbouring products share nothing"),
        ("inputs", "the tiles of one row of tiles receive an input together; every tile delivers its own outputs"),
        ("groups", "the groups of a convolution are driven one at a time"),
        (
            "reads again",
            "sums of copies beyond the ADC's bound: as often as measured, else log2(k) - 1 times for k copies",
        ),
        (
            "other operators",
            "shapes, casts, views and what merges into a product cost nothing; others what they read or write",
        ),
        (
            "crossings",
            "operators between products work on either format; conversion is put where the fewest elements pass",
        ),
        ("converters", "product_ns and product_pj_per_cell hold for the converters' resolution, whatever it is"),
    )


_ODIMO = "ODiMO: github.com/eml-eda/odimo-journal, models/hw_models.py"


class DianaCosts(CostSection):
    """DIANA (Houshmand et al., JSSC 58(1), 2023) by the analytical model of Risso et al. (ODiMO, TCAD 2025).

    One analog macro and one digital array that work in turn on a shared memory. Operators that are no products, which
    the published model leaves out, pass through that memory.
    """

    model: Literal["diana"] = "diana"
    clock_mhz: Annotated[PositiveFloat, Known("MHz", _ODIMO)] = 260.0
    product_ns: Annotated[PositiveFloat, Known("ns", _ODIMO)] = 70.0
    macro_rows: Annotated[PositiveInt, Known("rows", _ODIMO)] = 1152
    macro_cols: Annotated[PositiveInt, Known("columns", _ODIMO)] = 512
    macro_channels: Annotated[PositiveInt, Known("channels", _ODIMO)] = 128
    """Input channels of one product."""
    least_channels: Annotated[PositiveInt, Known("channels", _ODIMO)] = 64
    """Rows are taken for at least so many channels where products of neighbouring outputs share the macro."""
    load_cycles_per_row: Annotated[NonNegativeFloat, Known("cycles/row", _ODIMO)] = 8.0
    """Weights are written for every layer and sample; 0: they stay."""
    array_size: Annotated[PositiveInt, Known("", _ODIMO)] = 16
    """Output channels, and output columns, that the digital array computes at once."""
    io_bytes_per_cycle: Annotated[PositiveFloat, Known("B/cycle", _ODIMO)] = 8.0
    """Activations of a digital layer, in and out."""
    other_bytes_per_cycle: Annotated[
        NonNegativeFloat, Assumed("B/cycle", "pooling and additions pass through the memory as activations do")
    ] = 8.0
    """Operators that are no products, the greater of what they read and write; 0: they cost nothing."""
    analog_mw: Annotated[NonNegativeFloat, Known("mW", _ODIMO)] = 28.74
    """Chip while the macro works."""
    digital_mw: Annotated[NonNegativeFloat, Known("mW", _ODIMO)] = 24.96
    """Chip while the digital array works."""

    simplifications = (
        (
            "digital precision",
            "digital layers run in int8; analog ones on 7-bit inputs, ternary weights and 6-bit outputs",
        ),
        ("shape", "outputs are square where their number is a square, else one line; a matrix is a 1x1 convolution"),
        ("groups", "the published model has no grouped analog layers: their groups are driven one at a time"),
        ("other operators", "ReLU and the like are applied where outputs are made, and cost nothing; so do crossings"),
    )


_SHIPPED: dict[str, type[CostSection]] = {"alpine": AlpineCosts, "diana": DianaCosts}


def cost_models() -> tuple[str, ...]:
    """Names of the cost models that there are, those of other packages last."""
    return (*_SHIPPED, *(name for name in installed_names(_GROUP) if name not in _SHIPPED))


def _section(name: str) -> type[CostSection]:
    """The section of a model that there is."""
    if name in _SHIPPED:
        return _SHIPPED[name]
    entry = installed(_GROUP, name)
    assert entry is not None
    try:
        found = entry.load()
    except Exception as error:  # a package can raise anything while it is imported
        raise ConfigError(
            f"{package_of(entry)}: its cost model {name!r} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, CostSection) and found.model_fields["model"].default == name):
        raise ConfigError(f"{package_of(entry)}: {entry.value} is no CostSection whose model is {name!r}")
    return found


def _read(value: object) -> object:
    """The section that ``model`` names (``alpine`` where it is missing)."""
    if isinstance(value, CostSection):
        return value
    name = value.get("model", "alpine") if isinstance(value, dict) else None
    if not isinstance(name, str) or (name not in _SHIPPED and name not in cost_models()):
        models = ", ".join(map(repr, cost_models()))
        raise PydanticCustomError("cost_model", "choose a cost model: {models}", {"models": models})
    try:
        return _section(name).model_validate(value)
    except ValidationError as error:
        details = [moved(detail, (name,)) for detail in error.errors()]
        raise ValidationError.from_exception_data("Costs", details) from error


Costs = Annotated[SerializeAsAny[CostSection], BeforeValidator(_read)]
"""A cost model, told apart by its field ``model``."""
