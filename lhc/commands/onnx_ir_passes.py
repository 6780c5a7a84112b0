"""lhc as passes of onnx-ir, to be put into a pipeline with onnxscript's own.

onnx_ir.passes.Sequential(common_passes.CommonSubexpressionEliminationPass(), PartitionPass(data))(model)
"""

from collections.abc import MutableMapping

import onnx_ir as ir

from lhc.commands.compile import compile
from lhc.commands.partition import partition
from lhc.onnx_model import KEY_PREFIX
from lhc.samples.task import DataSource

__all__ = ["CompilePass", "PartitionPass"]


class _Asked:
    def __init__(self, data: DataSource | None = None, **options: object) -> None:
        """Take what the function takes, but the model."""
        self._data = data
        self._options = options


class PartitionPass(_Asked, ir.passes.InPlacePass):
    """`lhc.partition`: annotates the model; names nodes that have no name, and changes nothing else."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        annotated = partition(model, self._data, **self._options).model  # type: ignore[arg-type]  # checked there
        for node, proto in zip(model.graph, annotated.graph.node, strict=True):
            node.name = proto.name
            _replace(node.metadata_props, {entry.key: entry.value for entry in proto.metadata_props})
        _replace(model.metadata_props, {entry.key: entry.value for entry in annotated.metadata_props})
        return ir.passes.PassResult(model, modified=True)


class CompilePass(_Asked, ir.passes.FunctionalPass):
    """`lhc.compile`: makes of a model one whose analog layers are functions; partitions it first if need be."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        compiled = compile(model, self._data, **self._options)  # type: ignore[arg-type]  # checked there
        return ir.passes.PassResult(compiled.to_ir(), modified=True)


def _replace(metadata: MutableMapping[str, str], keys: dict[str, str]) -> None:
    """Set lhc's keys; those of an earlier placement go, and everybody else's stay."""
    for key in [key for key in metadata if key.startswith(KEY_PREFIX)]:
        del metadata[key]
    metadata.update(keys)
