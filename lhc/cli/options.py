"""Options and arguments that several sub-commands share."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Confidence",
    "Data",
    "Direction",
    "Draws",
    "Exclude",
    "Force",
    "ForceAnalog",
    "ForceDigital",
    "Form",
    "HardwareOption",
    "Include",
    "Json",
    "LabelKey",
    "Metric",
    "Model",
    "Patterns",
    "Quiet",
    "RunHardware",
    "Samples",
    "ScoredOutput",
    "Seed",
    "Shape",
    "TInference",
]

Model = Annotated[str, typer.Argument(metavar="MODEL", help="An .onnx file, or a name that 'lhc models' lists.")]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="F.npz", help="Samples: keys are input names, the first axis counts samples."),
]
LabelKey = Annotated[str, typer.Option("--label-key", metavar="KEY", help="Key of the targets in the data.")]
HardwareOption = Annotated[str, typer.Option("--hardware", metavar="H", help="Preset name or YAML file.")]
RunHardware = Annotated[
    str | None,
    typer.Option("--hardware", metavar="H", help="Preset or YAML file; that of the annotations by default."),
]
Metric = Annotated[
    str | None,
    typer.Option("--metric", metavar="M", help="accuracy (default with labels), agreement, kl, …, or module:function."),
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
Json = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
Form = Annotated[str, typer.Option("--format", metavar="F", help="table, csv, markdown, latex or json.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Force = Annotated[
    bool,
    typer.Option("--force", help="Replace existing files (a model that holds the same network is replaced anyway)."),
]
Patterns = list[str] | None
Include = Annotated[Patterns, typer.Option("--include", metavar="P", help="Look at these layers only (glob, or re:…).")]
Exclude = Annotated[Patterns, typer.Option("--exclude", metavar="P", help="Leave these layers digital, unmeasured.")]
ForceAnalog = Annotated[Patterns, typer.Option("--force-analog", metavar="P", help="These layers are analog.")]
ForceDigital = Annotated[Patterns, typer.Option("--force-digital", metavar="P", help="These layers are digital.")]
Shape = Annotated[
    Patterns,
    typer.Option("--shape", metavar="NAME=1,3,224,224", help="Shape of an input that the file leaves open."),
]
