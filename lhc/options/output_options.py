"""Options of the command line alone: what is printed and written. In Python, results have methods for that.

First those that several commands have, then by command.
"""

from pathlib import Path
from typing import Literal

from lhc.errors import UsageError
from lhc.options.declaration.option_fields import REQUIRED, argument, option, options
from lhc.options.shared import ExternalData, PlacedHardware

__all__ = [
    "AnalyzeOutput",
    "Annotating",
    "Carrying",
    "CompareOutput",
    "CompileOutput",
    "Estimating",
    "ExportOptions",
    "Form",
    "Json",
    "MeasuredOutput",
    "ParetoOutput",
    "PartitionOutput",
    "Printing",
    "ReapplyOptions",
    "Replacing",
    "Reporting",
    "RetrainOutput",
    "RunOutput",
    "SmoothOutput",
    "SweepOutput",
    "Watching",
    "WidenOutput",
    "model_out",
]

Form = Literal["table", "csv", "markdown", "latex", "json"]


def model_out(ending: str, more: str = "", metavar: str = "OUT.onnx") -> Path | None:
    """The option that says where a model goes that is made of another."""
    text = f"By default <stem>{ending} beside MODEL{more}."
    return option(text, default=None, short="-o", metavar=metavar, result="result.save(path)", writes=True)


@options
class Json:
    """Option ``--json`` of commands that print no table."""

    PANEL = "Output"

    json: bool = option("Print JSON.", default=False, result="the result's own fields")


@options
class Printing:
    """Options of the printed form."""

    PANEL = "Output"

    form: Form = option(
        "How results are printed.", default="table", flag="--format", metavar="F", result="result.table(form)"
    )
    json: bool = option("The same as --format json.", default=False, result="the result's own fields")

    def __post_init__(self) -> None:
        if self.json and self.form not in ("table", "json"):
            raise UsageError(f"--json and --format {self.form} ask for two forms; give one of them")

    @property
    def chosen(self) -> Form:
        """The form that both options ask for."""
        return "json" if self.json else self.form


@options
class Watching(Printing):
    """Options of progress on the terminal."""

    quiet: bool = option("No progress.", default=False, short="-q", result="progress=…")
    verbose: bool = option(
        "Say how long each step took and which steps changed nothing; and give the details of a verdict.",
        default=False,
        short="-v",
        result="logging",
    )


@options
class Estimating:
    """Nothing but an estimate."""

    PANEL = "Execution"

    dry_run: bool = option(
        "Say how much work it is, and estimate from a timed small piece how long it takes; then end.",
        default=False,
        result="lhc.estimate(…)",
    )


@options
class Replacing:
    """Files that exist."""

    PANEL = "Output"

    force: bool = option(
        "Replace existing files (a model that holds the same network is replaced anyway).",
        default=False,
        result="save(force=True)",
    )


@options
class Annotating(Replacing):
    """Options of the file that an annotated model is written to."""

    out: Path | None = model_out(".lhc.onnx")
    external_data: ExternalData = option(
        "Where weights are in other files: keep refers to those, copy writes OUT.onnx.data beside the output.",
        default="keep",
        metavar="E",
        rare=True,
        result="save(external_data=…)",
    )


@options
class Carrying:
    """Forms of a placement that others read, beside lhc's own."""

    PANEL = "Output"

    layer_ann: bool = option(
        "Also write onnxruntime's key layer_ann on nodes that have none.",
        default=False,
        result="save(layer_ann=True)",
        rare=True,
    )
    device_configurations: bool = option(
        "Also write ONNX's device configurations; a file of an earlier IR version gets version 11.",
        default=False,
        result="save(device_configurations=True)",
        rare=True,
    )


@options
class Reporting:
    """A report beside the result."""

    PANEL = "Output"

    report: Path | None = option(
        "Also write a report (.html, .md, .json, or .xml for JUnit).",
        default=None,
        metavar="OUT.html",
        result="lhc.report(result)",
        writes=True,
    )


@options
class MeasuredOutput(Watching, Reporting, Replacing):
    """Output options of a command that measures a placement."""


WEIGHTS_BESIDE = "; weights in a file beside it, where those of MODEL are"


@options
class AnalyzeOutput(Printing, Replacing):
    """Output options of ``lhc analyze``."""

    inline_functions: Path | None = option(
        "First write the model with its local functions inlined, then look at that.",
        default=None,
        metavar="OUT.onnx",
        result="onnx.inliner",
        writes=True,
    )


@options
class CompareOutput(Watching, Replacing, Estimating):
    """Output options of ``lhc compare``."""

    plot: Path | None = option(
        "Draw the machines side by side.",
        default=None,
        metavar="F.svg",
        result="lhc.report.charts.comparison.comparison_svg(results)",
        writes=True,
    )


