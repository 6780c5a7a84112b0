"""Rules of overwriting: a file is replaced only where nothing of the user's is lost."""

from pathlib import Path

from lhc.errors import LhcError, UsageError
from lhc.onnx_io.annotate.annotations import metadata_of_file, read_plan, written_for
from lhc.onnx_io.read.external_data import ExternalData, check_place
from lhc.onnx_io.read.model_files import load_model
from lhc.onnx_model import OnnxModel
from lhc.support.files import check_writable

__all__ = ["check_output", "held_in", "retrained_from"]


def check_output(path: Path, model: OnnxModel, force: bool, external_data: ExternalData = "keep") -> None:
    """Refuse an output that would lose something of the user's.

    Raises:
        UsageError: it is the input, a folder, or a file that lhc did not write for this model (unless ``force``), its
            folder takes no file, or the model's data files cannot be reached from there.
    """
    if external_data not in ("keep", "copy"):
        raise UsageError(f"--external-data {external_data!r}: choose keep or copy")
    if model.path is not None and path.exists() and path.samefile(model.path):
        raise UsageError(f"{path}: the output is the input; choose another name with -o")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give a file name with -o")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: the folder {path.absolute().parent} does not exist")
    if path.exists() and not force and written_for(path) != model.source and not _same_network(path, model):
        raise UsageError(f"{path}: exists and holds something else; --force replaces it, or use -o")
    check_writable(path)
    check_place(model, path, external_data, force or path.exists())


def _same_network(path: Path, model: OnnxModel) -> bool:
    """Whether a file holds this very network, so that nothing is lost with it."""
    try:
        return load_model(path).source == model.source
    except LhcError:
        return False


def held_in(path: Path) -> str | None:
    """The placement that a file holds, as `held_text` has it; empty: none that can be read, None: no file.

    Nothing of it is checked: it is what the file says.
    """
    if not path.exists():
        return None
    from lhc.plan import Outcome
    from lhc.plan.summary import held_text

    keys = metadata_of_file(path)
    try:
        outcome = Outcome.model_validate_json(keys["lhc.result"]) if "lhc.result" in keys else None
    except ValueError:
        outcome = None
    return held_text(keys["lhc.summary"], outcome) if "lhc.summary" in keys else ""


def retrained_from(path: Path, model: OnnxModel) -> bool:
    """Whether a file is what retraining this very model wrote."""
    try:
        plan = read_plan(load_model(path)) if path.is_file() else None
    except LhcError:
        return False
    outcome = None if plan is None else plan.outcome
    return outcome is not None and outcome.retrained is not None and outcome.retrained.source == model.source
