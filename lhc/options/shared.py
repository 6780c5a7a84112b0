"""The options by subject; a command takes some of these classes (`lhc.options.by_command`).

Each class checks what its values mean by themselves; what depends on model or samples is checked where these are known.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lhc.errors import UsageError
from lhc.options.data import Data, SampleSource, SomeSamples
from lhc.options.declaration.option_fields import argument, option, options
from lhc.options.declaration.value_parsing import (
    AskedEngine,
    Engine,
    bytes_of,
    check_times,
    copies_of,
    engine_of,
    hardware_of,
    shapes_of,
    share_of,
    time_of,
    times_of,
)
from lhc.support.number_bounds import check_confidence

if TYPE_CHECKING:
    from lhc.hardware import Hardware
    from lhc.onnx_model import ModelSource
    from lhc.plan import Plan

__all__ = [
    "BudgetOptions",
    "Chips",
    "ColumnsBy",
    "ColumnsOptions",
    "CopiesOptions",
    "Data",
    "DropType",
    "Emulating",
    "Engine",
    "Execution",
    "ExternalData",
    "GivenPlacement",
    "GoalOptions",
    "HardwareChoice",
    "LayerSelection",
    "MachineOptions",
    "Model",
    "ModelForm",
    "Objective",
    "PlacedHardware",
    "PlacedMachine",
    "Progress",
    "Progressing",
    "Ranking",
    "RankingMethod",
    "ReadTime",
    "ReadTimes",
    "SampleSource",
    "Seeded",
    "Selection",
    "Shapes",
    "SomeSamples",
    "YieldOptions",
    "silent",
]

DropType = Literal["absolute", "relative"]


@options
class BudgetOptions:
    """The accuracy that the user can afford to lose."""

    PANEL = "Budget"

    max_drop: float | str | None = option(
        "Greatest mean drop that you allow (rise, of an error), in the metric's unit (0.01 or 1% is one point of"
        " accuracy); by default the budget that the placement was judged by, or a zoo model's own, else 0.01.",
        default=None,
        metavar="X",
        reads=str | None,
    )
    drop_type: DropType | None = option(
        "Whether --max-drop is absolute, or relative to the digital value; by default as annotated where the"
        " annotated budget is taken, else absolute.",
        default=None,
        metavar="T",
        rare=True,
    )
    generalize: bool = option("Decide for other samples too, not for these samples alone.", default=False)


@options
class YieldOptions:
    """Option of the yield: the share of all chips that must hold the budget."""

    PANEL = "Budget"

    yield_share: float | str | None = option(
        "This share of all chips has to hold the budget too, each by itself (0.95 or 95%), on these samples. By default"
        " none, and for a placement that is judged again the share that it was judged by.",
        default=None,
        flag="--yield",
        metavar="SHARE",
        reads=str | None,
    )

    @property
    def least_yield(self) -> float | None:
        """The share of chips as a number.

        Raises:
            UsageError: a share of no chips, or none.
        """
        if self.yield_share is None:
            return None
        share = share_of(self.yield_share, "--yield")
        if share == 0:
            raise UsageError("--yield must be above 0: leave it out where the mean over chips is all that counts")
        return share


ExternalData = Literal["keep", "copy"]


@options
class Model:
    """The network."""

    PANEL = "Model"

    model: "ModelSource" = argument(
        "An .onnx file, or a name that 'lhc models' lists.", kw_only=False, metavar="MODEL", reads=str, names="models"
    )


@options
class ModelForm(Model):
    """The network, and what of it is seen as products."""

    dequantize: bool = option(
        "Place operators on integers (QLinearConv, MatMulInteger, …) too, by their dequantised weights.",
        default=False,
        rare=True,
    )


ColumnsBy = Literal["macs", "weights"]


@options
class ColumnsOptions:
    """Options of digital columns: columns of a layer that are digital although the rest is on tiles."""

    PANEL = "Goal"

    digital_columns: float | str = option(
        "Compute the worst columns of layers digitally, at most this share (0.05 or 5%) of the MACs of the layers that"
        " may be analog. auto: the search decides for every layer whether its worst fifth is digital.",
        default="0%",
        metavar="SHARE",
        reads=str,
    )
    columns_by: ColumnsBy = option(
        "Whether --digital-columns is a share of the macs to compute, or of the weights to store.",
        default="macs",
        metavar="C",
        rare=True,
    )

    def __post_init__(self) -> None:
        _ = self.columns_share

    @property
    def columns_share(self) -> float | None:
        """The share as a number; None: the search tells."""
        return None if self.digital_columns == "auto" else share_of(self.digital_columns, "--digital-columns")


Progress = Callable[[str, int, int], None]
"""Called as work proceeds: what is done, how much of it is done, how much it is in all."""
Objective = Literal["energy", "latency", "macs"]
RankingMethod = Literal["auto", "measure", "fisher"]


def silent(what: str, done: int, total: int) -> None:
    """No progress."""


@options
class Seeded:
    """Option of the seed, which makes a run repeatable."""

    PANEL = "Chips"

    seed: int = option("Fixes devices and noise.", default=0, metavar="N", least=0)


@options
class Chips(Seeded):
    """Programmings, and how sure figures are."""

    draws: int = option("Chips (programmings) per placement; a test uses at least this many.", default=10, metavar="N")
    confidence: float = option(
        "Two-sided level of the intervals (0.9 or 90%): at 0.9 each bound may err in 5 % of all runs.",
        default=0.9,
        metavar="C",
        rare=True,
    )

    def __post_init__(self) -> None:
        check_confidence(self.confidence)


@options
class HardwareChoice:
    """The hardware, by its name or description."""

    PANEL = "Machine"

    hardware: "Hardware | str | Path | None" = option(
        "Preset name, YAML file, or module:name of an aihwkit InferenceRPUConfig.",
        default="lionheart",
        metavar="H",
        reads=str | None,
        convert=hardware_of,
        names="presets",
    )


@options
class MachineOptions(HardwareChoice):
    """The hardware, where a model is to be placed on it."""

    digital_precision: Literal["int8", "bf16", "fp16", "fp32", "as-file"] | None = option(
        "Number format of the digital products, for all of them; by default that of the hardware.",
        default=None,
        rare=True,
    )


@options
class PlacedHardware(HardwareChoice):
    """The hardware, where a model may carry its own."""

    hardware: "Hardware | str | Path | None" = option(
        "Preset, YAML file, or module:name of an aihwkit InferenceRPUConfig; by default that of the annotations, else"
        " lionheart.",
        default=None,
        metavar="H",
        names="presets",
        reads=str | None,
        convert=hardware_of,
    )


@options
class PlacedMachine(PlacedHardware, MachineOptions):
    """The hardware, where a model may carry its own, and its digital products."""


@options
class PlannedHardware(HardwareChoice):
    """The hardware, where a plan may be followed that has its own."""

    hardware: "Hardware | str | Path | None" = option(
        "Preset, YAML file, or module:name of an aihwkit InferenceRPUConfig; by default that of --plan, else"
        " lionheart.",
        default=None,
        metavar="H",
        names="presets",
        reads=str | None,
        convert=hardware_of,
    )


@options
class FrontHardware(HardwareChoice):
    """The hardware, where a front may have been measured before."""

    hardware: "Hardware | str | Path | None" = option(
        "Preset, YAML file, or module:name of an aihwkit InferenceRPUConfig; by default lionheart, and with --from that"
        " of the newest front.",
        default=None,
        metavar="H",
        names="presets",
        reads=str | None,
        convert=hardware_of,
    )


@options
class CopiesOptions:
    """Option of copies: the number of times that tiles hold the weights of a layer."""

    PANEL = "Machine"

    copies: str | int = option(
        "How often tiles hold the weights of a layer: errors of devices average out over copies. auto: as often as"
        " fits in the layer's own tiles, and with --max-tiles in those left over; off: once; K: K times for every"
        " layer. Only where the hardware allows copies.",
        default="auto",
        metavar="auto|off|K",
        reads=str,
        convert=copies_of,
    )


@options
class ReadTime:
    """Option of the time of inference."""

    PANEL = "Machine"

    t_inference: float | str | None = option(
        "Age of the chips: time since their first read, in seconds, or 30min, 1h, 1d, 1y. By default the hardware's"
        " own.",
        default=None,
        metavar="T",
        unit="s",
        convert=time_of,
    )

    def __post_init__(self) -> None:
        check_times([] if self.t_s is None else [self.t_s])

    @property
    def t_s(self) -> float | None:
        """The time in seconds."""
        return None if self.t_inference is None else time_of(self.t_inference)


@options
class ReadTimes:
    """Option of one or more times of inference."""

    PANEL = "Machine"

    times: Sequence[float | str] | float | str | None = option(
        "Ages of the chips, separated by commas: time since their first read, in seconds, or 30min, 1h, 1d, 1y.",
        default=None,
        flag="--t-inference",
        metavar="0,1h,1d",
        unit="s",
        reads=str | None,
        convert=times_of,
    )

    def __post_init__(self) -> None:
        check_times(self.times_s or [])

    @property
    def times_s(self) -> list[float] | None:
        """The times in seconds."""
        return None if self.times is None else times_of(self.times)


@options
class Shapes:
    """Sizes that the file leaves open."""

    PANEL = "Model"

    shapes: Mapping[str, tuple[int, ...]] | None = option(
        "Full shape of an input that the file leaves open.",
        default=None,
        flag="--shape",
        metavar="NAME=1,3,224,224",
        reads=list[str],
        convert=shapes_of,
    )


@options
class GivenPlacement:
    """Options of a placement that is given, not searched."""

    PANEL = "Placement"

    placement: "Plan | Iterable[str] | None" = option(
        'Which layers are analog: a plan, their names, or "all-analog"; by default what the annotations say.',
        default=None,
        instead="the model's annotations",
    )
    all_analog: bool = option("Ignore annotations: every eligible layer is analog.", default=False)

    def __post_init__(self) -> None:
        if not (self.placement is None or hasattr(self.placement, "layers") or isinstance(self.placement, Iterable)):
            raise UsageError(f"placement {self.placement!r}: give an lhc.Plan or the names of layers")

    @property
    def everything(self) -> bool:
        """Whether every eligible layer is analog; ``placement`` may say so as in `lhc.HybridSession`."""
        return self.all_analog or self.placement == "all-analog"

    @property
    def names_layers(self) -> bool:
        """Whether the analog layers are named, instead of those of a plan or of the annotations."""
        return self.everything or not (self.placement is None or hasattr(self.placement, "layers"))


@options
class GoalOptions:
    """Options of the objective, apart from accuracy."""

    PANEL = "Goal"

    objective: Objective | None = option(
        "What to optimise: least energy, least latency, or most macs on tiles. By default energy where the hardware has"
        " costs, else macs.",
        default=None,
        metavar="O",
    )
    max_tiles: int | None = option("Use at most this many tiles.", default=None, metavar="N")
    max_latency: float | None = option(
        "A sample may take at most this long.", default=None, metavar="SECONDS", unit="s"
    )
    max_energy: float | None = option(
        "A sample may cost at most this energy.", default=None, metavar="JOULES", unit="J"
    )
    group: Sequence[str] = option(
        "Layers that move together: block, input (layers that read the same tensor, as q, k, v do), or a pattern.",
        default=(),
        metavar="P",
        reads=list[str],
    )


@options
class LayerSelection:
    """Selection of layers. Patterns are globs, or regular expressions after ``re:``."""

    PANEL = "Layers"

    include: Sequence[str] = option(
        "Look at these layers only (glob, or re:…).", default=(), metavar="P", reads=list[str]
    )
    exclude: Sequence[str] = option("Leave these layers digital, unmeasured.", default=(), metavar="P", reads=list[str])


@options
class Selection(LayerSelection):
    """Selection of the layers that are looked at, and of those that are fixed."""

    force_analog: Sequence[str] = option("These layers are analog.", default=(), metavar="P", reads=list[str])
    force_digital: Sequence[str] = option("These layers are digital.", default=(), metavar="P", reads=list[str])


@options
class Ranking:
    """Options of the ranking: how the damage of single layers is found."""

    PANEL = "Search"

    method: RankingMethod = option(
        "How sensitivities are found: measure, fisher (predicted from gradients), or auto (predicted, and a few"
        " measured to check; all measured where these do not agree).",
        default="auto",
        metavar="M",
    )


@options
class Progressing:
    """Option of a function that is told of progress."""

    PANEL = "Execution"

    progress: Progress = option("Called as work proceeds.", default=silent, instead="a bar on stderr; -q: none")

    def __post_init__(self) -> None:
        if not callable(self.progress):
            raise UsageError(f"progress {self.progress!r}: give a function of what is done, how much, and of how much")


@options
class Emulating:
    """Options of the emulation: the engine that computes tiles."""

    PANEL = "Execution"

    engine: AskedEngine = option(
        "How products on tiles are computed. aihwkit is the definition: aihwkit's arithmetic in PyTorch, on a GPU where"
        " it has one. fast computes the same for ordinary tiles in compiled loops, and is checked against it. auto"
        " takes fast where the machine allows it.",
        default="auto",
        convert=engine_of,
        metavar="E",
        rare=True,
    )


@options
class Execution(Progressing):
    """Options of the execution: processes, memory, cache, time. Only a --timeout that ends work changes results."""

    jobs: int = option("Processes, one thread each.", default=1, short="-j", metavar="N", least=1, most=1024)
    scheduler: str | None = option(
        "Measure on the workers of this Dask scheduler instead.", default=None, metavar="tcp://H:P", rare=True
    )
    work_dir: Path | str | None = option(
        "Where finished evaluations are kept: by default in your cache by a command, nowhere by a Python call.",
        default=None,
        metavar="DIR",
        reads=Path | None,
        rare=True,
    )
    fresh: bool = option("Measure anew: do not use evaluations that --work-dir keeps.", default=False, rare=True)
    memory: str | int = option(
        "Memory of each process for programmed tiles and outputs, such as 2GiB or 500MB.",
        default="2GiB",
        metavar="SIZE",
        unit="bytes",
        reads=str,
        rare=True,
    )
    timeout: float | str | None = option(
        "Begin nothing new after this time (seconds, or 30min, 2h); end with the best so far.",
        default=None,
        metavar="T",
        unit="s",
        convert=time_of,
        above=0,
    )

    def __post_init__(self) -> None:
        if self.bytes < 2**20:
            raise UsageError(f"--memory must be at least 1 MiB, got {self.memory}")
        if self.scheduler is not None and self.jobs > 1:
            raise UsageError("--jobs is for processes of this machine; a --scheduler has workers of its own")

    @property
    def timeout_s(self) -> float | None:
        """The timeout in seconds."""
        return None if self.timeout is None else time_of(self.timeout)

    @property
    def bytes(self) -> int:
        """The memory in bytes."""
        return bytes_of(self.memory)
