"""Options of commands that look at what there is, and neither measure nor place: they load no others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lhc.errors import UsageError
from lhc.options.declaration.option_fields import argument, option, options
from lhc.options.output_options import Json, Printing, Replacing
from lhc.options.shared import Model

__all__ = ["CacheOptions", "DiffOptions", "HardwareOptions", "InspectOptions", "ReportOptions", "ViewOptions"]


@options
class CacheOptions(Printing):
    """The options of ``lhc cache``."""

    PANEL = "Output"

    action: Literal["info", "merge", "clear"] = argument(
        "info: what the cache holds. merge: copy into it what the caches DIR have and it has not. clear: remove it.",
        kw_only=False,
        metavar="ACTION",
    )
    sources: Sequence[Path] = argument(
        "Caches of other machines, which merge copies from and leaves as they are.",
        kw_only=False,
        default=(),
        metavar="DIR",
        reads=list[Path],
    )
    work_dir: Path | None = option(
        "The cache: by default $LHC_CACHE, else the one in your cache folder.",
        default=None,
        metavar="DIR",
    )
    yes: bool = option("With clear: remove the files; without it, they are only listed.", default=False)

    def __post_init__(self) -> None:
        if self.action == "merge" and not self.sources:
            raise UsageError("lhc cache merge: name the caches to copy from, e.g. lhc cache merge ~/lhc-caches/*")
        if self.action != "merge" and self.sources:
            raise UsageError(f"lhc cache {self.action} is about one cache: name it by --work-dir DIR")
        if self.yes and self.action != "clear":
            raise UsageError("--yes goes with lhc cache clear")


ReportForm = Literal["markdown", "json", "card"]


@options
class DiffOptions(Json):
    """The options of ``lhc diff``."""

    before: str = argument(
        "An annotated model, or a machine: a preset or YAML file.", kw_only=False, metavar="A.lhc.onnx"
    )
    after: str = argument("Another one.", kw_only=False, metavar="B.lhc.onnx")


@options
class HardwareOptions(Replacing):
    """The options of ``lhc hardware``."""

    PANEL = "Machine"

    name: str | None = argument(
        "Preset name, YAML file, or module:name of an aihwkit InferenceRPUConfig.",
        kw_only=False,
        default=None,
        metavar="NAME",
        names="presets",
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
    out: Path | None = option("Write the description there.", default=None, short="-o", metavar="OUT.yaml", writes=True)

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

    out: Path | None = option(
        "Write the layer graph with the placement on its nodes: .graphml for yEd, Gephi and Cytoscape, or .json"
        " (node-link).",
        default=None,
        short="-o",
        metavar="OUT.graphml",
        result="lhc.layer_graph(model)",
        writes=True,
    )
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
        result="lhc.onnx_io.annotate.plan_as_fusion_csv.fusion_csv(model, graph, plan)",
        rare=True,
        writes=True,
    )

    def __post_init__(self) -> None:
        asked = {
            "--out": self.out is not None,
            "--layer-assignment": self.layer_assignment is not None,
            "--nnpa-config": self.nnpa_config,
            "--fusion": self.fusion is not None,
            "--json" if self.json else f"--format {self.form}": self.json or self.form != "table",
        }
        given = [flag for flag, is_given in asked.items() if is_given]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} ask for two forms; give one of them")


@options
class ReportOptions(Replacing):
    """The options of ``lhc report``; in Python ``lhc.report``."""

    source: str | None = argument(
        "An annotated model, a folder of results, or a report as .json.",
        kw_only=False,
        default=None,
        metavar="MODEL|DIR",
    )
    outputs: Sequence[Path] = option(
        "Where to: .html, .md, .pdf or .json; .csv (layers), .svg (pictures), .xml (budgets as JUnit test cases);"
        " .netron.json for Netron, .node_data.json for Model Explorer. Repeatable; Markdown on stdout by default.",
        default=(),
        flag="--out",
        short="-o",
        metavar="OUT",
        reads=list[Path],
        result="lhc.report.exports.formats.save_report(report, path)",
    )
    work_dir: Path | None = option(
        "Folder of results that holds what was measured of this placement: by default your cache; in Python none.",
        default=None,
        metavar="DIR",
    )
    schema: bool = option("Print the JSON schema of reports.", default=False, result="Report.json_schema()")
    form: ReportForm = option(
        "How the report is printed: markdown, json, or card, the page of a model on a hub, which OUT.md holds then.",
        default="markdown",
        flag="--format",
        metavar="F",
        result="lhc.report.exports.model_card.model_card(report)",
    )
    json: bool = option("The same as --format json.", default=False, result="report.to_json()")
    mlflow: bool = option(
        "Log parameters, metrics and the page to MLflow, where MLFLOW_TRACKING_URI says (extra mlflow).",
        default=False,
        result="lhc.report.exports.mlflow_run.log_mlflow(report)",
    )

    def __post_init__(self) -> None:
        if self.schema and (self.source is not None or self.outputs):
            raise UsageError("--schema prints the schema of every report; leave out what a report is of, and -o")
        if self.json and self.form == "card":
            raise UsageError("--json and --format card ask for two forms; give one of them")
        if self.form == "card" and self.outputs and not any(path.suffix.lower() == ".md" for path in self.outputs):
            raise UsageError("--format card is Markdown: give -o a name that ends in .md, or leave it out")
        as_json = "--json" if self.json else "--format json" if self.form == "json" else None
        if as_json and self.outputs and not any(path.suffix.lower() == ".json" for path in self.outputs):
            raise UsageError(f"{as_json} prints; for a file give -o a name that ends in .json, and leave {as_json} out")


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
    )
    no_browser: bool = option("Only print the address.", default=False)
