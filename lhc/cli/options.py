"""Options and arguments that several sub-commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lhc.errors import UsageError

if TYPE_CHECKING:
    from lhc.measure import Execution
    from lhc.passes import Select

__all__ = [
    "Confidence",
    "Data",
    "Direction",
    "Draws",
    "DryRun",
    "Exclude",
    "ExternalData",
    "Force",
    "ForceAnalog",
    "ForceDigital",
    "Form",
    "Fresh",
    "Group",
    "HardwareOption",
    "Include",
    "Jobs",
    "Json",
    "LabelKey",
    "MaxEnergy",
    "MaxLatency",
    "MaxTiles",
    "Memory",
    "Method",
    "Metric",
    "Model",
    "Objective",
    "Patterns",
    "Quiet",
    "RunHardware",
    "Samples",
    "Scheduler",
    "ScoredOutput",
    "Seed",
    "Shape",
    "TInference",
    "Timeout",
    "WorkDir",
    "execution",
    "selection_of",
    "shapes_of",
]

Model = Annotated[str, typer.Argument(metavar="MODEL", help="An .onnx file, or a name that 'lhc models' lists.")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="Samples by input name, first axis samples: an .npz, a folder of one .npy per input or of .npz shards, or"
        " module:function, which yields blocks.",
    ),
]
LabelKey = Annotated[str, typer.Option("--label-key", metavar="KEY", help="Key of the targets in the data.")]
HardwareOption = Annotated[str, typer.Option("--hardware", metavar="H", help="Preset name or YAML file.")]
RunHardware = Annotated[
    str | None,
    typer.Option("--hardware", metavar="H", help="Preset or YAML file; that of the annotations by default."),
]
Metric = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="M",
        help="accuracy (default with labels), agreement (without, where the output holds probabilities), nmse (else),"
        " kl, mse, …, or module:function. That of the annotations, where the model has any and none is placed anew.",
    ),
]
Direction = Annotated[
    bool | None,
    typer.Option("--higher-is-better/--lower-is-better", help="Direction of a metric given as module:function."),
]
ScoredOutput = Annotated[
    str | None, typer.Option("--output", metavar="NAME", help="The output that is scored; the first by default.")
]
Confidence = Annotated[float, typer.Option("--confidence", metavar="C", help="Two-sided level of the intervals.")]
Samples = Annotated[int | None, typer.Option("--samples", metavar="N", help="Use the first N samples; all by default.")]
Draws = Annotated[int, typer.Option("--draws", metavar="N", help="Programmings (chips) per placement.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Fixes devices and noise.")]
TInference = Annotated[
    float | None,
    typer.Option("--t-inference", metavar="S", help="Seconds after the first read; the hardware's own by default."),
]
Method = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="M",
        help="How sensitivities are found: measure, fisher (predicted from gradients), or auto (predicted, checked by"
        " measuring a few layers, all measured where that is needed).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Form = Annotated[str, typer.Option("--format", metavar="F", help="table, csv, markdown, latex or json.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Force = Annotated[
    bool,
    typer.Option("--force", help="Replace existing files (a model that holds the same network is replaced anyway)."),
]
Patterns = list[str] | None
Include = Annotated[Patterns, typer.Option("--include", metavar="P", help="Look at these layers only (glob, or re:…).")]
Exclude = Annotated[Patterns, typer.Option("--exclude", metavar="P", help="Leave these layers digital, unmeasured.")]
ExternalData = Annotated[
    str,
    typer.Option(
        "--external-data",
        metavar="E",
        help="Where weights are in other files: keep refers to those, copy writes OUT.onnx.data beside the output.",
    ),
]
ForceAnalog = Annotated[Patterns, typer.Option("--force-analog", metavar="P", help="These layers are analog.")]
ForceDigital = Annotated[Patterns, typer.Option("--force-digital", metavar="P", help="These layers are digital.")]
Shape = Annotated[
    Patterns,
    typer.Option("--shape", metavar="NAME=1,3,224,224", help="Shape of an input that the file leaves open."),
]
Objective = Annotated[
    str | None,
    typer.Option(
        "--objective",
        metavar="O",
        help="energy, latency (least) or macs (most on tiles); by default energy, macs on hardware without costs.",
    ),
]
MaxTiles = Annotated[int | None, typer.Option("--max-tiles", metavar="N", help="Most tiles in use.")]
MaxLatency = Annotated[
    float | None, typer.Option("--max-latency", metavar="S", help="Greatest latency of a sample, in seconds.")
]
MaxEnergy = Annotated[
    float | None, typer.Option("--max-energy", metavar="J", help="Greatest energy of a sample, in joules.")
]
Group = Annotated[
    Patterns,
    typer.Option(
        "--group",
        metavar="P",
        help="Layers that move together: block, input (layers that read the same tensor, as q, k, v do), or a pattern.",
    ),
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", metavar="N", help="Processes, one thread each.")]
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="tcp://H:P", help="Measure on the workers of this Dask scheduler instead."),
]
WorkDir = Annotated[
    Path | None,
    typer.Option("--work-dir", metavar="DIR", help="Where finished evaluations are kept; in your cache by default."),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Do not use evaluations that are kept there already.")]
Memory = Annotated[
    str,
    typer.Option("--memory", metavar="SIZE", help="For programmed tiles and outputs, in each process: 2GiB, 500MB."),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Say how much work it is and how long it will take, by timing a small piece."),
]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="S", help="Begin nothing new after so many seconds; end with the best so far."),
]


def execution(
    jobs: int, scheduler: str | None, work_dir: Path | None, fresh: bool, memory: str, timeout: float | None
) -> "Execution":
    """These options as the API takes them.

    Raises:
        UsageError: one makes no sense.
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError

    from lhc.measure import Execution
    from lhc.store import default_work_dir

    try:
        limit = TypeAdapter(ByteSize).validate_python(memory)
    except ValidationError as error:
        raise UsageError(f"--memory {memory!r}: write a size such as 2GiB or 500MB") from error
    return Execution(jobs, scheduler, work_dir or default_work_dir(), fresh, int(limit), timeout)


def shapes_of(options: Patterns) -> dict[str, tuple[int, ...]]:
    """Shapes of inputs, as ``--shape`` gives them."""
    shapes = {}
    for option in options or ():
        name, _, sizes = option.rpartition("=")
        try:
            shape = tuple(int(size) for size in sizes.split(","))
        except ValueError:
            shape = ()
        if not name or not shape or min(shape) < 1:
            raise UsageError(f"--shape {option!r}: write NAME=1,3,224,224, with sizes of at least 1")
        shapes[name] = shape
    return shapes


def selection_of(
    include: Patterns, exclude: Patterns, force_analog: Patterns = None, force_digital: Patterns = None
) -> "Select":
    """Which layers are looked at and which are fixed, as the API takes it."""
    from lhc.passes import Select

    return Select(*(tuple(patterns or ()) for patterns in (include, exclude, force_analog, force_digital)))
