"""The plan: which products run on analog tiles, why, and what that rests on.

One schema for everything that stores or exchanges decisions: it is written into the model, given to
`HybridSession`, and drawn by the report. A plan is never changed; passes return new ones.
"""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from lhc.errors import ConfigError, UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.hardware.description.overrides import problem
from lhc.plan.conformance_result import Conformance
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.plan.field_types import (
    Chips,
    Count,
    Digest,
    Interval,
    Level,
    Name,
    Number,
    Samples,
    Seconds,
    Seed,
    Share,
    Version,
    alike,
    check_drop,
    check_interval,
    check_verdict,
    first_double,
)
from lhc.plan.layer_plan import NEVER_ANALOG, Agreement, Decision, LayerPlan, PlanRecord, Sensitivity
from lhc.support.documents import read_yaml, write_yaml
from lhc.support.number_bounds import MOST_COPIES
from lhc.support.number_formatting import counted, drop_word, number_text

SCHEMA_VERSION = 1


class CurvePoint(PlanRecord):
    """One point of a learning curve."""

    step: Count
    loss: float | None
    """Mean since the point before; none before the first step."""
    drop: float
    """Of the validation, in the metric's unit; larger is worse."""


class Retrained(PlanRecord):
    """Training of the weights under the noise of tiles: settings and course."""

    source: Digest
    """SHA-256 of the model that training began with, and that drops are against."""
    layers: tuple[Name, ...]
    """Layers that were analog while it was trained."""
    steps: Count
    batch_size: Samples
    loss: Name
    seed: Seed
    samples: Samples
    data: Digest
    """SHA-256 of the training samples."""
    curve: tuple[CurvePoint, ...] = ()
    adapters: Samples | None = None
    """Rank of the adapters that were trained instead of the weights; None where the weights were."""
    learning_rate: float | None = Field(default=None, gt=0)
    """At the start, of the weights of analog layers."""

    @model_validator(mode="after")
    def _steps_are_in_order(self) -> Self:
        steps = [point.step for point in self.curve]
        if steps != sorted(steps):  # a walk judges several placements with the same weights
            raise ValueError("curve: its steps must ascend")
        if steps and steps[-1] > self.steps:
            raise ValueError(f"curve: step {steps[-1]:,} of {self.steps:,}")
        return self


class Estimate(PlanRecord):
    """Estimate of a placement from sensitivities: their sum, and the drop that such sums come to."""

    metric: Name
    """Unit of the damage."""
    damage: float = Field(ge=0)
    predicted_drop: float
    """The damage times the factor."""
    factor: float = Field(gt=0)
    """Measured drops over estimated damages, over the placements that the search judged."""
    spread: float = Field(ge=0)
    """Mean deviation of a measured drop from its prediction, as a share of the mean drop's magnitude."""
    placements: Samples

    @model_validator(mode="after")
    def _predicted_by_the_factor(self) -> Self:
        if not alike(self.predicted_drop, self.factor * self.damage):
            raise ValueError(f"predicted_drop: {self.predicted_drop:g} is not the damage times the factor")
        return self


class Healing(PlanRecord):
    """Mean drops of the placement without healing, and with what of it there is, on the samples that verify."""

    draws: Chips
    """Chips, the same for all figures."""
    samples: Samples
    neither: float
    copies: float | None = None
    """With copies of weights alone; None where no layer has more than one."""
    calibration: float | None = None
    """With outputs calibrated alone; None where the machine does not correct them."""
    both: float | None = None
    """None where there is but one of them."""
    calibration_samples: Count = 0
    reads: Count = 0
    """Reads that the calibration samples of every chip are spread over."""

    @model_validator(mode="after")
    def _of_what_there_is(self) -> Self:
        if self.copies is None and self.calibration is None:
            raise ValueError("copies: neither they nor a calibration")
        if (self.both is None) == (self.copies is not None and self.calibration is not None):
            raise ValueError("both: given where there are copies and a calibration, and only there")
        if (self.calibration is None) != (self.calibration_samples == 0):
            raise ValueError("calibration_samples: given where there is a calibration, and only there")
        return self


class TestedPlacement(PlanRecord):
    """A placement that was tested on samples and chips of its own, whatever came of it."""

    __test__ = False  # nothing for pytest
    layers: Count
    """That are analog, as tables count them."""
    analog_mac_fraction: Share
    """Share of all MACs by stored weights."""
    drop: float
    interval: Interval | None
    """Of the mean drop: the one that decides."""
    draws: Chips
    within_budget: bool

    @model_validator(mode="after")
    def _lies_in_its_interval(self) -> Self:
        check_interval("interval", self.interval, self.drop, "drop")
        return self


