"""Which options every command takes, and those that are its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from lhc.errors import UsageError
from lhc.options.budget_options import BudgetOptions, YieldOptions
from lhc.options.columns_options import ColumnsOptions
from lhc.options.declare import REQUIRED, option, options
from lhc.options.subjects import (
    Chips,
    CopiesOptions,
    Data,
    Execution,
    GivenPlacement,
    GoalOptions,
    LayerSelection,
    MachineOptions,
    ModelForm,
    PlacedMachine,
    Progressing,
    Ranking,
    ReadTime,
    ReadTimes,
    SampleSource,
    Seeded,
    Selection,
    Shapes,
    SomeSamples,
)
from lhc.options.training import Checkpointing, TrainingOptions
from lhc.options.values import times_of

if TYPE_CHECKING:
    from lhc.hardware import Hardware
    from lhc.plan import Plan
    from lhc.samples.task import DataSource

__all__ = [
    "AnalyzeOptions",
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
    "RetrainOptions",
    "RobustnessOptions",
    "RunOptions",
    "SensitivityOptions",
    "SmoothOptions",
    "SplitOptions",
    "WidenOptions",
]


@options
class Asking(Execution, MachineOptions, Data, ModelForm):
    """What every command takes that measures, but for its chips."""


@options
class Measuring(Chips, Asking):
    """What every command takes that measures."""


@options
class PlacedMeasuring(GivenPlacement, PlacedMachine, Measuring):
    """What every command takes that measures a placement."""


@options
class AnalyzeOptions(Shapes, MachineOptions, SampleSource, ModelForm):
    """Of ``lhc analyze``."""


@options
class SensitivityOptions(LayerSelection, Ranking, CopiesOptions, ReadTime, Measuring):
    """Of ``lhc sensitivity``."""

    PANEL: ClassVar[str] = "Search"

    half_width: float | None = option(
        "Stop measuring a layer once its interval reaches no farther than this share of its mean (0.2).",
        default=None,
        metavar="W",
        rare=True,
    )

    def __post_init__(self) -> None:
        if self.half_width is not None and not self.half_width > 0:
            raise UsageError(f"--half-width must be above 0, got {self.half_width}")


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
    ReadTime,
    Measuring,
):
    """Of ``lhc partition``."""

    PANEL: ClassVar[str] = "Search"

    strategy: "str | type[object]" = option(
        "sensitivity, milp, lionheart, hilal, exhaustive, random, all-analog, all-digital, first-last, with --retrain"
        " also lionheart-original, or module:Class.",
        default="sensitivity",
        metavar="S",
        reads=str,
    )
    max_draws: int | None = option(
        "Most programmings (chips) of a test, 100 by default; more than --draws are taken while they can still decide"
        " it.",
        default=None,
        metavar="N",
    )
    passes: Sequence[object] = option(
        "A pass of your own as module:Class, run after the layers are selected. Repeatable.",
        default=(),
        flag="--pass",
        metavar="P",
        reads=list[str],
        convert=tuple,
        rare=True,
    )
    plan: "Plan | Path | str | None" = option(
        "Verify and write this plan instead of searching one.", default=None, metavar="F.yaml", reads=Path | None
    )
    explain: bool = option(
        "Where the budget is not met, measure what stands in the way and what would help.",
        default=True,
        off="--no-explain",
        rare=True,
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
        "With --retrain and a lionheart strategy: most rounds of training for a layer.",
        default=None,
        metavar="N",
        rare=True,
    )


@options
class CompareOptions(PartitionOptions):
    """Of ``lhc compare``."""

    PANEL: ClassVar[str] = "Machine"

    hardware: "Sequence[Hardware | str | Path]" = option(  # type: ignore[assignment]  # several instead of one
        "Preset name or YAML file. Repeat it for every machine.",
        default=(),
        metavar="H",
        reads=list[str],
        convert=tuple,
    )
    ages: Sequence[float] | None = option(
        "Seconds after the first read at which placements are looked at too, separated by commas, calibrated at that"
        " read alone: how long until they are to be calibrated again.",
        default=None,
        metavar="3600,86400",
        unit="s",
        reads=str | None,
        convert=times_of,
    )


@options
class RetrainOptions(Checkpointing, TrainingOptions, YieldOptions, BudgetOptions, ReadTime, PlacedMeasuring):
    """Of ``lhc retrain``."""

    PANEL: ClassVar[str] = "Data"

    verify_data: "DataSource | None" = option(
        "Samples that judge; a fifth of --data by default.", default=None, metavar="DATA", reads=Path | None
    )


@options
class Calibrating:
    """What chips are calibrated on, where the hardware corrects their outputs."""

    PANEL: ClassVar[str] = "Data"

    calibrate: "DataSource | None" = option(
        "Samples that chips are calibrated on; some of --data, which are not judged then, by default.",
        default=None,
        metavar="DATA",
        reads=Path | None,
    )


@options
class RunOptions(Calibrating, ReadTimes, PlacedMeasuring):
    """Of ``lhc run``, for what a placement is worth."""


@options
class OutputsOptions(Calibrating, ReadTimes, PlacedMeasuring):
    """Of ``lhc run --outputs``."""

    PANEL: ClassVar[str] = "Chips"

    draws: int = option("Programmings (chips), each with outputs of its own.", default=1, metavar="N")


@options
class RobustnessOptions(YieldOptions, BudgetOptions, ReadTimes, GivenPlacement, PlacedMachine, Asking):
    """Of ``lhc robustness``; chips and level are those of the verification where the placement has one."""

    PANEL: ClassVar[str] = "Chips"

    chips: int | None = option(
        "Programmings for the spread over chips; 50 by default, and with --yield enough that a few may fail (177 for"
        " 95%).",
        default=None,
        metavar="N",
    )
    draws: int | None = option(
        "Programmings (chips) for times and noise; those of the verification, else 10.", default=None, metavar="N"
    )
    seed: int | None = option("Fixes devices and noise; that of the verification, else 0.", default=None, metavar="N")
    confidence: float | None = option(
        "Two-sided level of the intervals; that of the verification, else 0.9.", default=None, metavar="C"
    )


@options
class AttributeOptions(LayerSelection, ReadTime, PlacedMachine, Measuring):
    """Of ``lhc attribute``."""


@options
class SmoothOptions(Progressing, ReadTime, MachineOptions, Seeded, SomeSamples, ModelForm):
    """Of ``lhc smooth``."""


@options
class WidenOptions(LayerSelection, MachineOptions, ModelForm):
    """Of ``lhc widen``."""

    PANEL: ClassVar[str] = "Layers"

    most: int = option("Most copies of a column; fewer where free columns hold no more.", default=4, metavar="K")


@options
class ParetoOptions(Selection, Ranking, GoalOptions, CopiesOptions, ReadTime, Measuring):
    """Of ``lhc pareto``."""

    PANEL: ClassVar[str] = "Search"

    objective: Literal["energy", "latency", "macs", "tiles"] | None = option(  # type: ignore[assignment]
        "Weighed against accuracy: energy, latency, macs on tiles, or, with all layers analog, the tiles that copies of"
        " weights take; energy where the hardware has costs, else macs.",
        default=None,
        metavar="O",
    )
    points: int = option("Points of the front to verify.", default=12, metavar="N")


@options
class PlacingFirst(
    ReadTime, Shapes, GoalOptions, BudgetOptions, GivenPlacement, PlacedMachine, Seeded, Execution, Data, ModelForm
):
    """What commands take that write a placed network; one without a placement is partitioned first."""

    PANEL: ClassVar[str] = "Chips"

    draw: int = option("Number of the chip (programming) that is written.", default=0, metavar="N", rare=True)

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            UsageError: there is no such chip.
        """
        if self.draw < 0:
            raise UsageError(f"--draw must be at least 0, got {self.draw}")


@options
class CompileOptions(PlacingFirst):
    """Of ``lhc compile``."""

    PANEL: ClassVar[str] = "Output"

    noise: Literal["on", "off", "input"] = option(
        "Output noise: drawn whenever the model runs, left out, or read from one more input for every analog layer.",
        default="on",
        metavar="on|off|input",
    )


@options
class SplitOptions(PlacingFirst):
    """Of ``lhc split``."""

    PANEL: ClassVar[str] = "Output"

    folder: Path | str = option(
        "A new or empty folder.", default=REQUIRED, flag="--out", short="-o", metavar="DIR", reads=Path
    )
