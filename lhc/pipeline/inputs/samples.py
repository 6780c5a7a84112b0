"""Samples from files, functions or arrays, checked against the inputs of a model.

Keys are input names; the only array that is not the targets may have any name where the model has one input. The
first axis of every array counts samples, but an input that the model declares without axes has one value for all of
them. Samples of a folder or a function are read, and converted, block by block; an ``.npz`` is held in memory.
"""

import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from lhc.errors import DataError, UsageError
from lhc.models import is_zoo_name
from lhc.onnx_io import Shape, input_shapes
from lhc.onnx_model import OnnxModel
from lhc.runtime.onnxruntime.sessions import tensor_infos
from lhc.samples.class_order import is_sorted_by_class
from lhc.samples.input_types import Converted, converted
from lhc.samples.metrics import Array, Metric, get_metric
from lhc.samples.npy_files import read_npz
from lhc.samples.sample_axis import CALL, SampleAxis, SampleLayout
from lhc.samples.sample_folder import read_folder
from lhc.samples.streams import from_function
from lhc.samples.task import DataSource, Indices, LazyArray, Samples, Task
from lhc.support.load_by_name import load_function
from lhc.support.number_formatting import counted

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def load_task(
    source: DataSource,
    model: OnnxModel,
    metric: Metric | None = None,
    label_key: str = "labels",
    samples: int | None = None,
    tell: Callable[[str], None] = lambda text: None,
    axes: Mapping[str, SampleAxis] | None = None,
) -> Task:
    """A task for this model.

    Args:
        source: an ``.npz`` file; a folder with one ``.npy`` per input, or with ``.npz`` shards; a function, or its name
            ``module:function``, that yields blocks of arrays by name, or returns arrays or a task; arrays by name; a
            task.
        model: whose inputs the data has to fit.
        metric: by default a task's own, else accuracy where there are class labels, else agreement; neither counts as
            chosen. One that is not chosen itself leaves a task its own.
        samples: take the first so many; what lies behind them is not read.
        tell: is called with what the user may not have meant.
        axes: of inputs that have samples elsewhere than on the first axis. Arrays of files and arrays by name have
            them there too; a function and a task give samples first. An array with an axis more than its input has says
            that a call takes one sample.

    Raises:
        DataError: not readable, or it does not fit the model.
        UsageError: a metric has to be chosen, or a function cannot be imported.
    """
    where = _where(source)
    found = _found(source, where, samples)
    if isinstance(found, Task):
        task = found if metric is None or not metric.chosen else found.with_metric(metric)
        named_axes = _with_calls(task.inputs, model, axes or task.layout.inputs, where, tell)
        layout = SampleLayout(named_axes) if axes else replace(task.layout, inputs=named_axes)
        inputs = _fitted(task.inputs, model, where, layout.inputs)
        _tell_classes_left_out(task.targets, samples, where, tell)
        if all(inputs.get(name) is array for name, array in task.inputs.items()):
            return task.head(samples).with_layout(layout)
        made = _task(inputs, task.targets, task.metric, samples, where, task.documents)
        return made.with_class_axis(task.class_axis).with_layout(layout)
    arrays = {name: array if isinstance(array, LazyArray) else np.asarray(array) for name, array in found.items()}
    names = {info.name for info in tensor_infos(model)}
    if label_key in names & arrays.keys() and len(arrays) == len(names):  # none is left to be the labels
        raise DataError(
            f"{where}: {label_key!r} is an input of the model, and the key of labels; name another key of labels with"
            " --label-key, any unused one where there are none"
        )
    targets = np.asarray(arrays.pop(label_key)) if label_key in arrays else None
    named = _named(arrays, model, label_key, targets is None, where)
    layout = SampleLayout(_with_calls(named, model, axes or {}, where, tell))
    if not callable(source):
        named = {name: _first_axis(array, layout.inputs.get(name, 0)) for name, array in named.items()}
    inputs = _fitted(named, model, where, layout.inputs)
    for array, name in zip(arrays, named, strict=True):
        if array != name:
            tell(f"array {array!r} of {where} is taken for the only input, {name!r}")
    judge = metric or replace(get_metric(_default_metric(targets, where)), chosen=False)
    _tell_classes_left_out(targets, samples, where, tell)
    return _task(inputs, targets, judge, samples, where).with_layout(layout)


