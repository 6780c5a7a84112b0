"""Options that one command of the terminal alone has: what it writes."""

from pathlib import Path

from lhc.options.declaration.option_fields import REQUIRED, argument, option, options
from lhc.options.output_options import (
    Annotating,
    Carrying,
    Estimating,
    Json,
    Printing,
    Replacing,
    Reporting,
    Watching,
    model_out,
)
from lhc.options.shared import MachineOptions

__all__ = [
    "AnalyzeOutput",
    "CompareOutput",
    "CompileOutput",
    "ExportOptions",
    "ParetoOutput",
    "PartitionOutput",
    "ReapplyOptions",
    "RetrainOutput",
    "RunOutput",
    "SmoothOutput",
    "SweepOutput",
    "WidenOutput",
]

WEIGHTS_BESIDE = "; weights in a file beside it, where those of MODEL are"


@options
class AnalyzeOutput(Printing, Replacing):
    """Output options of ``lhc analyze``."""

    inline_functions: Path | None = option(
        "First write the model with its local functions inlined, then look at that.",
        default=None,
        metavar="OUT.onnx",
        result="onnx.inliner",
    )


@options
class CompareOutput(Watching, Replacing, Estimating):
    """Output options of ``lhc compare``."""

    plot: Path | None = option(
        "Draw the machines side by side.",
        default=None,
        metavar="F.svg",
        result="lhc.report.charts.comparison.comparison_svg(results)",
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
    out: Path = option("Where the model goes.", default=REQUIRED, short="-o", metavar="OUT.onnx")
    weights: Path | None = option(
        "Trained weights: .npz or a PyTorch state dict; of smollm2 a .gguf file or a folder of Hugging Face.",
        default=None,
        metavar="FILE",
        result="zoo_entry(name).model(weights)",
    )
    data_out: Path | None = option(
        "Also write the model's own samples.", default=None, metavar="F.npz", result="zoo_entry(name).task()"
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
        "Write the front.", default=None, short="-o", metavar="F.json", result="the front's fields"
    )
    plot: Path | None = option(
        "Draw the front.", default=None, metavar="F.svg", result="lhc.report.charts.report_charts.front_svg(front)"
    )


@options
class PartitionOutput(Watching, Reporting, Annotating, Carrying, Estimating):
    """Output options of ``lhc partition``."""

    plan_out: Path | None = option(
        "Also write the plan, to be read, edited, fed back.",
        default=None,
        metavar="F.yaml",
        result="result.plan.to_yaml()",
    )
    show_pipeline: bool = option(
        "Print the steps that these options stand for, and do nothing.",
        default=False,
        rare=True,
        result="lhc.commands.partition.pipeline(options)",
    )


@options
class ReapplyOptions(Printing, Carrying, Replacing, MachineOptions):
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
    )


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
    )


@options
class WidenOutput(Printing, Replacing):
    """Output options of ``lhc widen``."""

    out: Path | None = model_out(".wide.onnx", WEIGHTS_BESIDE)
