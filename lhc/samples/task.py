"""Task of a network: samples, targets and a metric, in blocks.

Inputs may be larger than memory: what a `Task` holds can be cut into rows, and rows are read when they are asked for.
Nothing here ever reads more than a block, or `PIECE_BYTES` of one array, at once.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError
from lhc.samples.metrics import Array, Metric
from lhc.samples.sample_axis import SampleLayout

__all__ = ["Array", "DataSource", "Indices", "LazyArray", "Samples", "Task", "count_samples", "cut", "unequal_lengths"]

PIECE_BYTES = 2**22
"""What is held of one array while all of it is looked through."""

Indices = npt.NDArray[np.integer[Any]]


class Samples(Protocol):
    """Rows by sample: an array, or a `LazyArray`. ``numpy.asarray`` gives all of them."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def ndim(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, where: slice | Indices, /) -> Array: ...

    def __array__(self) -> Array: ...


class LazyArray(ABC):
    """Samples that are not in memory; a slice or an array of indices reads these rows.

    Attributes:
        shape: ``(samples, ...)``.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self.dtype = dtype

    @property
    def ndim(self) -> int:
        """Number of axes, that of the samples included."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, where: slice | Indices, /) -> Array:
        if not isinstance(where, slice):
            return self._pick(np.asarray(where))
        start, stop, step = where.indices(len(self))
        return self._rows(start, max(start, stop)) if step == 1 else self._pick(np.arange(start, stop, step))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.asarray(self[:], dtype)

    @abstractmethod
    def _rows(self, start: int, stop: int) -> Array:
        """Consecutive rows, ``0 <= start <= stop <= len(self)``."""

    def _pick(self, indices: Indices) -> Array:
        """Rows in any order; neighbours are read together."""
        rows = np.empty((len(indices), *self.shape[1:]), self.dtype)
        order = np.argsort(indices, kind="stable")
        breaks = np.flatnonzero(np.diff(indices[order]) != 1) + 1
        for run in np.split(order, breaks) if len(order) else ():
            rows[run] = self[int(indices[run[0]]) : int(indices[run[-1]]) + 1]
        return rows


def count_samples(arrays: Mapping[str, Samples]) -> int:
    """Number of samples that a task's inputs, or a block's feeds, hold: an array without axes counts none."""
    return next(len(array) for array in arrays.values() if array.ndim)


def cut(
    inputs: Mapping[str, Array], samples: int, size: int, fill: bool, layout: SampleLayout
) -> Iterator[tuple[slice, Mapping[str, Array]]]:
    """Feeds of at most ``size`` samples with their place; ``fill``: the last sample is repeated up to that number.

    Args:
        inputs: input name -> ``(samples, ...)``; what has no axes goes whole into every call.
        fill: every call has as many.
        layout: where the network has samples; its feeds have them there.
    """
    for start in range(0, samples, size):
        where = slice(start, min(start + size, samples))
        feeds = {name: array[where] if array.ndim else array for name, array in inputs.items()}
        short = size - (where.stop - where.start)
        if fill and short:
            feeds = {
                name: np.concatenate([a, np.repeat(a[-1:], short, axis=0)]) if a.ndim else a
                for name, a in feeds.items()
            }
        yield where, layout.feeds(feeds)