class HarmfulCalibration(PlanRecord):
    """Errors of the same chips with every layer on tiles that may be (nmse), which made lhc correct no outputs."""

    calibrated: float = Field(ge=0)
    uncalibrated: float = Field(ge=0)
    chips: Chips
    samples: Samples

    @property
    def text(self) -> str:
        """Sentence on the calibration that is left out, with both figures."""
        return (
            "chips are not calibrated, since that does harm here: with all eligible layers on tiles, the nmse of"
            f" {self.chips} chips is {number_text(self.calibrated)} calibrated and"
            f" {number_text(self.uncalibrated)} as they are, on {counted(self.samples, 'sample')}"
        )


class OutputOutcome(PlanRecord):
    """Outcome at an output that was judged beside the first, on the same samples and chips."""

    output: Name
    metric: Name
    higher_is_better: bool | None = None
    percent: bool
    max_drop: float = Field(gt=0)
    """Its own budget, in the unit of its metric."""
    baseline: float
    value: float
    drop: float
    interval: Interval | None
    """Of the mean drop: the one that decides."""
    within_budget: bool

    @model_validator(mode="after")
    def _is_what_can_be_measured(self) -> Self:
        check_drop(self.baseline, self.value, self.drop, self.higher_is_better, self.percent)
        check_verdict(self.within_budget, self.drop, self.interval, self.max_drop)
        return self


