"""lhc as passes of onnx-ir, to be put into a pipeline with onnxscript's own.

onnx_ir.passes.Sequential(common_passes.CommonSubexpressionEliminationPass(), PartitionPass(data))(model)
"""

from collections.abc import Iterable, Iterator, MutableMapping

import onnx
import onnx_ir as ir

from lhc.commands.compile import compile
from lhc.commands.partition import partition
from lhc.onnx_io import add_device_configurations
from lhc.onnx_io.annotate.ir_device_configurations import bind_device_configurations, check_device_configurations
from lhc.onnx_model import KEY_PREFIX
from lhc.samples.task import DataSource

__all__ = ["CompilePass", "PartitionPass"]


class PartitionPass(ir.passes.InPlacePass):
    """`lhc.partition`: annotates the model; names nodes that have no name, and changes nothing else."""

    def __init__(
        self, data: DataSource | None = None, *, device_configurations: bool = False, **options: object
    ) -> None:
        """Take what the function takes, but the model.

        Args:
            device_configurations: also write ONNX's device configurations, as objects: they follow when nodes and
                values are renamed. An older model gets IR version 11.

        Raises:
            MissingDependencyError: these are asked for, and onnx-ir is older than 1.0.
        """
        if device_configurations:
            check_device_configurations()
        self._data, self._options = data, options
        self._device_configurations = device_configurations

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        result = partition(model, self._data, **self._options)  # type: ignore[arg-type]  # checked there
        annotated = result.model
        if self._device_configurations:
            add_device_configurations(annotated, result.plan)
        pairs = list(_pairs(model.graph, annotated.graph))
        for node, proto in pairs:
            node.name = proto.name
            _replace(node.metadata_props, proto.metadata_props)
        _replace(model.metadata_props, annotated.metadata_props)
        if self._device_configurations:
            bind_device_configurations(model, annotated, pairs)
        return ir.passes.PassResult(model, modified=True)


class CompilePass(ir.passes.FunctionalPass):
    """`lhc.compile`: makes of a model one whose analog layers are functions; partitions it first if need be."""

    def __init__(self, data: DataSource | None = None, **options: object) -> None:
        """Take what the function takes, but the model."""
        self._data, self._options = data, options

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        compiled = compile(model, self._data, **self._options)  # type: ignore[arg-type]  # checked there
        return ir.passes.PassResult(compiled.to_ir(), modified=True)


def _pairs(graph: ir.Graph, proto: onnx.GraphProto) -> Iterator[tuple[ir.Node, onnx.NodeProto]]:
    """Operators of a model in both forms, those in bodies of others too."""
    for node, other in zip(graph, proto.node, strict=True):
        yield node, other
        for attribute in other.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _pairs(node.attributes[attribute.name].as_graph(), attribute.g)


def _replace(metadata: MutableMapping[str, str], entries: Iterable[onnx.StringStringEntryProto]) -> None:
    """Set lhc's keys; those of an earlier placement go, and everybody else's stay."""
    for key in [key for key in metadata if key.startswith(KEY_PREFIX)]:
        del metadata[key]
    metadata.update({entry.key: entry.value for entry in entries})
