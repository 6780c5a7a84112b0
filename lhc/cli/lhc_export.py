"""``lhc export``: a model of the zoo as a file."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import check_file, hint, write_npz
from lhc.errors import UsageError
from lhc.options.declare import REQUIRED, argument, option, options
from lhc.options.printed import Replacing

if TYPE_CHECKING:
    from lhc.models import ZooEntry


@options
class ExportOptions(Replacing):
    """Of ``lhc export``."""

    PANEL: ClassVar[str] = "Output"

    name: str = argument("A name that 'lhc models' lists.", kw_only=False, metavar="NAME")
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


def export(asked: ExportOptions) -> None:
    """Write a model of the zoo as ONNX, and its samples as npz."""
    from lhc.models import zoo_entry
    from lhc.onnx_io import check_output, check_place, load_model, save_model

    entry = zoo_entry(asked.name)
    model = load_model(entry.network(asked.weights), label=asked.name)
    check_output(asked.out, model, asked.force)
    check_place(model, asked.out, "copy", asked.force)
    if asked.data_out is not None:
        check_file(asked.data_out, asked.force)
        _write_samples(entry, asked.data_out)
    save_model(model.proto, asked.out, "copy")
    hint(f"written: {asked.out}")


def _write_samples(entry: "ZooEntry", path: Path) -> None:
    import numpy as np

    task = entry.task()
    if task.targets is not None and task.targets.dtype.names:
        raise UsageError(
            f"--data-out: the labels of {entry.name} are no plain numbers; give --data {entry.name} instead of a file"
        )
    labels = {} if task.targets is None else {"labels": task.targets}
    write_npz(path, {name: np.asarray(array) for name, array in task.inputs.items()} | labels)
    hint(f"written: {path}")


command = terminal_command("export", export, ExportOptions)
