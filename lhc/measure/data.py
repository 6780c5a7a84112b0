"""Samples from ``.npz`` files or arrays, checked against the inputs of a model.

Keys are input names; the only array that is not the targets may have any name where the model has one input. The
first axis of every array counts samples.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lhc.errors import DataError, UsageError
from lhc.metrics import Array, Metric, get_metric
from lhc.model import OnnxModel
from lhc.runtime.ort import TensorInfo, tensor_infos
from lhc.task import Task

__all__ = ["DataSource", "load_task"]

DataSource = str | Path | Mapping[str, Array] | Task

_DTYPES = {"float": "float32", "double": "float64", "string": "object"}


def load_task(source: DataSource, model: OnnxModel, metric: Metric | None = None, label_key: str = "labels") -> Task:
    """A task for this model.

    Args:
        source: an ``.npz`` file, arrays by name, or a task.
        model: whose inputs the data has to fit.
        metric: by default a task's own, else accuracy where there are class labels, else agreement.
        label_key: key of the targets.

    Raises:
        DataError: not readable, or it does not fit the model.
        UsageError: a metric has to be chosen.
    """
    if isinstance(source, Task):
        task = source if metric is None else source.with_metric(metric)
        checked = {info.name: _checked(task.inputs, info, "the task") for info in tensor_infos(model)}
        return Task(checked, task.targets, task.metric)
    if not isinstance(source, str | Path | Mapping):
        raise UsageError(f"data is a {type(source).__name__}; give a path, arrays by input name, or an lhc.Task")
    where = "the data" if isinstance(source, Mapping) else str(source)
    arrays = dict(source) if isinstance(source, Mapping) else _read_npz(Path(source))
    targets = arrays.pop(label_key, None)
    infos = tensor_infos(model)
    if len(infos) == 1 and len(arrays) == 1 and infos[0].name not in arrays:
        arrays = {infos[0].name: next(iter(arrays.values()))}
    names = [info.name for info in infos]
    missing = [name for name in names if name not in arrays]
    extra = sorted(set(arrays) - set(names))
    if missing or extra:
        problems = [f"no array for input {name!r}" for name in missing]
        problems += [f"{name!r} is neither an input nor the targets" for name in extra]
        hint = f", or --label-key {extra[0]}" if len(extra) == 1 and targets is None else ""
        raise DataError(
            f"{where}: {', '.join(problems)}. Keys must be the input names ({', '.join(names)}), and {label_key!r} for"
            f" the targets{hint}"
        )
    inputs = {info.name: _checked(arrays, info, where) for info in infos}
    try:
        return Task(inputs, targets, metric or get_metric(_default_metric(targets, where)))
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _default_metric(targets: Array | None, where: str) -> str:
    if targets is None:
        return "agreement"
    if targets.dtype.kind not in "iu":
        raise UsageError(
            f"{where}: targets are {targets.dtype}, not integer class indices; give those, or choose a metric for such"
            " targets (--metric mse, spearman, …)"
        )
    return "accuracy"


def _read_npz(path: Path) -> dict[str, Array]:
    if not path.exists():
        raise DataError(f"{path}: no such file")
    try:
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path}: not an .npz file, or a damaged one; save samples with numpy.savez")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise DataError(f"{path}: not an .npz file, or a damaged one ({error})") from error
        raise DataError(
            f"{path}: holds pickled objects, which can run code when loaded and are refused; save plain arrays"
        ) from error
    except (OSError, EOFError, zipfile.BadZipFile, KeyError, NotImplementedError) as error:
        raise DataError(f"{path}: not an .npz file, or a damaged one ({error})") from error


def _checked(arrays: Mapping[str, Array], info: TensorInfo, where: str) -> Array:
    """One input, in the type and shape that the model takes.

    Floats of another width are converted, and so are integers; nothing else is.
    """
    if info.name not in arrays:
        raise DataError(f"{where}: no array for input {info.name!r}; there are {sorted(arrays)}")
    array = np.asarray(arrays[info.name])
    kind = info.type.removeprefix("tensor(").removesuffix(")")
    wanted = np.dtype(_DTYPES.get(kind, kind))
    if array.dtype != wanted:
        same_kind = array.dtype.kind == wanted.kind or {array.dtype.kind, wanted.kind} <= {"i", "u"}
        if not same_kind:
            raise DataError(f"{where}: {info.name!r} is {array.dtype}, the model takes {wanted}; convert it")
        array = array.astype(wanted)
    fits = array.ndim == len(info.shape) and all(
        not isinstance(size, int) or axis == 0 or size == array.shape[axis] for axis, size in enumerate(info.shape)
    )
    if not fits:
        shape = ", ".join(str(d or "?") for d in info.shape)
        raise DataError(
            f"{where}: {info.name!r} has shape {array.shape}, the model takes ({shape}); first axis samples"
        )
    return array