def _tell_classes_left_out(targets: Array | None, samples: int | None, where: str, tell: Callable[[str], None]) -> None:
    """Say that the first samples of data that is sorted by class hold few of its classes.

    A single sample is read for its shapes alone, as by ``lhc analyze``.
    """
    if targets is None or samples is None or not 1 < samples < len(targets) or not is_sorted_by_class(targets):
        return
    first, every = len(np.unique(targets[:samples])), len(np.unique(targets))
    if first < every:
        tell(
            f"the first {counted(samples, 'sample')} of {where} hold {first} of its {every} classes, as it is sorted"
            " by class; shuffle it, or leave out --samples"
        )


def _with_calls(
    arrays: Mapping[str, Samples],
    model: OnnxModel,
    axes: Mapping[str, SampleAxis],
    where: str,
    tell: Callable[[str], None],
) -> Mapping[str, SampleAxis]:
    """The axes, and that a call takes one sample where an array has an axis more than its input."""
    declared = input_shapes(model)
    calls = [
        n for n, a in arrays.items() if axes.get(n) != CALL and (shape := declared.get(n)) and a.ndim == len(shape) + 1
    ]
    if not calls:
        return axes
    named = ", ".join(map(repr, calls[:2])) + (f" and {len(calls) - 2} more" if len(calls) > 2 else "")
    tell(f"a call takes one sample: arrays of {where} have an axis more than inputs {named} (--sample-axis NAME=call)")
    return {**axes, **dict.fromkeys(calls, CALL)}


def _first_axis(array: Samples, axis: SampleAxis) -> Samples:
    """An array that lies as the network takes it, with samples first; all of it is read where it has them elsewhere."""
    if axis == CALL or axis == 0 or axis >= array.ndim:
        return array
    return np.moveaxis(np.asarray(array), axis, 0)


def first_samples(source: DataSource, label_key: str = "labels") -> dict[str, Array]:
    """The first two samples by the names that the data gives its inputs: for what has no inputs to compare with yet.

    Args:
        source: as in `load_task`.

    Raises:
        DataError: not readable.
        UsageError: a function that cannot be imported.
    """
    found = _found(source, _where(source), 2)
    arrays = found.inputs if isinstance(found, Task) else {n: a for n, a in found.items() if n != label_key}
    kept = {name: array if isinstance(array, LazyArray) else np.asarray(array) for name, array in arrays.items()}
    return {name: np.asarray(array[:2] if array.ndim else array) for name, array in kept.items()}


def _where(source: DataSource) -> str:
    """Name of the data in messages."""
    if isinstance(source, Task):
        return "the task"
    if isinstance(source, Mapping):
        return "the data"
    return getattr(source, "__qualname__", str(source))


def _found(source: DataSource, where: str, samples: int | None) -> Task | Mapping[str, Samples]:
    if isinstance(source, Task | Mapping):
        return source
    if callable(source):
        return from_function(source, where, samples)
    if not isinstance(source, str | Path):
        raise UsageError(
            f"the data is of type {type(source).__name__}; give a path, arrays by input name, a function that yields"
            " such, or an lhc.Task"
        )
    path = Path(source)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:
        raise DataError(f"{where}: cannot be read: {error.strerror or error}") from error
    if is_folder:
        return read_folder(path)
    if path.suffix == ".npy":
        raise DataError(f"{where}: one array; give its folder, which holds one .npy per input")
    if not exists and _FUNCTION.fullmatch(str(source)):
        return from_function(load_function(str(source), "--data"), where, samples)
    return read_npz(path)


def _task(
    inputs: Mapping[str, Samples],
    targets: Array | None,
    metric: Metric,
    samples: int | None,
    where: str,
    documents: Indices | None = None,
) -> Task:
    try:
        for array in inputs.values():
            if isinstance(array, Converted):
                array.look_through(samples)
        # Cut first: what lies behind the samples asked for may be large, and whether it is finite does not matter.
        head = Task(inputs, targets, metric, finite=True, documents=documents).head(samples)
        return Task(head.inputs, head.targets, head.metric, documents=head.documents)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _named(
    arrays: Mapping[str, Samples], model: OnnxModel, label_key: str, unlabelled: bool, where: str
) -> Mapping[str, Samples]:
    """Arrays by input name, none missing and none left over."""
    names = [info.name for info in tensor_infos(model)]
    if len(names) == 1 and len(arrays) == 1:
        return {names[0]: next(iter(arrays.values()))}
    missing = [name for name in names if name not in arrays]
    extra = sorted(set(arrays) - set(names))
    if missing or extra:
        problems = [f"no array for input {name!r}" for name in missing]
        if unlabelled and label_key != "labels":
            problems.append(f"no array {label_key!r} for the labels (--label-key)")
        problems += [f"{name!r} is neither an input nor the labels" for name in extra]
        hint = f", or --label-key {extra[0] if len(extra) == 1 else 'NAME'}" if extra and unlabelled else ""
        raise DataError(
            f"{where}: {', '.join(problems)}. Keys must be the input names ({', '.join(names)}), and {label_key!r} for"
            f" the labels{hint}{'; leave out what is neither' if extra else ''}"
        )
    return arrays


