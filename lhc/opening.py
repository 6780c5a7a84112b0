"""From what a user names (a file, a ModelProto, a zoo entry) to a model, its graph and its samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from lhc.errors import ModelError, UsageError
from lhc.graph import LayerGraph
from lhc.measure import load_task
from lhc.measure.data import DataSource
from lhc.metrics import Metric
from lhc.model import OnnxModel
from lhc.models import ZooEntry, is_zoo_name, zoo_entry, zoo_names
from lhc.onnx_io import infer_shapes, input_shapes, load_model, read_graph
from lhc.runtime import observe_tensors
from lhc.runtime.ort import zero_feeds
from lhc.task import Task

__all__ = ["ModelSource", "Opened", "open_model"]


@dataclass(frozen=True, eq=False)
class Opened:
    """A model, and the zoo entry it came from, if any."""

    model: OnnxModel
    entry: ZooEntry | None

    def task(
        self, data: DataSource | None, metric: Metric | None, samples: int | None, label_key: str = "labels"
    ) -> Task:
        """The samples: the user's, else the zoo entry's own; the first ``samples`` of them.

        Raises:
            UsageError: no data, or fewer than one sample asked for.
            DataError: data that does not fit the model.
        """
        if samples is not None and samples < 1:
            raise UsageError(f"--samples must be at least 1, got {samples}")
        if data is None:
            if self.entry is None:
                raise UsageError(f"{self.model.label}: samples are needed; give them with --data FILE.npz")
            data = self.entry.task()
        return load_task(data, self.model, metric, label_key).head(samples)

    def graph(self, shapes: Mapping[str, tuple[int, ...]] | None = None, task: Task | None = None) -> LayerGraph:
        """The layer graph; shapes that inference cannot find are observed in one run.

        Args:
            shapes: full shapes of inputs; else the data's, with one sample; else a symbolic batch counts 1.
            task: samples, for their shape.

        Raises:
            UsageError: a shape that contradicts the model.
            ModelError: MACs depend on a dimension that nothing fixes.
        """
        given = dict(shapes or {}) or _data_shapes(self.model, task)
        graph = read_graph(self.model, given)
        if not graph.unresolved:
            return graph
        known = infer_shapes(self.model, given, {})
        sizes = {
            name: tuple(d if isinstance(d, int) else 1 for d in known.get(name, ()))
            for name in input_shapes(self.model)
        }
        constants = {tensor.name for tensor in self.model.proto.graph.initializer}
        wanted = {t for layer in graph.unresolved for t in (*layer.inputs[:2], layer.outputs[0])}
        inner = sorted(t for t in wanted - set(graph.inputs) - constants if graph.producer(t))
        observed = observe_tensors(self.model, inner, zero_feeds(self.model, sizes))
        return read_graph(self.model, given, {name: array.shape for name, array in observed.items()} | sizes)


def _data_shapes(model: OnnxModel, task: Task | None) -> dict[str, tuple[int, ...]]:
    if task is None:
        return {}
    declared = input_shapes(model)
    shapes = {}
    for name, array in task.inputs.items():
        shape = declared[name]
        batch = shape[0] if shape and isinstance(shape[0], int) else 1
        shapes[name] = (int(batch), *map(int, np.shape(array)[1:]))
    return shapes


ModelSource = str | Path | onnx.ModelProto | OnnxModel | Opened


def open_model(source: ModelSource) -> Opened:
    """A model by path or zoo name, a ModelProto, or one that was loaded or opened before.

    Raises:
        ModelError: it cannot be read.
    """
    if isinstance(source, Opened):
        return source
    if isinstance(source, str) and is_zoo_name(source) and not Path(source).is_file():
        entry = zoo_entry(source)
        return Opened(load_model(entry.model(), label=source), entry)
    if isinstance(source, str) and not Path(source).exists() and not Path(source).suffix:
        raise ModelError(f"{source}: no such file, and no model of the zoo ({', '.join(zoo_names())})")
    return Opened(load_model(source), None)
