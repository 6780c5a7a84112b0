"""Options by command: the classes that every command takes, and options of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lhc.errors import UsageError
from lhc.options.declaration.option_fields import REQUIRED, argument, flags_given, option, options, options_of, part
from lhc.options.declaration.value_parsing import machines_of, times_of
from lhc.options.shared import (
    BudgetOptions,
    Chips,
    ColumnsOptions,
    CopiesOptions,
    Data,
    Emulating,
    Execution,
    FrontHardware,
    GivenPlacement,
    GoalOptions,
    HardwareChoice,
    LayerSelection,
    MachineOptions,
    ModelForm,
    PlacedMachine,
    PlannedHardware,
    Progressing,
    Ranking,
    ReadTime,
    ReadTimes,
    SampleSource,
    Seeded,
    Selection,
    Shapes,
    SomeSamples,
    YieldOptions,
)
from lhc.options.training import Checkpointing, TrainingOptions
from lhc.support.number_bounds import check_confidence

if TYPE_CHECKING:
    from lhc.hardware import Hardware
    from lhc.onnx_model import ModelSource
    from lhc.plan import Plan
    from lhc.samples.task import DataSource

__all__ = [
    "AnalyzeOptions",
    "AsVerified",
    "Asking",
    "AttributeOptions",
    "CompareOptions",
    "CompileOptions",
    "Measuring",
    "OutputsOptions",
    "ParetoOptions",
    "PartitionOptions",
    "PlacedMeasuring",
    "PlacingFirst",
    "RegionOptions",
    "RetrainOptions",
    "RobustnessOptions",
    "RunOptions",
    "SensitivityOptions",
    "SmoothOptions",
    "SplitOptions",
    "SweepOptions",
    "Varying",
    "WidenOptions",
]


@options
class Asking(Emulating, Execution, MachineOptions, Data, ModelForm):
    """Options of every command that measures, but for its chips."""


@options
class Measuring(Chips, Asking):
    """Options of every command that measures."""


@options
class PlacedMeasuring(GivenPlacement, PlacedMachine, Measuring):
    """Options of every command that measures a placement."""


@options
class AnalyzeOptions(Shapes, MachineOptions, SampleSource, ModelForm):
    """The options of ``lhc analyze``."""


@options
class SensitivityOptions(LayerSelection, Ranking, CopiesOptions, ReadTime, Measuring):
    """The options of ``lhc sensitivity``."""

    PANEL = "Search"

    half_width: float | None = option(
        "Stop measuring a layer once its interval reaches no farther than this share of its mean (0.2).",
        default=None,
        metavar="W",
        above=0,
        rare=True,
    )


@options
class Explaining:
    """Whether it is measured why a budget is not met."""

    PANEL = "Search"

    explain: bool = option(
        "Where the budget is not met, measure what stands in the way and what would help.",
        default=True,
        off="--no-explain",
        rare=True,
    )


@options
class PartitionOptions(
    Checkpointing,
    TrainingOptions,
    Selection,
    Ranking,
    GoalOptions,
    YieldOptions,
    BudgetOptions,
    ColumnsOptions,
    CopiesOptions,
    Explaining,
    ReadTime,
    PlannedHardware,
    Measuring,
):
    """The options of ``lhc partition``."""

    PANEL = "Search"

    strategy: "str | type[object]" = option(
        "sensitivity, milp, lionheart, hilal, exhaustive, random, all-analog, all-digital, first-last, with --retrain"
        " also lionheart-original, or module:Class, or one of an installed package; options as NAME{field=value}.",
        default="sensitivity",
        metavar="S",
        reads=str,
    )
    max_draws: int | None = option(
        "A test uses at most this many chips (programmings), 100 by default. It uses more than --draws only while they"
        " can still decide it.",
        default=None,
        metavar="N",
    )
    high_precision: Sequence[str] = option(
        "Compute these layers in the machine's high precision wherever they are digital; others only where the low"
        " precision takes too much of the budget.",
        default=(),
        metavar="P",
        reads=list[str],
        rare=True,
    )
    passes: Sequence[object] = option(
        "A pass of your own, run after the layers are selected: module:Class, or one of an installed package, with its"
        " options in braces: 'mylab.passes:KeepEndsDigital{products=2}'. Repeatable; passes run in this order.",
        default=(),
        flag="--pass",
        metavar="P",
        reads=list[str],
        rare=True,
    )
    plan: "Plan | Path | str | None" = option(
        "Verify and write this plan instead of searching one.", default=None, metavar="F.yaml", reads=Path | None
    )
    retrain: bool = option(
        "Train under the noise of the analog layers as well, and keep what is better.", default=False
    )
    train_data: "DataSource | None" = option(
        "With --retrain: samples that train; three fifths of --data by default.",
        default=None,
        metavar="DATA",
        reads=Path | None,
    )
    rounds: int | None = option(
        "With --retrain and a lionheart strategy: at most this many rounds of training for a layer.",
        default=None,
        metavar="N",
        least=1,
        rare=True,
    )

    def __post_init__(self) -> None:
        if self.plan is not None:
            self._check_beside_plan()
        if self.further:
            self._check_beside_outputs()
        if self.columns_share is None:
            self._check_searched_columns()
        of_training = {one.name for kind in (TrainingOptions, Checkpointing) for one in options_of(kind)}
        of_training = of_training - {"seed"} | {"train_data", "rounds"}
        if self.max_draws is not None and self.max_draws < self.draws:
            raise UsageError(
                f"--max-draws {self.max_draws}: a test takes at least --draws {self.draws} chips; give fewer of these,"
                " or allow more"
            )
        given = flags_given(self, of_training)
        if given and not self.retrain:
            raise UsageError(f"{', '.join(given)}: options of training need --retrain")

    def _check_beside_outputs(self) -> None:
        if self.retrain:
            raise UsageError("--retrain trains for one output: several --output cannot go with it")
        if self.columns_share is None:
            raise UsageError("--digital-columns auto goes by one output: several --output cannot go with it")
        if self.strategy == "hilal":
            raise UsageError(
                "strategy 'hilal' goes by the curvature of one output's loss, which says nothing of layers behind other"
                " outputs; take another --strategy, or one --output"
            )

    def _check_searched_columns(self) -> None:
        if self.retrain:
            raise UsageError(
                "--digital-columns auto goes by the weights as they are, which lose more than trained ones; with"
                " --retrain name a share"
            )
        costs = self.objective not in (None, "macs") or self.max_latency is not None or self.max_energy is not None
        if self.strategy != "sensitivity" or costs:
            raise UsageError(
                "--digital-columns auto is for --strategy sensitivity and --objective macs; name a share for others"
            )

    def _check_beside_plan(self) -> None:
        if self.retrain:
            raise UsageError(
                "a plan says where every layer goes, and retraining searches it; 'lhc retrain' trains a placed model"
            )
        if part(self, Selection) != Selection():
            raise UsageError(
                "a plan says where every layer goes: --include, --exclude and --force-… cannot go with --plan"
            )
        given = flags_given(self, ("strategy", "method"))
        if given:
            raise UsageError(f"a plan says where every layer goes: {', '.join(given)} cannot go with --plan")
        if part(self, CopiesOptions) != CopiesOptions():
            raise UsageError("a plan says how many copies every layer has: --copies cannot go with --plan")
        if self.columns_share != 0:
            raise UsageError("a plan says which columns are digital: --digital-columns cannot go with --plan")


@options
class CompareOptions(PartitionOptions):
    """The options of ``lhc compare``."""

    PANEL = "Machine"

    hardware: "Sequence[Hardware | str | Path]" = option(  # type: ignore[assignment]  # several instead of one
        "Preset name, YAML file, or module:name of an aihwkit InferenceRPUConfig. Repeat it for every machine.",
        default=(),
        metavar="H",
        reads=list[str],
        convert=machines_of,
        names="presets",
    )
    ages: Sequence[float | str] | float | str | None = option(
        "Judge placements at these ages too, with one calibration at the first read: it shows how long that lasts."
        " Seconds after that read, or 1h, 1d, 1y, separated by commas; a machine skips those its devices are not known"
        " at.",
        default=None,
        metavar="1h,1d",
        unit="s",
        reads=str | None,
        convert=times_of,
    )

    def __post_init__(self) -> None:
        if self.checkpoint is not None:
            raise UsageError("--checkpoint keeps the training for one machine: retrain on each by 'lhc partition'")
        if any(not 0 <= t < float("inf") for t in self.ages_s):
            raise UsageError(f"--ages: seconds after the first read, from 0 on; got {self.ages}")
        if self.ages_s and self.retrain:
            raise UsageError(
                "--ages judges the given weights on all of --data, some of which trains with --retrain; they cannot go"
                " together ('lhc robustness' measures a trained file over time)"
            )
        if self.ages_s and self.further:
            raise UsageError("--ages looks at one output: several --output cannot go with it")

    @property
    def ages_s(self) -> list[float]:
        """The ages in seconds."""
        return [] if self.ages is None else times_of(self.ages)


@options
class SweepOptions(Execution):
    """The options of ``lhc sweep``."""

    PANEL = "Model"

    sweep: str | Path | Mapping[str, object] = argument(
        "A TOML file with options of 'lhc partition', each a value or a list of values; every combination is a run.",
        kw_only=False,
        metavar="SWEEP.toml",
        reads=str,
    )


@options
class RetrainOptions(
    Checkpointing, TrainingOptions, Explaining, YieldOptions, BudgetOptions, ReadTime, PlacedMeasuring
):
    """The options of ``lhc retrain``."""

    PANEL = "Data"

    train_data: "DataSource | None" = option(
        "Samples that train; a third of --data then watches the training, and the others judge. By default four fifths"
        " of --data train.",
        default=None,
        metavar="DATA",
        reads=Path | None,
    )
    verify_data: "DataSource | None" = option(
        "Old option: with it, --data trains and these samples judge. Write --train-data and --data instead.",
        default=None,
        metavar="DATA",
        reads=Path | None,
        rare=True,
    )

    def __post_init__(self) -> None:
        if self.verify_data is not None and self.train_data is not None:
            raise UsageError(
                "--verify-data is the old name of --data where --train-data is given: write --train-data and --data"
            )


@options
class Calibrating:
    """Options of the samples that calibrate chips, where the hardware corrects their outputs."""

    PANEL = "Data"

    calibrate: "DataSource | None" = option(
        "Samples that chips are calibrated on; by default some of --data, which then take no part in judging.",
        default=None,
        metavar="DATA",
        reads=Path | None,
    )


@options
class RunOptions(Calibrating, ReadTimes, PlacedMeasuring):
    """The options of ``lhc run``, for what a placement is worth."""

    PANEL = "Data"

    against: "ModelSource | None" = option(
        "The network that drops are against; by default MODEL's own. For trained weights name the network before"
        " training, which their budget is against.",
        default=None,
        metavar="MODEL",
        names="models",
        reads=str,
    )


@options
class OutputsOptions(Calibrating, ReadTimes, PlacedMeasuring):
    """The options of ``lhc run --outputs``."""

    PANEL = "Chips"

    draws: int = option("Programmings (chips), each with outputs of its own.", default=1, metavar="N")


@options
class AsVerified(YieldOptions, BudgetOptions, GivenPlacement, PlacedMachine, Asking):
    """Options of a placement that is measured again: chips and level are those of its verification where it has one."""

    PANEL = "Chips"

    draws: int | None = option(
        "Programmings (chips) for times, noise and varied machines; those of the verification, else 10.",
        default=None,
        metavar="N",
    )
    seed: int | None = option("Fixes devices and noise; that of the verification, else 0.", default=None, metavar="N")
    confidence: float | None = option(
        "Two-sided level of the intervals; that of the verification, else 0.9.", default=None, metavar="C"
    )

    def __post_init__(self) -> None:
        if self.confidence is not None:
            check_confidence(self.confidence)


@options
class RobustnessOptions(ReadTimes, AsVerified):
    """The options of ``lhc robustness``."""

    PANEL = "Chips"

    chips: int | None = option(
        "Programmings for the spread over chips; 50 by default, and with --yield enough that a few may fail (177 for"
        " 95%).",
        default=None,
        metavar="N",
    )


@options
class Varying:
    """Options of the numbers of a machine that are varied."""

    PANEL = "Machine"

    vary: Sequence[str] = option(
        "Vary a number of the hardware, and measure up to which value the budget is held. Write its path and values,"
        " as adc.bits=4..8 or adc.bits=4,6,8; for two numbers, give the option twice.",
        default=(),
        metavar="FIELD=A..B",
        reads=list[str],
        result="lhc.feasible_region(vary=…)",
    )
    search_anew: bool = option(
        "With --vary: search the placement anew for every machine; its share of MACs may not fall.",
        default=False,
        flag="--replace",
        result="lhc.feasible_region(search_anew=True)",
    )

    def __post_init__(self) -> None:
        if self.search_anew and not self.vary:
            raise UsageError("--replace goes with --vary")
        if len(self.vary) > MOST_VARIED:
            raise UsageError(f"--vary: one or two fields are varied at a time, got {len(self.vary)}")


MOST_VARIED = 2
"""Fields at a time: a picture has two axes."""


@options
class RegionOptions(Varying, ReadTime, AsVerified):
    """The options of ``lhc robustness --vary``."""

    def __post_init__(self) -> None:
        if not self.vary:
            raise UsageError("--vary: name a field of the hardware and its values, e.g. adc.bits=4..8")


@options
class AttributeOptions(LayerSelection, ReadTime, PlacedMachine, Measuring):
    """The options of ``lhc attribute``."""


@options
class SmoothOptions(Progressing, ReadTime, MachineOptions, Seeded, SomeSamples, ModelForm):
    """The options of ``lhc smooth``."""


@options
class WidenOptions(LayerSelection, HardwareChoice, ModelForm):
    """The options of ``lhc widen``."""

    include: Sequence[str] = option(
        "Copy columns of these layers only (glob, or re:…).", default=(), metavar="P", reads=list[str]
    )
    exclude: Sequence[str] = option("Copy no columns of these layers.", default=(), metavar="P", reads=list[str])
    most: int = option(
        "At most this many copies of a column; fewer where free columns hold no more.", default=4, metavar="K", least=2
    )


@options
class ParetoOptions(Selection, Ranking, GoalOptions, CopiesOptions, ReadTime, FrontHardware, Measuring):
    """The options of ``lhc pareto``."""

    PANEL = "Search"

    objective: Literal["energy", "latency", "macs", "tiles"] | None = option(  # type: ignore[assignment]
        "Weighed against accuracy: energy, latency, macs on tiles, or, with all layers analog, the tiles that copies of"
        " weights take; energy where the hardware has costs, else macs.",
        default=None,
        metavar="O",
    )
    points: int = option("Points of the front to verify.", default=12, metavar="N", least=2)


@options
class PlacingFirst(
    ReadTime, Shapes, GoalOptions, BudgetOptions, GivenPlacement, PlacedMachine, Seeded, Execution, Data, ModelForm
):
    """Options of commands that write a placed network; one without a placement is partitioned first."""

    PANEL = "Chips"

    draw: int = option("Number of the chip (programming) that is written.", default=0, metavar="N", least=0, rare=True)


@options
class CompileOptions(PlacingFirst):
    """The options of ``lhc compile``."""

    PANEL = "Output"

    noise: Literal["on", "off", "input"] = option(
        "Output noise: drawn whenever the model runs, left out, or read from one more input for every analog layer.",
        default="on",
        metavar="on|off|input",
    )


@options
class SplitOptions(PlacingFirst):
    """The options of ``lhc split``."""

    PANEL = "Output"

    folder: Path | str = option(
        "A new or empty folder.", default=REQUIRED, flag="--out", short="-o", metavar="DIR", reads=Path
    )