class _Selected(LazyArray):
    """Some rows of other samples, by their indices."""

    def __init__(self, array: Samples, indices: Indices) -> None:
        super().__init__((len(indices), *array.shape[1:]), array.dtype)
        self.array = array
        self.indices = indices

    def _rows(self, start: int, stop: int) -> Array:
        return self.array[self.indices[start:stop]]

    def _pick(self, indices: Indices) -> Array:
        return self.array[self.indices[indices]]


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """Samples, their targets where there are any, and the metric that judges the answers.

    Attributes:
        inputs: input name -> ``(samples, ...)``, all with the same number of samples; an input without axes, ``()``,
            has no samples and goes whole into every block.
        targets: ``(samples, ...)`` or None. They are held in memory, as the outputs are that they are compared with.
        metric: how an output is scored.
        class_axis: axis of the output that holds scores of classes, counted from 0, where it is known not to be the
            last; for metrics that read classes.
        documents: a number per sample, ``(samples,)`` integers, equal for samples of one document (windows of a text):
            they are alike, so documents are what intervals are over, and what is dealt. None: every sample stands
            alone.
        skipped: the samples before them that ``--skip`` left out; None where there are none.
        layout: where the network has samples, where that is not the first axis of every input and output.

    Args:
        finite: the values are known to be finite, so they are not read to find out.

    Raises:
        DataError: lengths that differ, no samples, NaN or infinite values, documents that are no number per sample, or
            a metric that needs missing targets.
    """

    inputs: Mapping[str, Samples]
    targets: Array | None
    metric: Metric
    finite: InitVar[bool] = False
    class_axis: int | None = None
    documents: Indices | None = None
    skipped: "Task | None" = None
    layout: SampleLayout = field(default_factory=SampleLayout)

    def __post_init__(self, finite: bool) -> None:
        if not self.inputs:
            raise DataError("the data holds no inputs")
        if self.targets is not None and self.targets.ndim == 0:
            raise DataError("the labels must have samples as their first axis; found a scalar")
        arrays = {name: array for name, array in self._arrays() if array.ndim}
        if not any(array.ndim for array in self.inputs.values()):
            raise DataError("some input must have samples as its first axis; found a scalar, and nothing else")
        lengths = {name or "labels": len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) != 1:
            raise DataError(unequal_lengths(lengths))
        if not any(math.prod(array.shape) for array in arrays.values()):
            raise DataError(
                "the data holds no samples: every array is empty; give at least one sample, on the first axis of each"
            )
        if not finite:
            for name, array in self._arrays():
                check_finite(name or "labels", array)
        if self.documents is not None and (
            self.documents.dtype.kind not in "iu" or self.documents.shape != (len(self),)
        ):
            raise DataError(
                f"documents have type {self.documents.dtype} and shape {self.documents.shape}; they must be one integer"
                f" for each of the {len(self)} samples"
            )
        if self.metric.needs_targets is True and self.targets is None:
            raise DataError(
                f"metric {self.metric.name!r} needs labels and the data has none; add them (--label-key names"
                " their key) or choose a metric that compares with the digital network: agreement, kl, nmse"
            )

    def __len__(self) -> int:
        return count_samples(self.inputs)

    def __repr__(self) -> str:
        labels = "no labels" if self.targets is None else "labels"
        return f"<Task: {len(self)} samples of {', '.join(self.inputs)}, {labels}, {self.metric.name}>"

    @property
    def document_count(self) -> int | None:
        """Number of documents that the samples are of; None where every sample stands alone."""
        return None if self.documents is None else len(np.unique(self.documents))

    def take(self, where: slice | Indices) -> "Task":
        """These samples, in the order of indices; inputs are not copied but read where they are."""
        targets = None if self.targets is None else np.asarray(self.targets[where])
        inputs = {name: _cut(array, where) for name, array in self.inputs.items()}
        documents = None if self.documents is None else self.documents[where]
        return replace(self, inputs=inputs, targets=targets, documents=documents, skipped=None, finite=True)

    def head(self, samples: int | None) -> "Task":
        """The first ``samples`` samples; all where that is None or more than there are."""
        return self if samples is None or samples >= len(self) else self.take(slice(samples))

    def with_metric(self, metric: Metric) -> "Task":
        """The same samples judged by another metric."""
        return self._as_known(replace(self, metric=metric, finite=True))

    def with_class_axis(self, axis: int | None) -> "Task":
        """The same samples, with classes on this axis of the output."""
        return self if axis == self.class_axis else self._as_known(replace(self, class_axis=axis, finite=True))

    def with_layout(self, layout: SampleLayout) -> "Task":
        """The same samples for a network that has samples there."""
        return self if layout == self.layout else self._as_known(replace(self, layout=layout, finite=True))

    def labelled_like(self, other: "Task") -> "Task":
        """The same samples, with labels ``(samples, ..., 1)`` without their last axis where another task's have none.

        Other samples of the same data have labels alike.
        """
        own, wanted = self.targets, other.targets
        if own is None or wanted is None or own.shape[1:] != (*wanted.shape[1:], 1):
            return self
        return self.with_targets(own.reshape(own.shape[:-1]))

    def with_targets(self, targets: Array | None) -> "Task":
        """The same inputs with other targets."""
        return self if targets is self.targets else replace(self, targets=targets, finite=True)

    def _as_known(self, same: "Task") -> "Task":
        """A task of the same samples, whose digests need not be worked out again."""
        same._digests.update(self._digests)
        return same

    def blocks(self, size: int) -> Iterator[tuple[slice, Mapping[str, Array]]]:
        """Consecutive blocks of at most ``size`` samples, as their position and their feeds; see `read`."""
        for start in range(0, len(self), size):
            where = slice(start, min(start + size, len(self)))
            yield where, self.read(where.start, where.stop)[0]

    def read(self, start: int, stop: int) -> tuple[dict[str, Array], Array | None]:
        """Inputs by name, and targets, of these samples: those that `block_digest` says.

        Raises:
            DataError: they have changed since that was first worked out.
        """
        start, stop, _ = slice(start, stop).indices(len(self))
        rows = {n: np.asarray(array[start:stop] if array.ndim else array) for n, array in self._arrays()}
        found = {name: _digest(array, 0, stop - start) for name, array in rows.items()}
        known = self._digests.setdefault((start, stop), found)
        changed = [repr(name) if name else "the labels" for name in rows if found[name] != known[name]]
        if changed:
            raise DataError(
                f"samples {start} to {stop - 1} have changed during the run, in {', '.join(changed)}; nothing is kept"
                " of what was measured on them: leave the data alone during a run, and start again"
            )
        targets = rows.pop("", None)
        return {name: rows[name] for name in self.inputs}, targets

    @property
    def digest(self) -> str:
        """SHA-256 over names, types, shapes and bytes of inputs, targets and documents, wherever they are kept."""
        content = self.block_digest(0, len(self))
        if self.documents is None:
            return content
        return sha256(f"{content}|{_digest(self.documents, 0, len(self))}".encode()).hexdigest()

    def block_digest(self, start: int, stop: int) -> str:
        """Digest of inputs and targets of samples ``start`` to ``stop``, excluded; remembered.

        It says what the samples are and not where: the same samples at another place have the same digest.
        """
        start, stop, _ = slice(start, stop).indices(len(self))
        if (start, stop) not in self._digests:
            self._digests[start, stop] = {name: _digest(array, start, stop) for name, array in self._arrays()}
        parts = self._digests[start, stop]
        return sha256("|".join(f"{name}|{parts[name]}" for name, _ in self._arrays()).encode()).hexdigest()

    @cached_property
    def _digests(self) -> dict[tuple[int, int], dict[str, str]]:
        """Digests of blocks, by name of the array."""
        return {}

    def _arrays(self) -> list[tuple[str, Samples]]:
        """Inputs by name and, under the empty name, the targets."""
        return [*sorted(self.inputs.items()), *([] if self.targets is None else [("", self.targets)])]


