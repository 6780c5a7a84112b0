"""``lhc export``: a model of the zoo as a file."""

from lhc.cli.framework.output import check_file, hint
from lhc.errors import UsageError
from lhc.options.output_options import ExportOptions
from lhc.support.files import write_npz


def export(asked: ExportOptions) -> None:
    """Write a model of the zoo as ONNX, and its samples as npz."""
    import numpy as np

    from lhc.models import zoo_entry
    from lhc.onnx_io import check_output, check_place, load_model, save_model

    entry = zoo_entry(asked.name)
    model = load_model(entry.network(asked.weights), label=asked.name)
    check_output(asked.out, model, asked.force)
    check_place(model, asked.out, "copy", asked.force)
    check_file(asked.data_out, asked.force)
    if asked.data_out is not None:
        task = entry.task()
        if task.targets is not None and task.targets.dtype.names:
            raise UsageError(
                f"--data-out: the labels of {asked.name} are no plain numbers; give --data {asked.name} instead of a"
                " file"
            )
        labels = {} if task.targets is None else {"labels": task.targets}
        write_npz(asked.data_out, {name: np.asarray(array) for name, array in task.inputs.items()} | labels)
        hint(f"written: {asked.data_out}")
    save_model(model.proto, asked.out, "copy")
    hint(f"written: {asked.out}")
