"""A network whose columns are written several times, in columns of tiles that are free anyway."""

from dataclasses import dataclass

from lhc.errors import UsageError
from lhc.model import OnnxModel, without_annotations
from lhc.onnx_io.column_copies import copyable_columns, with_copied_columns
from lhc.onnx_io.data_file import DataFile, in_memory
from lhc.options.commands import WidenOptions
from lhc.options.signature import keywords
from lhc.passes import Qualify, initial_plan
from lhc.passes.select import Select
from lhc.store import default_work_dir
from lhc.study.prepare import check_machine, machine_of
from lhc.study.rewritten import RewrittenModel
from lhc.study.source import open_model
from lhc.support.tables import Table
from lhc.support.version import VERSION

__all__ = ["WidenedModel", "widen"]


@dataclass(frozen=True)
class WidenedLayer:
    """A product that goes onto tiles.

    Attributes:
        layer: its name.
        columns: of its matrix.
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
        """How many products were widened."""
        copied = [one.copies for one in self.layers if one.copies > 1]
        most = f", up to {max(copied)} times" if copied else ""
        return (
            f"columns of {len(copied)} of {len(self.layers)} layers copied{most}; no tile more on {self.hardware.name}"
        )

    def as_table(self) -> Table:
        """One row a product."""
        rows = [[one.layer, str(one.columns), str(one.copies)] for one in self.layers]
        return Table(("layer", "columns", "copies"), rows, right=(1, 2))


@keywords(WidenOptions)
def widen(options: WidenOptions) -> WidenedModel:
    """Write columns of products several times, where their tiles have free columns, and take the mean of the copies.

    Every copy has devices and a converter of its own, so that errors of a column average out. What is written is an
    ordinary network, which computes the same; it is placed as any other. A layer that stays digital then multiplies as
    often as it was written: name those that go onto tiles.

    Raises:
        UsageError: a pattern that no layer matches, or no copies.
    """
    if options.most < 2:
        raise UsageError(f"--most must be at least 2, got {options.most}")
    opened = open_model(options.model, dequantize=options.dequantize)
    model = opened.model
    graph = opened.example_graph()
    machine = machine_of(options)
    check_machine(machine, graph)
    plan = Qualify().run(graph, initial_plan(graph, machine, model.source, VERSION)).plan
    plan = Select(include=options.include, exclude=options.exclude).run(graph, plan).plan
    chosen = [row.name for row in plan.layers if row.may_be_analog]
    columns = copyable_columns(model, graph)
    copies = {n: max(1, min(options.most, machine.tiles.cols // columns[n])) for n in chosen if n in columns}
    data = DataFile(default_work_dir()) if model.external else None
    proto = with_copied_columns(model, graph, copies, in_memory if data is None else data.put)
    widened = OnnxModel(without_annotations(proto), None, (), model.label, model.complaint)
    matrices = {name: matrix for name in chosen if (matrix := graph[name].matrix) is not None}
    layers = tuple(WidenedLayer(name, matrix.cols, copies.get(name, 1)) for name, matrix in matrices.items())
    return WidenedModel(model=widened, source=model, layers=layers, hardware=machine, data=data)