class Outcome(PlanRecord):
    """Outcome of the placement on data: the figures that the decision rests on."""

    metric: Name
    higher_is_better: bool | None = None
    """Direction of the metric; None in plans of earlier versions."""
    output: Name | None = None
    """The output that was scored; None likewise."""
    class_axis: Number | None = None
    """Axis of that output with the scores of classes, counted from 0, where it is known."""
    sample_axes: dict[str, Annotated[int, Field(ge=-64, le=64)] | Literal["call"]] = Field(default_factory=dict)
    """Axes that count samples, by input or output, as the user named them; a call may be a sample."""
    further: tuple[OutputOutcome, ...] = ()
    """Outputs that had to hold budgets of their own too; the numbers here are of the first one."""
    metric_note: str | None = None
    """Why it is this metric, where the outputs alone say so."""
    percent: bool
    baseline: float
    value: float
    drop: float
    interval: Interval | None
    """Of the mean drop: the one that decides."""
    chip_interval: Interval | None = None
    """Over chips, on these samples."""
    sample_interval: Interval | None = None
    """Over chips and samples."""
    generalized: bool = False
    """Whether the second decides."""
    confidence: Level
    """Two-sided level of the intervals; a part of the chance of error is kept for safer placements."""
    one_chip: bool = False
    """Whether every draw is a programming of one chip whose stuck cells are known, so that others are not judged."""
    chips_within: Share
    """Share of draws whose own drop is within the budget."""
    yield_share: Level | None = None
    """Of all chips, that was to be shown to hold the budget one by one; None: their mean alone."""
    yield_shown: bool | None = None
    """Whether it was; None likewise."""
    max_drop: float = Field(ge=0)
    drop_type: Literal["absolute", "relative"]
    within_budget: bool
    error: Share | None = None
    """Chance that a placement over the budget is accepted, by this test or by those of earlier commands that these
    weights, or those they were trained from, did not pass; None in plans of earlier versions."""
    tests: Samples = 1
    """Commands that made these tests."""
    digital_drop: float | None = None
    """Drop of the network without analog layers in the arithmetic of the machine, on the same samples; None where that
    is the file's, and in plans of earlier versions."""
    held_out: bool
    """Whether the samples took no part in the search."""
    samples_note: str | None = None
    """What they took part in, where there is more to it."""
    samples: Samples
    documents: Samples | None = None
    """That the samples are of; None where every sample stands alone."""
    draws: Chips
    first_draw: Number | None = None
    """Number of its first programming; None in plans of earlier versions, and where nothing was searched."""
    seed: Seed
    t_s: Seconds
    engine: Literal["fast", "aihwkit", "fast16"] = "fast"
    """How products on tiles were computed; fast16, of earlier versions, rounded programmed weights to 16 bits."""
    engine_reason: str | None = None
    """Why that engine, as a clause; None where it is the default one, and in plans of earlier versions."""
    strategy: Name
    data: Digest
    """SHA-256 of the samples."""
    retrained: Retrained | None = None
    """None where the weights are those of the model that was given."""
    training_note: str | None = None
    """What became of a training, in a sentence or two; None where there was none."""
    objective: Literal["macs", "latency", "energy"] = "macs"
    """What the search was after."""
    limits: dict[Literal["tiles", "latency", "energy"], Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Bounds that the user set: tiles, latency (s), energy (J)."""
    limits_kept: bool = True
    """Whether the placement keeps to them."""
    groups: tuple[tuple[str, ...], ...] = ()
    """Layers that the user wanted to move together."""
    copies: Literal["auto", "off"] | Annotated[int, Field(ge=1, le=MOST_COPIES)] | None = None
    """Copies of weights that the user asked for; None in plans of earlier versions, and where nothing was searched."""
    evaluations: Count | None = None
    """Placements that the search judged."""
    tested: tuple[TestedPlacement, ...] | None = None
    """All placements that were tested, the one that is kept last; None in plans of earlier versions, and where nothing
    was searched."""
    estimate: Estimate | None = None
    """None where nothing was estimated or judged."""
    healing: Healing | None = None
    """None where there is none, or nothing is analog."""
    harmful_calibration: HarmfulCalibration | None = None
    """Why chips are not calibrated though the machine that was asked for does it; None elsewhere."""

    @model_validator(mode="after")
    def _is_what_can_be_measured(self) -> Self:
        relative = self.drop_type == "relative"
        check_drop(self.baseline, self.value, self.drop, self.higher_is_better, self.percent, relative)
        check_verdict(self.within_budget, self.drop, self.interval, self.max_drop)
        for name in ("chip_interval", "sample_interval"):
            check_interval(name, getattr(self, name), self.drop, "drop")
        deciding = self.sample_interval if self.generalized else self.chip_interval
        if deciding is not None and deciding != self.interval:
            raise ValueError("interval: not the one that decides (generalized)")
        if self.documents is not None and self.documents > self.samples:
            raise ValueError(f"documents: {self.documents:,} of {self.samples:,} samples")
        if self.yield_share is None and self.yield_shown is not None:
            raise ValueError("yield_shown: no share of chips was to be shown (yield_share)")
        if self.within_budget and self.yield_shown is False:
            raise ValueError("within_budget: the share of chips was not shown to hold it (yield_shown)")
        if self.within_budget and not all(one.within_budget for one in self.further):
            raise ValueError("within_budget: a further output does not hold its budget (further)")
        return self

    @property
    def drop_word(self) -> str:
        """Word for a worse metric: it drops or it rises."""
        return drop_word(self.higher_is_better)


OF_ANOTHER_NETWORK = (
    "the placement was made for other weights or another graph; the copies and ranges that it brings were found there"
)
"""Warning where a plan that is used names another network as its source."""


class Plan(PlanRecord):
    """Decisions about every operator of a model that multiplies, in the order of the file."""

    schema_version: Literal[1] = 1
    lhc_version: Version
    source: Digest
    """SHA-256 of graph and weights without lhc's own metadata."""
    hardware: Hardware
    layers: tuple[LayerPlan, ...]
    control: dict[str, Annotated[str, Field(pattern=r"^(then_branch|else_branch|[0-9]{1,9})$")]] = Field(
        default_factory=dict
    )
    """What calls that it is for take: by the name of an If, ``then_branch`` or ``else_branch``; of a Loop, a Scan or a
    recurrent operator whose length the file leaves open, its iterations."""
    shapes: dict[str, Annotated[tuple[Count, ...], Field(max_length=64)]] = Field(default_factory=dict)
    """Inputs of the calls that it is for, with one sample: full shapes of those that the file leaves open otherwise."""
    digital: DigitalArithmetic | None = None
    """Arithmetic of the digital products; None: as in the file, as in plans of earlier versions."""
    agreement: Agreement | None = None
    """Of predicted sensitivities with those that were measured to check them; None where none were."""
    outcome: Outcome | None = None
    conformance: Conformance | None = None
    """The emulation by the engine fast, checked; None where it was not, as where another engine computed all."""
    command: str = ""
    """That made it, with file names instead of paths; empty in plans of earlier versions."""

    @model_validator(mode="after")
    def _names_layers_once(self) -> Self:
        if (name := first_double(layer.name for layer in self.layers)) is not None:
            raise ValueError(f"layers: {name!r} is there twice")
        return self

    @property
    def analog(self) -> frozenset[str]:
        """Names of the analog layers."""
        return frozenset(layer.name for layer in self.layers if layer.placement == "analog")

    @property
    def eligible(self) -> tuple[str, ...]:
        """Names of the layers that are still free to be placed, in file order."""
        return tuple(layer.name for layer in self.layers if layer.reason == "eligible")

    @property
    def titles(self) -> dict[str, str]:
        """Titles of layers for people, by their names."""
        return {layer.name: layer.title for layer in self.layers}

    @property
    def size(self) -> int:
        """Number of layers; digital columns of a layer are no layer of their own."""
        return sum(layer.reason != "columns" for layer in self.layers)

    @property
    def able(self) -> int:
        """Number of layers that tiles can compute, whatever that would lose."""
        return self.size - sum(layer.reason in NEVER_ANALOG for layer in self.layers)

    @property
    def macs(self) -> int:
        """MACs per sample by stored weights, whatever operator holds them."""
        return sum(layer.macs for layer in self.layers)

    @property
    def activation_macs(self) -> int:
        """MACs per sample of two activations."""
        return sum(layer.activation_macs for layer in self.layers)

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Names of the operators that multiply nobody knows how often."""
        return tuple(layer.name for layer in self.layers if not layer.counted)

    @property
    def analog_mac_fraction(self) -> float:
        """Share of all MACs by stored weights that is analog; of those that are known, where some are not."""
        return self.mac_fraction_of(self.analog)

    def mac_fraction_of(self, placement: Collection[str]) -> float:
        """Share of all MACs by stored weights that these layers have; 0 where there are none."""
        macs = sum(layer.macs for layer in self.layers if layer.name in placement)
        return macs / self.macs if self.macs else 0.0

    def tiles(self, graph: LayerGraph) -> int:
        """Tiles in use; layers that share their weights share their tiles."""
        return self.tiles_of(graph, self.analog)

    def tiles_of(self, graph: LayerGraph, placement: frozenset[str]) -> int:
        """Tiles that a set of layers would use."""
        needed = {layer.name: layer.tiles for layer in self.layers}
        return sum(needed[group[0]] for group in graph.tied(n for n in needed if n in placement))

    def decide(self, decisions: Mapping[str, Decision]) -> "Plan":
        """A plan with these layers' placement, reason and detail replaced."""
        keys = ("placement", "reason", "detail")
        return self._with({name: dict(zip(keys, new, strict=True)) for name, new in decisions.items()})

    def with_sensitivities(
        self,
        sensitivities: Mapping[str, Sensitivity],
        agreement: Agreement | None = None,
        with_copies: Mapping[str, Sensitivity] = MappingProxyType({}),
    ) -> "Plan":
        """A plan with the sensitivities put in, and what checked those that are predicted.

        Args:
            sensitivities: with one copy of the weights.
            with_copies: with those that layers have, where these are more.
        """
        plan = self._with(
            {name: {"sensitivity": s, "with_copies": with_copies.get(name)} for name, s in sensitivities.items()}
        )
        return plan.model_copy(update={"agreement": agreement})

    @property
    def unmeasured(self) -> "Plan":
        """The same placement without sensitivities and verdict: those of another network are none of this one."""
        plan = self._with({layer.name: {"sensitivity": None, "with_copies": None} for layer in self.layers})
        return plan.model_copy(update={"agreement": None, "outcome": None, "conformance": None})

    def __repr__(self) -> str:
        candidates = sum(layer.may_be_analog for layer in self.layers)
        return f"<Plan: {len(self.analog)} of {candidates} products analog on {self.hardware.name}>"

    __str__ = __repr__

    def to_yaml(self) -> str:
        """The plan as YAML, to be read, edited and given back."""
        return write_yaml(self.model_dump(mode="json"), width=120)

    @classmethod
    def load(cls, path: Path) -> "Plan":
        """Read a plan from a YAML (or JSON) file.

        Raises:
            UsageError: no such file.
            ConfigError: malformed, or written by a newer lhc.
        """
        if not path.is_file():
            raise UsageError(f"{path}: no such file; 'lhc partition --plan-out FILE' writes one")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as text: {error}") from error
        data = read_yaml(text, str(path))
        if isinstance(data, dict) and "hardware" not in data and not data.keys().isdisjoint(Hardware.model_fields):
            raise ConfigError(
                f"{path}: a hardware description, not a plan; give it with --hardware ('lhc partition --plan-out FILE'"
                " writes a plan)"
            )
        try:
            return cls.model_validate_json(json.dumps(data))
        except (TypeError, ValueError, RecursionError) as error:
            raise _not_a_plan(str(path), error) from error

    @property
    def copies(self) -> dict[str, int]:
        """Copies of their weights that layers have when they are analog, where these are more than one."""
        return {layer.name: layer.copies for layer in self.layers if layer.copies > 1}

    @property
    def has_copies(self) -> bool:
        """Whether any analog layer has more than one."""
        return any(layer.copies > 1 for layer in self.layers if layer.placement == "analog")

    def with_copies(self, graph: LayerGraph, copies: Mapping[str, int]) -> "Plan":
        """A plan in which tiles hold the weights of these layers so many times; the numbers of tiles follow."""

        def row(layer: LayerPlan) -> LayerPlan:
            count, matrix = copies.get(layer.name, layer.copies), graph[layer.name].matrix
            if count == layer.copies or matrix is None:
                return layer
            machine = self.hardware.for_layer(layer.name)
            tiles = machine.tiles_for(matrix.rows, matrix.cols * matrix.groups, count)
            return layer.model_copy(update={"copies": count, "tiles": tiles})

        return self.model_copy(update={"layers": tuple(map(row, self.layers))})

    @property
    def digital_columns(self) -> dict[str, tuple[int, ...]]:
        """Outputs that are digital whatever the placement, of the layers that are split by them."""
        return {layer.name: layer.digital_columns for layer in self.layers if layer.digital_columns}

    def with_digital_columns(self, columns: Mapping[str, tuple[int, ...]]) -> "Plan":
        """A plan in which these outputs of these layers are to be digital; rows and numbers are as before."""
        return self._with({name: {"digital_columns": found} for name, found in columns.items()})

    @property
    def ranges(self) -> dict[str, tuple[float, ...]]:
        """Static input ranges by layer."""
        return {layer.name: layer.input_range for layer in self.layers if layer.input_range is not None}

    def with_ranges(self, ranges: Mapping[str, tuple[float, ...]]) -> "Plan":
        """A plan with static input ranges put in."""
        return self._with({name: {"input_range": found} for name, found in ranges.items()})

    def with_arithmetic(self, digital: DigitalArithmetic | None) -> "Plan":
        """A plan whose digital products compute so; rows of digital layers say their number format."""
        if digital is not None:
            digital = digital.with_raised(set(digital.raised) - self.analog)
        found = {
            layer.name: {"precision": digital.of(layer.name) if digital and layer.placement == "digital" else None}
            for layer in self.layers
        }
        return self._with(found).model_copy(update={"digital": digital})

    @property
    def raised(self) -> frozenset[str]:
        """Names of the digital products in the machine's high precision."""
        return frozenset() if self.digital is None else frozenset(self.digital.raised)

    @property
    def sums(self) -> dict[str, tuple[float, ...]]:
        """Greatest sums in columns by layer, where measured: `lhc.hardware.converters.repeated_reads`."""
        return {layer.name: layer.sums for layer in self.layers if layer.sums is not None}

    def with_sums(self, sums: Mapping[str, tuple[float, ...]]) -> "Plan":
        """A plan with these put in."""
        return self._with({name: {"sums": found} for name, found in sums.items()})

    def _with(self, updates: Mapping[str, Mapping[str, object]]) -> "Plan":
        """A plan with these fields of these layers replaced."""
        layers = tuple(layer.model_copy(update=updates.get(layer.name)) for layer in self.layers)
        return self.model_copy(update={"layers": layers})

    @classmethod
    def parse(cls, text: str, where: str) -> "Plan":
        """Read a plan from JSON.

        Raises:
            ConfigError: malformed, or written by a newer lhc; ``where`` names the text.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise _not_a_plan(where, error) from error


def _not_a_plan(where: str, error: Exception) -> ConfigError:
    what = str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where_in, told = ".".join(map(str, first["loc"])), problem(first, Plan.model_json_schema())
        # What fields set for each other is told of the record that holds them, with the field's name.
        named = re.match(r"\w+: ", told) is not None and isinstance(first["input"], dict)
        what = f"{where_in}{'.' if where_in else ''}{told}" if named else f"{where_in or 'the whole document'}: {told}"
    return ConfigError(f"{where}: not a plan of schema {SCHEMA_VERSION}: {what}")
