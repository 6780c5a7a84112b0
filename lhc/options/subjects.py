"""The options by subject; a command takes some of these classes (`lhc.options.commands`).

Each class checks what its values mean by themselves; what depends on model or samples is checked where these are known.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from lhc.errors import UsageError
from lhc.options.declare import argument, option, options
from lhc.options.values import bytes_of, shapes_of, times_of

if TYPE_CHECKING:
    from lhc.hardware import Hardware
    from lhc.plan import Plan
    from lhc.study.inputs import DataSource
    from lhc.study.source import ModelSource

__all__ = [
    "DEFAULT_STEPS",
    "LOSSES",
    "RATES",
    "BudgetOptions",
    "Checkpointing",
    "Chips",
    "Data",
    "DropType",
    "Execution",
    "ExternalData",
    "GivenPlacement",
    "GoalOptions",
    "LayerSelection",
    "MachineOptions",
    "Model",
    "Objective",
    "Optimizer",
    "PlacedMachine",
    "Progress",
    "Ranking",
    "RankingMethod",
    "ReadTime",
    "ReadTimes",
    "SampleSource",
    "Seeded",
    "Selection",
    "Shapes",
    "TrainingOptions",
    "WeightNoise",
    "silent",
]

Progress = Callable[[str, int, int], None]
"""Called as work proceeds: what is done, how much of it is done, how much it is in all."""
Objective = Literal["energy", "latency", "macs"]
DropType = Literal["absolute", "relative"]
RankingMethod = Literal["auto", "measure", "fisher"]
ExternalData = Literal["keep", "copy"]
Optimizer = Literal["adam", "sgd"]
WeightNoise = Literal["devices", "preset"]
"""Errors of the hardware's devices at its time of inference, or the noise of its section ``training``."""
DEFAULT_STEPS = 1000
LOSSES = ("distillation", "cross-entropy", "mse")
RATES: Mapping[str, float] = {"adam": 3e-3, "sgd": 1e-3}
"""Learning rates at the start, by optimiser (docs/retraining.md)."""


def silent(what: str, done: int, total: int) -> None:
    """No progress."""


@options
class Model:
    """The network."""

    PANEL: ClassVar[str] = "Model"

    model: "ModelSource" = argument(
        "An .onnx file, or a name that 'lhc models' lists.", kw_only=False, metavar="MODEL", reads=str
    )


@options
class SampleSource:
    """Where samples are."""

    PANEL: ClassVar[str] = "Data"

    data: "DataSource | None" = option(
        "Samples by input name, first axis samples: an .npz, a folder of one .npy per input or of .npz shards, or"
        " module:function, which yields blocks.",
        default=None,
        kw_only=False,
        metavar="DATA",
        reads=Path | None,
    )
    label_key: str = option("Key of the targets in the data.", default="labels", metavar="KEY")


@options
class Data(SampleSource):
    """Which samples are looked at, and how answers on them are scored."""

    PANEL: ClassVar[str] = "Data"

    samples: int | None = option("Use the first N samples; all by default.", default=None, metavar="N")
    metric: str | None = option(
        "accuracy (default with labels), agreement (without, where the output holds probabilities), nmse (else), kl,"
        " mse, …, or module:function. That of the annotations, where the model has any and none is placed anew.",
        default=None,
        metavar="M",
    )
    higher_is_better: bool | None = option(
        "Direction of a metric given as module:function.", default=None, off="--lower-is-better"
    )
    output: str | None = option("The output that is scored; the first by default.", default=None, metavar="NAME")


