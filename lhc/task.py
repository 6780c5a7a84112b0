"""What a network is judged on: samples, targets and a metric."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError
from lhc.metrics import Array, Metric

__all__ = ["Array", "Task"]


@dataclass(frozen=True, eq=False)
class Task:
    """Samples, their targets where there are any, and the metric that judges the answers.

    Attributes:
        inputs: input name -> ``(samples, ...)``, all with the same number of samples.
        targets: ``(samples, ...)`` or None.
        metric: how an output is scored.
    """

    inputs: Mapping[str, Array]
    targets: Array | None
    metric: Metric

    def __post_init__(self) -> None:
        arrays = {**self.inputs, **({} if self.targets is None else {"targets": self.targets})}
        if not self.inputs:
            raise DataError("the data holds no inputs")
        if any(array.ndim == 0 for array in arrays.values()):
            raise DataError("every array must have samples as its first axis; found a scalar")
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) != 1:
            raise DataError(f"arrays of different length: {lengths}; the first axis of every array counts samples")
        if len(self) == 0:
            raise DataError("the data holds no samples")
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise DataError(f"{name!r} holds NaN or infinite values; remove those samples")
        if self.metric.needs_targets is True and self.targets is None:
            raise DataError(
                f"metric {self.metric.name!r} needs targets and the data has none; add them (--label-key names"
                " their key) or choose a metric that compares with the digital network: agreement, kl, nmse"
            )

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def take(self, indices: npt.NDArray[np.integer]) -> "Task":
        """The samples of these indices, in that order."""
        targets = None if self.targets is None else self.targets[indices]
        return replace(self, inputs={k: v[indices] for k, v in self.inputs.items()}, targets=targets)

    def head(self, samples: int | None) -> "Task":
        """The first ``samples`` samples; all where that is None or more than there are."""
        return self if samples is None or samples >= len(self) else self.take(np.arange(samples))

    def with_metric(self, metric: Metric) -> "Task":
        """The same samples judged by another metric."""
        return replace(self, metric=metric)

    def blocks(self, size: int) -> Iterator[tuple[slice, Mapping[str, Array]]]:
        """Consecutive blocks of at most ``size`` samples, as their position and their feeds."""
        for start in range(0, len(self), size):
            where = slice(start, min(start + size, len(self)))
            yield where, {name: array[where] for name, array in self.inputs.items()}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, types, shapes and bytes of inputs and targets."""
        state = sha256()
        for name, array in [*sorted(self.inputs.items()), ("", self.targets)]:
            if array is not None:
                state.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
                state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()
