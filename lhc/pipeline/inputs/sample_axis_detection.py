"""Detection of the sample axis: from the user, from symbols in the file, or from two calls.

An axis of an output counts samples if its size follows the number of samples that go in. Two calls with different
numbers tell that, unless the file does: by the symbol of the batch, or by a batch of fixed size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lhc.errors import LhcError, UsageError
from lhc.onnx_io import Shape, input_shapes, static_batch
from lhc.onnx_io.read.zipmap_outputs import class_maps
from lhc.onnx_model import OnnxModel
from lhc.runtime.onnxruntime.sessions import create_session, run_session, tensor_infos
from lhc.samples.sample_axis import CALL, SampleAxis, axis_of_size, following_axis
from lhc.samples.task import Task

SIZES = 2, 3
"""Samples of the two calls that show which axis follows them."""


def input_axes(model: OnnxModel, asked: Mapping[str, SampleAxis]) -> dict[str, SampleAxis]:
    """Axes of the inputs that have samples elsewhere than on the first: by the user's word, else by the file's symbols.

    An input whose first axis is another size has samples where the symbol is that others begin with.

    Args:
        asked: by name of the input or output; that of the scored output under the empty name.

    Raises:
        UsageError: a name that is neither an input nor an output, or an axis that an input does not have.
    """
    declared = input_shapes(model)
    outputs = [info.name for info in tensor_infos(model, outputs=True)]
    given = {name: axis for name, axis in asked.items() if name and name not in outputs}
    unknown = next((name for name in given if name not in declared), None)
    if unknown is not None:
        raise UsageError(
            f"--sample-axis {unknown}=…: {model.label} has no such input or output; they are"
            f" {', '.join([*declared, *outputs])}"
        )
    batch = {shape[0] for shape in declared.values() if shape and isinstance(shape[0], str)}
    found: dict[str, SampleAxis] = {}
    for name, shape in declared.items():
        if name in given:
            found[name] = _counted(name, given[name], None if shape is None else len(shape))
        elif shape and isinstance(shape[0], int):
            places = [axis for axis, size in enumerate(shape) if isinstance(size, str) and size in batch]
            found |= {name: places[0]} if len(places) == 1 else {}
    return {name: axis for name, axis in found.items() if axis != 0}


def with_output_axes(
    model: OnnxModel,
    task: Task,
    names: Sequence[str],
    asked: Mapping[str, SampleAxis],
    tell: Callable[[str], None],
) -> Task:
    """The samples for a network whose outputs have them where the user says, or where the file or two calls show them.

    Args:
        names: of outputs that are looked at, the scored one first.
        tell: is called with what was found that nobody said.

    Raises:
        UsageError: a call takes one sample, and the file fixes another batch; or an axis that the output has not.
    """
    declared = {info.name: tuple(info.shape) or None for info in tensor_infos(model, outputs=True)}
    said = {name or names[0]: axis for name, axis in asked.items() if not name or name in declared}
    found = {
        name: _counted(name, axis, None if (shape := declared[name]) is None else len(shape))
        for name, axis in said.items()
    }
    layout = replace(task.layout, outputs={**task.layout.outputs, **found})
    batch = static_batch(model, layout.inputs)
    if layout.one_a_call and batch not in (None, 1):
        raise UsageError(f"{model.label}: the file fixes a batch of {batch}, so a call is no sample (--sample-axis)")
    batch = 1 if layout.one_a_call else batch
    open_ones = [name for name in names if name not in layout.outputs]
    symbols = _batch_symbols(input_shapes(model), layout.inputs)
    axes: dict[str, SampleAxis] = {}
    unknown = []
    for name in open_ones:
        axis = _declared(declared[name], batch, symbols)
        axes |= {} if axis is None else {name: axis}
        unknown += [name] if axis is None else []
    if unknown:
        asked_for = task.with_layout(layout)
        calls = _calls(model, asked_for, unknown, SIZES if batch is None else (batch,))
        if calls is None and batch is None and (calls := _calls(model, asked_for, unknown, (1,))) is not None:
            tell("a call takes one sample, since the network does not run with several")
            layout, batch = replace(layout, single=True), 1
        axes |= _observed(model, unknown, calls or [], batch)
    for name, axis in axes.items():
        if axis == CALL and static_batch(model, layout.inputs) == 1:
            tell(f"every call gives one answer of output {name!r}, without an axis for samples: the file's batch is 1")
        elif axis not in (0, CALL):
            tell(f"samples are counted by axis {axis} of output {name!r}, which follows the batch (--sample-axis)")
    outputs = {name: axis for name, axis in {**layout.outputs, **axes}.items() if axis != 0}
    return task.with_layout(replace(layout, outputs=outputs))


def _counted(name: str, axis: SampleAxis, axes: int | None) -> SampleAxis:
    """The axis, counted from 0."""
    if axis == CALL:
        return axis
    found = axis + axes if axis < 0 and axes is not None else axis
    if found < 0 or (axes is not None and found >= axes):
        has = "a number of axes that the file does not say" if axes is None else f"{axes} axes"
        raise UsageError(f"--sample-axis {axis}: {name!r} has {has}; count from 0, or write 'call'")
    return found


def _batch_symbols(declared: Mapping[str, Shape | None], axes: Mapping[str, SampleAxis]) -> set[str]:
    """Symbols of the file for the number of samples."""
    found = set()
    for name, shape in declared.items():
        axis = axes.get(name, 0)
        if shape and axis != CALL and axis < len(shape) and isinstance(shape[axis], str):
            found.add(str(shape[axis]))
    return found


def _declared(shape: Shape | None, batch: int | None, symbols: set[str]) -> SampleAxis | None:
    """Sample axis of an output as the file declares it; None where it does not."""
    if shape is None:
        return None
    if batch is not None:
        sizes = [size for size in shape if isinstance(size, int)]
        return axis_of_size(sizes, batch) if len(sizes) == len(shape) else None
    places = [axis for axis, size in enumerate(shape) if size in symbols]
    return places[0] if len(places) == 1 else None


def _observed(
    model: OnnxModel, names: Sequence[str], calls: Sequence[Sequence[Any]], batch: int | None
) -> dict[str, SampleAxis]:
    """Sample axes of outputs as calls show them; an output is left out where they show nothing.

    Args:
        calls: outputs of each, with `SIZES` samples or, of a fixed batch, with so many.
    """
    found: dict[str, SampleAxis] = {}
    maps = class_maps(model)
    for index, name in enumerate(names):
        given = [maps[name].rows(call[index]) if name in maps else call[index] for call in calls]
        shapes = [one.shape for one in given if isinstance(one, np.ndarray)]
        if not shapes or len(shapes) < len(calls):
            continue
        axis = following_axis(shapes, SIZES) if batch is None else axis_of_size(shapes[0], batch)
        found |= {} if axis is None else {name: axis}
    return found


def _calls(model: OnnxModel, task: Task, names: Sequence[str], sizes: Sequence[int]) -> list[list[Any]] | None:
    """Outputs of calls with so many times the first sample; None where the network does not run with them."""
    _, first = next(task.blocks(1))
    try:
        session = create_session(model.as_file(), model.label, packs=False)
        fed = [{n: np.repeat(a, size, axis=0) if a.ndim else a for n, a in first.items()} for size in sizes]
        return [run_session(session, names, task.layout.feeds(rows), model.label) for rows in fed]
    except LhcError:
        return None