@options
class Seeded:
    """What makes a run repeatable."""

    PANEL: ClassVar[str] = "Chips"

    seed: int = option("Fixes devices and noise.", default=0, metavar="N")

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            UsageError: a negative seed.
        """
        if self.seed < 0:
            raise UsageError(f"--seed must not be negative, got {self.seed}")


@options
class Chips(Seeded):
    """Programmings, and how sure figures are."""

    PANEL: ClassVar[str] = "Chips"

    draws: int = option("Programmings (chips) per placement.", default=10, metavar="N")
    confidence: float = option("Two-sided level of the intervals.", default=0.9, metavar="C")


@options
class MachineOptions:
    """The hardware, where a model is to be placed on it."""

    PANEL: ClassVar[str] = "Machine"

    hardware: "Hardware | str | Path | None" = option(
        "Preset name or YAML file.", default="lionheart", metavar="H", reads=str | None
    )


@options
class PlacedMachine(MachineOptions):
    """The hardware, where a model may carry its own."""

    PANEL: ClassVar[str] = "Machine"

    hardware: "Hardware | str | Path | None" = option(
        "Preset or YAML file; by default that of the annotations, else lionheart.",
        default=None,
        metavar="H",
        reads=str | None,
    )


@options
class ReadTime:
    """When the machine is looked at."""

    PANEL: ClassVar[str] = "Machine"

    t_inference: float | None = option(
        "Seconds after the first read; the hardware's own by default.", default=None, metavar="S", unit="s"
    )


@options
class ReadTimes:
    """When the machine is looked at, at one or more times."""

    PANEL: ClassVar[str] = "Machine"

    times: Sequence[float] | None = option(
        "Seconds after the first read, one or more, separated by commas.",
        default=None,
        flag="--t-inference",
        metavar="0,3600,86400",
        unit="s",
        reads=str | None,
        convert=times_of,
    )


@options
class Shapes:
    """Sizes that the file leaves open."""

    PANEL: ClassVar[str] = "Model"

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
    """Which layers are analog, where nothing is searched."""

    PANEL: ClassVar[str] = "Placement"

    placement: "Plan | Iterable[str] | None" = option(
        'A plan, names of the analog layers, or "all-analog"; the annotations\' by default.',
        default=None,
        instead="the model's annotations",
    )
    all_analog: bool = option("Ignore annotations: every eligible layer is analog.", default=False)

    @property
    def everything(self) -> bool:
        """Whether every eligible layer is analog; ``placement`` may say so as in `lhc.HybridSession`."""
        return self.all_analog or self.placement == "all-analog"

    @property
    def names_layers(self) -> bool:
        """Whether the analog layers are named, instead of those of a plan or of the annotations."""
        return self.everything or not (self.placement is None or hasattr(self.placement, "layers"))


@options
class BudgetOptions:
    """The accuracy that the user can afford to lose."""

    PANEL: ClassVar[str] = "Budget"

    max_drop: float | str | None = option(
        "Greatest mean drop, in the metric's unit (0.01 or 1% is one point of accuracy); a zoo model's own, else 0.01.",
        default=None,
        metavar="X",
        reads=str | None,
    )
    drop_type: DropType | None = option(
        "Whether the drop is absolute or relative to the baseline; that of the annotations where --max-drop is theirs,"
        " else absolute.",
        default=None,
        metavar="T",
    )
    generalize: bool = option("Decide for other samples too, not for these samples alone.", default=False)


@options
class GoalOptions:
    """What a placement is to be good at, apart from accuracy."""

    PANEL: ClassVar[str] = "Goal"

    objective: Objective | None = option(
        "Least energy, least latency, or most macs on tiles; energy where the hardware has costs, else macs.",
        default=None,
        metavar="O",
    )
    max_tiles: int | None = option("Most tiles in use.", default=None, metavar="N")
    max_latency: float | None = option("Greatest latency of a sample.", default=None, metavar="S", unit="s")
    max_energy: float | None = option("Greatest energy of a sample.", default=None, metavar="J", unit="J")
    group: Sequence[str] = option(
        "Layers that move together: block, input (layers that read the same tensor, as q, k, v do), or a pattern.",
        default=(),
        metavar="P",
        reads=list[str],
        convert=tuple,
    )


@options
class LayerSelection:
    """Which layers are looked at. Patterns are globs, or regular expressions after ``re:``."""

    PANEL: ClassVar[str] = "Layers"

    include: Sequence[str] = option(
        "Look at these layers only (glob, or re:…).", default=(), metavar="P", reads=list[str], convert=tuple
    )
    exclude: Sequence[str] = option(
        "Leave these layers digital, unmeasured.", default=(), metavar="P", reads=list[str], convert=tuple
    )


@options
class Selection(LayerSelection):
    """Which layers are looked at, and which are fixed."""

    PANEL: ClassVar[str] = "Layers"

    force_analog: Sequence[str] = option(
        "These layers are analog.", default=(), metavar="P", reads=list[str], convert=tuple
    )
    force_digital: Sequence[str] = option(
        "These layers are digital.", default=(), metavar="P", reads=list[str], convert=tuple
    )


@options
class Ranking:
    """How the damage of single layers is found."""

    PANEL: ClassVar[str] = "Search"

    method: RankingMethod = option(
        "How sensitivities are found: measure, fisher (predicted from gradients), or auto (predicted, checked by"
        " measuring a few layers, all measured where that is needed).",
        default="auto",
        metavar="M",
    )


@options
class TrainingOptions(Seeded):
    """How a network is trained under the noise of its tiles."""

    PANEL: ClassVar[str] = "Training"

    steps: int | None = option("Optimiser steps; 1000 by default.", default=None, metavar="N")
    epochs: float | None = option("The same as passes over the training samples.", default=None, metavar="E")
    batch_size: int = option("Samples a step.", default=128, metavar="N")
    optimizer: Optimizer = option("adam (steps relative to each tensor's size) or sgd.", default="adam", metavar="O")
    learning_rate: float | None = option(
        "Learning rate at the start: 0.003 (adam), 0.001 (sgd).", default=None, flag="--lr", metavar="X"
    )
    digital_learning_rate: float | None = option(
        "The same for all but weights of analog layers.", default=None, flag="--digital-lr", metavar="X"
    )
    momentum: float = option("Of sgd.", default=0.9, metavar="X", rare=True)
    loss: str = option("distillation, cross-entropy, mse or module:function.", default="distillation", metavar="L")
    augment: str = option("none, crop-flip (images) or module:function(feeds, generator).", default="none", metavar="A")
    noise: WeightNoise = option(
        "Weight errors: devices (the hardware's own) or preset (its section training).", default="devices", metavar="N"
    )
    ramp: float = option(
        "Share of the steps over which noise grows from 0 to all of it.", default=0.0, metavar="X", rare=True
    )
    validations: int = option("Validations on the way.", default=4, metavar="N")
    patience: int | None = option(
        "Stop after so many validations (rounds) without a better one.", default=None, metavar="N"
    )

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            UsageError: a value out of its range, or an unknown name.
        """
        if self.steps is not None and self.epochs is not None:
            raise UsageError("--steps and --epochs say the same; give one of them")
        for flag, value in (
            ("--steps", self.steps),
            ("--epochs", self.epochs),
            ("--batch-size", self.batch_size),
            ("--lr", self.learning_rate),
            ("--digital-lr", self.digital_learning_rate),
            ("--validations", self.validations),
            ("--patience", self.patience),
        ):
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{flag} must be above 0, got {value}")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"--momentum must be at least 0 and below 1, got {self.momentum}")
        if not 0 <= self.ramp <= 1:
            raise UsageError(f"--ramp is a share of the steps, 0 to 1; got {self.ramp}")
        if self.loss not in LOSSES and ":" not in self.loss:
            raise UsageError(f"unknown loss {self.loss!r}; choose {', '.join(LOSSES)} or module:function")

    @property
    def rate(self) -> float:
        """Learning rate at the start, of the weights of analog layers."""
        return RATES[self.optimizer] if self.learning_rate is None else self.learning_rate

    @property
    def digital_rate(self) -> float:
        """Learning rate at the start, of everything else."""
        return self.rate if self.digital_learning_rate is None else self.digital_learning_rate

    def steps_for(self, samples: int) -> int:
        """Optimiser steps, for so many training samples."""
        if self.epochs is not None:
            return max(1, round(self.epochs * samples / self.batch_size))
        return DEFAULT_STEPS if self.steps is None else self.steps


