"""Options of the command line alone: what is printed and written. In Python, results have methods for that."""

from pathlib import Path
from typing import Literal

from lhc.options.declaration.option_fields import option, options
from lhc.options.shared import ExternalData

__all__ = [
    "Annotating",
    "Carrying",
    "Estimating",
    "Form",
    "Json",
    "MeasuredOutput",
    "Printing",
    "Replacing",
    "Reporting",
    "Watching",
    "model_out",
]

Form = Literal["table", "csv", "markdown", "latex", "json"]


def model_out(ending: str, more: str = "", metavar: str = "OUT.onnx") -> Path | None:
    """The option that says where a model goes that is made of another."""
    text = f"By default <stem>{ending} beside MODEL{more}."
    return option(text, default=None, short="-o", metavar=metavar, result="result.save(path)")


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

    @property
    def chosen(self) -> Form:
        """The form that both options ask for."""
        return "json" if self.json else self.form


@options
class Watching(Printing):
    """Options of progress on the terminal."""

    quiet: bool = option("No progress.", default=False, short="-q", result="progress=…")
    verbose: bool = option(
        "Say how long each step took, which changed nothing, and the details of a verdict.",
        default=False,
        short="-v",
        result="logging",
    )


@options
class Estimating:
    """Nothing but an estimate."""

    PANEL = "Execution"

    dry_run: bool = option(
        "Say how much work it is and how long it will take, by timing a small piece.",
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
    )


@options
class MeasuredOutput(Watching, Reporting, Replacing):
    """Output options of a command that measures a placement."""
