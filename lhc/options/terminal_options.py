"""Options that one command of the terminal alone has: what it writes, and what commands take that only show."""

from collections.abc import Sequence
from pathlib import Path

from lhc.errors import UsageError
from lhc.options.declare import REQUIRED, argument, option, options
from lhc.options.printed import (
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
from lhc.options.subjects import MachineOptions, Model

__all__ = [
    "AnalyzeOutput",
    "CompareOutput",
    "CompileOutput",
    "DiffOptions",
    "ExportOptions",
    "HardwareOptions",
    "InspectOptions",
    "ParetoOutput",
    "PartitionOutput",
    "ReapplyOptions",
    "ReportOptions",
    "RetrainOutput",
    "RunOutput",
    "SmoothOutput",
    "ViewOptions",
    "WidenOutput",
]

WEIGHTS_BESIDE = "; weights in a file beside it, where those of MODEL are"


@options
class AnalyzeOutput(Printing, Replacing):
    """What ``lhc analyze`` writes."""

    inline_functions: Path | None = option(
        "First write the model with its local functions inlined, then look at that.",
        default=None,
        metavar="OUT.onnx",
        result="onnx.inliner",
    )


@options
class CompareOutput(Watching, Replacing, Estimating):
    """What ``lhc compare`` writes."""

    plot: Path | None = option(
        "Draw the machines side by side.",
        default=None,
        metavar="F.svg",
        result="lhc.report.comparison_svg.comparison_svg(results)",
    )


@options
class CompileOutput(Json, Replacing):
    """What ``lhc compile`` writes."""

    draws: int = option(
        "Programmings (chips): one file each.", default=1, metavar="K", least=1, most=10_000, result="draw=…"
    )
    out: Path | None = model_out(".sim.onnx", metavar="OUT.sim.onnx")
    quiet: bool = option("No progress.", default=False, short="-q", result="progress=…")


@options
class DiffOptions(Json):
    """The options of ``lhc diff``."""

    before: str = argument("An annotated model.", kw_only=False, metavar="A.lhc.onnx")
    after: str = argument("Another one.", kw_only=False, metavar="B.lhc.onnx")


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
class HardwareOptions(Replacing):
    """The options of ``lhc hardware``."""

    PANEL = "Machine"

    name: str | None = argument(
        "Preset name or YAML file.", kw_only=False, default=None, metavar="NAME", names="presets"
    )
    measured: Path | None = option(
        "Devices as measured: a CSV with target_us, time_s, conductance_us, device (and chip); everything else comes"
        " from NAME.",
        default=None,
        metavar="FILE.csv",
    )
    fusion_targets: Path | None = option(
        "With --measured: both are aihwkit's CSVs for the Fusion chip, this one with the targets.",
        default=None,
        metavar="FILE.csv",
        rare=True,
    )
    fault_map: Path | None = option(
        "Stuck cells of one chip, as its test found them: a CSV with tile, row, column, side, stuck;"
        " everything else comes from NAME.",
        default=None,
        metavar="FILE.csv",
    )
    out: Path | None = option("Write the description there.", default=None, short="-o", metavar="OUT.yaml")

    def __post_init__(self) -> None:
        if self.out is not None and self.name is None and self.measured is None:
            raise UsageError(f"-o {self.out}: name the machine to write, e.g. lhc hardware lionheart -o {self.out}")
        if self.fusion_targets is not None and self.measured is None:
            raise UsageError("--fusion-targets are the targets of what --measured holds: give both")
        if self.fault_map is not None and self.name is None:
            raise UsageError(
                "--fault-map: name the machine whose cells these are, e.g. lhc hardware mine.yaml --fault-map …"
            )


@options
class InspectOptions(Printing, Replacing, Model):
    """The options of ``lhc inspect``."""

    layer_assignment: str | None = option(
        "Print the onnxruntime setting that sends analog layers to DEVICE (npu, …), by layer_ann or else by names.",
        default=None,
        metavar="DEVICE",
        result="lhc.onnx_io.layer_assignment(model, device)",
    )
    nnpa_config: bool = option(
        "Print the placement as JSON for onnx-mlir --config-file.",
        default=False,
        result="lhc.onnx_io.nnpa_config(model, plan)",
        rare=True,
    )
    fusion: Path | None = option(
        "Write what the devices of analog layers are programmed to, as aihwkit's CSV for the Fusion chip.",
        default=None,
        metavar="F.csv",
        result="lhc.onnx_io.fusion.fusion_csv(model, graph, plan)",
        rare=True,
    )


@options
class ParetoOutput(Watching, Replacing):
    """What ``lhc pareto`` writes, and how it is asked afterwards."""

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
        "Draw the front.", default=None, metavar="F.svg", result="lhc.report.front_svg.front_svg(front)"
    )


@options
class PartitionOutput(Watching, Reporting, Annotating, Carrying, Estimating):
    """What ``lhc partition`` writes."""

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
class ReportOptions(Replacing):
    """The options of ``lhc report``; in Python ``lhc.report_of``."""

    source: str | None = argument(
        "An annotated model, a folder of results, or a report as .json.",
        kw_only=False,
        default=None,
        metavar="MODEL|DIR",
    )
    outputs: Sequence[Path] = option(
        "Where to: .html, .md, .pdf or .json; .csv (layers), .svg (pictures); .netron.json for Netron,"
        " .node_data.json for Model Explorer. Repeatable; Markdown on stdout by default.",
        default=(),
        flag="--out",
        short="-o",
        metavar="OUT",
        reads=list[Path],
        result="lhc.report.formats.save_report(report, path)",
    )
    work_dir: Path | None = option(
        "Where finished evaluations are kept; in your cache by default.", default=None, metavar="DIR"
    )
    schema: bool = option("Print the JSON schema of reports.", default=False, result="Report.json_schema()")
    json: bool = option("JSON on stdout instead of Markdown.", default=False, result="report.to_json()")


@options
class RetrainOutput(Watching, Annotating, Estimating):
    """What ``lhc retrain`` writes."""

    out: Path | None = model_out(".retrained.lhc.onnx")


@options
class RunOutput(Watching, Reporting, Replacing, Estimating):
    """What ``lhc run`` writes."""

    outputs: Path | None = option(
        "Write the outputs of the mapped network, of one chip unless --draws is given.",
        default=None,
        metavar="OUT.npz",
        result="lhc.analog_outputs(…)",
    )


@options
class SmoothOutput(Watching, Replacing):
    """What ``lhc smooth`` writes."""

    out: Path | None = model_out(".smooth.onnx", WEIGHTS_BESIDE)


@options
class ViewOptions(Model):
    """The options of ``lhc view``."""

    PANEL = "Output"

    port: int = option(
        "By default a free one.",
        default=0,
        metavar="N",
        least=0,
        most=65_535,
        result="lhc.report.server.make_server(site, port)",
    )
    no_browser: bool = option("Only print the address.", default=False, result="lhc.report.server.serve(server)")


@options
class WidenOutput(Printing, Replacing):
    """What ``lhc widen`` writes."""

    out: Path | None = model_out(".wide.onnx", WEIGHTS_BESIDE)