def unequal_lengths(lengths: Mapping[str, int]) -> str:
    """Message about arrays that hold different numbers of samples.

    >>> unequal_lengths({"x": 100, "labels": 99})
    "arrays of different length: 'x': 100, 'labels': 99 samples; the first axis of every array counts samples"
    """
    found = ", ".join(f"{name!r}: {length}" for name, length in lengths.items())
    told = f"arrays of different length: {found} samples; the first axis of every array counts samples"
    if len({length for name, length in lengths.items() if name != "labels"}) > 1:
        told += (
            ". Where an input has them on another axis, say --sample-axis NAME=AXIS; where a call takes one sample,"
            " stack the arrays of all calls along a new first axis"
        )
    return told


def _cut(array: Samples, where: slice | Indices) -> Samples:
    """Rows of an array without reading or copying them; a scalar whole."""
    if array.ndim == 0:
        return array
    if isinstance(where, slice) and isinstance(array, np.ndarray):
        return array[where]
    indices = np.arange(len(array))[where]
    return _Selected(array.array, array.indices[indices]) if isinstance(array, _Selected) else _Selected(array, indices)


def _pieces(array: Samples, start: int, stop: int) -> Iterator[Array]:
    """Consecutive rows, as many at once as fit `PIECE_BYTES`; a scalar whole."""
    if array.ndim == 0:
        yield np.asarray(array)
        return
    rows = max(1, PIECE_BYTES // max(1, math.prod(array.shape[1:]) * array.dtype.itemsize))
    for first in range(start, stop, rows):
        yield np.asarray(array[first : min(first + rows, stop)])


def check_finite(name: str, array: Samples) -> None:
    """Refuse samples that are no numbers; types that are no floats pass.

    Raises:
        DataError: some are NaN or infinite.
    """
    if array.dtype.kind != "f":
        return
    for piece in _pieces(array, 0, len(array) if array.ndim else 1):
        if not np.isfinite(piece).all():
            raise DataError(f"{name!r} holds NaN or infinite values; remove those samples")


def _digest(array: Samples, start: int, stop: int) -> str:
    """Digest of type, shape and bytes of some samples."""
    shape = (max(0, stop - start), *array.shape[1:]) if array.ndim else ()
    state = sha256(f"{array.dtype.str}|{shape}|".encode())
    for piece in _pieces(array, start, stop):
        state.update(content_bytes(piece))
    return state.hexdigest()


def content_bytes(piece: Array) -> bytes | memoryview:
    """Bytes in row order; Python objects (strings) by their text, since their bytes are addresses."""
    if piece.dtype.hasobject:
        texts = [str(value).encode() for value in piece.ravel()]
        return b"".join(str(len(text)).encode() + b":" + text for text in texts)
    plain = np.ascontiguousarray(piece)
    return plain.data.cast("B") if plain.dtype.kind in "biuf" and plain.size else plain.tobytes()


DataSource = str | Path | Mapping[str, Array] | Task | Callable[[], object]
"""What a user may name samples by: a file, folder or function, arrays by input name, or a task."""