@options
class Checkpointing:
    """Where a training is kept."""

    PANEL: ClassVar[str] = "Training"

    checkpoint: Path | None = option(
        "Keep the state here; the same command goes on where it stopped.", default=None, metavar="DIR"
    )


@options
class Execution:
    """How the work is carried out. Results do not depend on it."""

    PANEL: ClassVar[str] = "Execution"

    jobs: int = option("Processes, one thread each.", default=1, short="-j", metavar="N")
    scheduler: str | None = option(
        "Measure on the workers of this Dask scheduler instead.", default=None, metavar="tcp://H:P", rare=True
    )
    work_dir: Path | str | None = option(
        "Where finished evaluations are kept; in your cache by default.", default=None, metavar="DIR", reads=Path | None
    )
    fresh: bool = option("Do not use evaluations that are kept there already.", default=False)
    memory: str | int = option(
        "For programmed tiles and outputs, in each process: 2GiB, 500MB.",
        default="2GiB",
        metavar="SIZE",
        unit="bytes",
        reads=str,
    )
    timeout: float | None = option(
        "Begin nothing new after so many seconds; end with the best so far.", default=None, metavar="S", unit="s"
    )
    progress: Progress = option("Called as work proceeds.", default=silent, instead="a bar on stderr; -q: none")

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            UsageError: a value out of its range.
        """
        if self.jobs < 1:
            raise UsageError(f"--jobs must be at least 1, got {self.jobs}")
        if self.bytes < 2**20:
            raise UsageError(f"--memory must be at least 1 MiB, got {self.memory}")
        if self.timeout is not None and not self.timeout > 0:
            raise UsageError(f"--timeout must be above 0 s, got {self.timeout}")
        if self.scheduler is not None and self.jobs > 1:
            raise UsageError("--jobs is for processes of this machine; a --scheduler has workers of its own")

    @property
    def bytes(self) -> int:
        """The memory in bytes."""
        return bytes_of(self.memory)
