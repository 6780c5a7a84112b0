"""Write columns of products several times, in columns of tiles that are free anyway."""

from collections.abc import Collection
from dataclasses import dataclass

from lhc.graph import LayerGraph
from lhc.hardware import UNLIMITED, Hardware
from lhc.onnx_io.rewrites.column_copies import copyable_columns, with_copied_columns
from lhc.onnx_model import OnnxModel, without_annotations
from lhc.pipeline.rewrites.rewritten_network import RewrittenModel, data_file, store_in
from lhc.support.number_formatting import counted
from lhc.support.tables import Table


@dataclass(frozen=True)
class WidenedLayer:
    """A product that goes onto tiles.

    Attributes:
        copies: of every column; 1 where the tiles have no room, or the file's operator cannot be written so.
    """

    layer: str
    columns: int
    copies: int


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class WidenedModel(RewrittenModel):
    """A network with copied columns, which computes what it did before to rounding.

    Attributes:
        layers: its products, and how often each was written.
    """

    layers: tuple[WidenedLayer, ...]

    @property
    def summary(self) -> str:
        """Number of products that were widened."""
        copied = [one.copies for one in self.layers if one.copies > 1]
        most = f", up to {max(copied)} times" if copied else ""
        layers = counted(len(self.layers), "layer")
        return f"columns of {len(copied)} of {layers} copied{most}; no tile more on {self.hardware.name}"

    def as_table(self) -> Table:
        """One row a product."""
        rows = [[one.layer, str(one.columns), str(one.copies)] for one in self.layers]
        return Table(("layer", "columns", "copies"), rows, right=(1, 2))


def widened_model(
    model: OnnxModel, graph: LayerGraph, hardware: Hardware, chosen: Collection[str], most: int
) -> WidenedModel:
    """The network with the columns of these products copied, as often as their tiles have free columns.

    Args:
        chosen: products that go onto tiles.
    """
    columns = copyable_columns(model, graph)
    cols = hardware.tiles.cols if hardware.tiles.cols != UNLIMITED else 0  # no free ones where tiles fit their layers
    copies = {n: max(1, min(most, cols // columns[n])) for n in chosen if n in columns}
    data = data_file(model)
    proto = without_annotations(with_copied_columns(model, graph, copies, store_in(data)))
    matrices = {name: matrix for name in chosen if (matrix := graph[name].matrix) is not None}
    layers = tuple(WidenedLayer(name, matrix.cols, copies.get(name, 1)) for name, matrix in matrices.items())
    widened = OnnxModel(proto, None, (), model.label, model.complaint)
    return WidenedModel(model=widened, source=model, layers=layers, hardware=hardware, data=data)