@options
class CompileOutput(Json, Replacing):
    """Output options of ``lhc compile``."""

    draws: int = option(
        "Programmings (chips): one file each.", default=1, metavar="K", least=1, most=10_000, result="draw=…"
    )
    out: Path | None = model_out(".sim.onnx", metavar="OUT.sim.onnx")
    quiet: bool = option("No progress.", default=False, short="-q", result="progress=…")


@options
class ExportOptions(Replacing):
    """The options of ``lhc export``."""

    name: str = argument("A name that 'lhc models' lists.", kw_only=False, metavar="NAME", names="models")
    out: Path = option("Where the model goes.", default=REQUIRED, short="-o", metavar="OUT.onnx", writes=True)
    weights: Path | None = option(
        "Trained weights, where the entry has none of its own: .npz (resnet8: that alone) or a PyTorch state dict."
        " stories260k: a .bin of llama2.c; mobilebert: a folder with a checkpoint; smollm2: a .gguf file or a folder"
        " of Hugging Face.",
        default=None,
        metavar="FILE",
        result="zoo_entry(name).model(weights)",
    )
    data_out: Path | None = option(
        "Also write the model's own samples.",
        default=None,
        metavar="F.npz",
        result="zoo_entry(name).task()",
        writes=True,
    )


@options
class ParetoOutput(Watching, Replacing):
    """Output options of ``lhc pareto``, and questions to a finished front."""

    from_dir: Path | None = option(
        "Pick a point for --max-drop from the fronts kept in this folder, instead of measuring.",
        default=None,
        flag="--from",
        metavar="DIR",
        result="front.points",
    )
    max_drop: str | None = option(
        "With --from: greatest mean drop that you allow.", default=None, metavar="X", result="front.points"
    )
    out: Path | None = option(
        "Write the front.", default=None, short="-o", metavar="F.json", result="the front's fields", writes=True
    )
    plot: Path | None = option(
        "Draw the front.",
        default=None,
        metavar="F.svg",
        result="lhc.report.charts.report_charts.front_svg(front)",
        writes=True,
    )


@options
class PartitionOutput(Watching, Reporting, Annotating, Carrying, Estimating):
    """Output options of ``lhc partition``."""

    plan_out: Path | None = option(
        "Also write the plan, to be read, edited, fed back.",
        default=None,
        metavar="F.yaml",
        result="result.plan.to_yaml()",
        writes=True,
    )
    show_pipeline: bool = option(
        "Print the steps that these options stand for, and do nothing.",
        default=False,
        rare=True,
        result="lhc.commands.partition.pipeline(options)",
    )


@options
class ReapplyOptions(Printing, Carrying, Replacing, PlacedHardware):
    """The options of ``lhc reapply``."""

    model: str = argument("What another tool made of an annotated model.", kw_only=False, metavar="MODEL")
    original: Path | None = option(
        "Where MODEL lost its metadata, the file that has it; or settings of onnx-mlir (.json), or of onnxruntime by"
        " names (.txt).",
        default=None,
        flag="--from",
        metavar="ORIGINAL.lhc.onnx",
    )
    out: Path | None = model_out(".lhc.onnx")


@options
class RetrainOutput(Watching, Annotating, Estimating):
    """Output options of ``lhc retrain``."""

    out: Path | None = model_out(".retrained.lhc.onnx")


@options
class RunOutput(Watching, Reporting, Replacing, Estimating):
    """Output options of ``lhc run``."""

    outputs: Path | None = option(
        "Write the outputs of the mapped network, of one chip unless --draws is given.",
        default=None,
        metavar="OUT.npz",
        result="lhc.analog_outputs(…)",
        writes=True,
    )

    def __post_init__(self) -> None:
        if self.outputs is not None and self.outputs.suffix.lower() != ".npz":
            raise UsageError(f"--outputs {self.outputs}: outputs are arrays by name; give a file that ends in .npz")


@options
class SmoothOutput(Watching, Replacing):
    """Output options of ``lhc smooth``."""

    out: Path | None = model_out(".smooth.onnx", WEIGHTS_BESIDE)


@options
class SweepOutput(Watching, Replacing, Estimating):
    """Output options of ``lhc sweep``."""

    out: Path | None = option(
        "Folder for sweep.csv, sweep.md, sweep.json and sweep.svg; by default <stem>-results.",
        default=None,
        short="-o",
        metavar="DIR",
        result="lhc.report.exports.sweep_files.save_sweep(result, folder)",
        writes=True,
    )


@options
class WidenOutput(Printing, Replacing):
    """Output options of ``lhc widen``."""

    out: Path | None = model_out(".wide.onnx", WEIGHTS_BESIDE)