def _default_metric(targets: Array | None, where: str) -> str:
    if targets is None:
        return "agreement"
    if targets.dtype.kind not in "iufb":
        raise UsageError(f"{where}: labels are {targets.dtype}, no numbers; number the classes from 0")
    if targets.dtype.kind not in "iu":
        raise UsageError(
            f"{where}: labels are {targets.dtype}, not integer class indices; give those (of one-hot labels: their"
            " argmax), or choose a metric for such labels (--metric mse, spearman, …)"
        )
    return "accuracy"


def _fitted(
    arrays: Mapping[str, Samples], model: OnnxModel, where: str, axes: Mapping[str, SampleAxis]
) -> dict[str, Samples]:
    """The inputs of a model, each in the type that it takes and checked against its shape."""
    shapes = input_shapes(model)
    infos = tensor_infos(model)
    missing = [info.name for info in infos if info.name not in arrays]
    if missing:
        raise DataError(f"{where}: no array for input {missing[0]!r}; there are {sorted(arrays)}")
    for info in infos:
        _check_shape(info.name, arrays[info.name].shape, shapes[info.name], where, axes.get(info.name, 0))
    return {info.name: converted(arrays[info.name], info.name, info.type, where) for info in infos}


def _check_shape(
    name: str, shape: tuple[int, ...], declared: Shape | None, where: str, samples: SampleAxis = 0
) -> None:
    """``shape``: with samples first."""
    if declared is None:
        return
    if samples != 0:
        declared = ("samples", *(size for axis, size in enumerate(declared) if axis != samples))
    if not _fits(shape, declared, 0):
        takes = ", ".join(str(size or "?") for size in declared)
        counts = "first axis samples" if declared else "one value for all samples"
        hint = _misfit(name, shape, declared) if samples == 0 else ""
        raise DataError(f"{where}: {name!r} has shape {shape}, the model takes ({takes}); {counts}{hint}")


def _misfit(name: str, shape: tuple[int, ...], declared: Shape) -> str:
    """What may be wrong with the axes of an array, in a clause; empty where nothing is known."""
    axes = len(shape)
    for order in ((0, axes - 1, *range(1, axes - 1)), (0, *range(2, axes), 1)):
        if axes > 2 and _fits(tuple(shape[axis] for axis in order), declared, 0):
            return f"; np.transpose(array, {order}) fits: one of both has channels last, the other one second"
    other = next((axis for axis in range(1, axes) if _fits(shape, declared, axis) and _may_count(declared, axis)), None)
    if other is not None:
        return f"; if axis {other} counts samples, say --sample-axis {name}={other}"
    unlike = [
        axis
        for axis in range(1, axes)
        if axes == len(declared) and isinstance(declared[axis], int) and declared[axis] != shape[axis]
    ]
    if len(unlike) == 1:
        return f"; they differ on axis {unlike[0]} alone, {shape[unlike[0]]} instead of {declared[unlike[0]]}"
    return ""


def _may_count(declared: Shape, axis: int) -> bool:
    """Whether an axis behind the first may count samples: it is open, or one behind a first one of a fixed size."""
    return not isinstance(declared[axis], int) or (
        declared[axis] == 1 and isinstance(declared[0], int) and declared[0] > 1
    )


def _fits(shape: tuple[int, ...], declared: Shape, samples: int) -> bool:
    """Whether an array has the declared sizes, but for the axis that counts samples."""
    return len(shape) == len(declared) and all(
        not isinstance(size, int) or axis == samples or size == shape[axis] for axis, size in enumerate(declared)
    )


def has_labels(source: DataSource, label_key: str) -> bool:
    """Whether samples come with targets: those of text and of the zoo do; of functions that cannot be told."""
    if isinstance(source, Task):
        return source.targets is not None
    if isinstance(source, str | Path) and (is_zoo_name(str(source)) or Path(source).suffix == ".txt"):
        return True
    if isinstance(source, str | Path) and Path(source).is_file() and zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            return f"{label_key}.npy" in archive.namelist()
    if isinstance(source, str | Path) and Path(source).is_dir():
        shard = next(iter(sorted(Path(source).glob("*.npz"))), None)
        return has_labels(shard, label_key) if shard is not None else (Path(source) / f"{label_key}.npy").is_file()
    return isinstance(source, Mapping) and label_key in source
