"""What `lhc.analyze` and `lhc.partition` return."""

from dataclasses import dataclass
from html import escape
from pathlib import Path

import onnx

from lhc.errors import LhcError, UsageError
from lhc.graph import LayerGraph
from lhc.model import OnnxModel
from lhc.onnx_io import annotate, load_model, save_model, written_for
from lhc.plan import Plan, summary
from lhc.runtime import HybridSession
from lhc.tables import Table

__all__ = ["Analysis", "PartitionResult", "check_output", "plan_table"]


def check_output(path: Path, model: OnnxModel, force: bool) -> None:
    """Refuse an output that would lose something of the user's.

    Raises:
        UsageError: it is the input, a folder, or a file that lhc did not write for this model (unless ``force``).
    """
    if model.path is not None and path.exists() and path.samefile(model.path):
        raise UsageError(f"{path}: the output is the input; choose another name with -o")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give a file name with -o")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: the folder {path.absolute().parent} does not exist")
    if path.exists() and not force and written_for(path) != model.source and not _same_network(path, model):
        raise UsageError(f"{path}: exists and holds something else; --force replaces it, or use -o")


def _same_network(path: Path, model: OnnxModel) -> bool:
    """Whether a file holds this very network, so that nothing is lost with it."""
    try:
        return load_model(path).source == model.source
    except LhcError:
        return False


@dataclass(frozen=True, eq=False)
class Analysis:
    """What can be analog, and why not what cannot.

    Attributes:
        plan: every candidate with its costs, undecided.
        graph: the layers.
        renamed: ``(old, new)`` names of nodes that had none or a duplicate.
    """

    plan: Plan
    graph: LayerGraph
    renamed: tuple[tuple[str, str], ...] = ()

    @property
    def tiles(self) -> int:
        """Tiles of all eligible layers."""
        return self.plan.tiles_of(self.graph, frozenset(self.plan.eligible))

    def as_table(self) -> Table:
        """One row a candidate."""
        rows = [
            [
                layer.title,
                layer.op_type,
                "yes" if layer.reason == "eligible" else "no",
                f"{layer.macs:,}",
                f"{layer.parameters:,}",
                str(layer.tiles),
                layer.detail if layer.reason == "eligible" else f"{layer.reason}: {layer.detail}",
            ]
            for layer in self.plan.layers
        ]
        headers = ["layer", "operator", "analog", "MACs", "weights", "tiles", "why"]
        return Table(headers, rows, right=(3, 4, 5))

    def table(self, form: str = "table") -> str:
        """As text, csv, markdown or latex."""
        return self.as_table().render(form)

    def _repr_html_(self) -> str:
        return self.as_table().html()


@dataclass(frozen=True, eq=False)
class PartitionResult:
    """A placed model.

    Attributes:
        plan: the decisions, and how they did on data.
        graph: the layers.
        source: the model that was placed.
        notes: sentences for the user.
    """

    plan: Plan
    graph: LayerGraph
    source: OnnxModel
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> onnx.ModelProto:
        """The model with the plan in its metadata, and nothing else changed."""
        return annotate(self.source, self.plan, self.graph)

    @property
    def summary(self) -> str:
        """One line."""
        return summary(self.plan, self.graph)

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write the annotated model.

        Args:
            path: where to.
            force: replace a file that lhc did not write for this model.

        Raises:
            UsageError: writing would lose something, or the place cannot be written.
        """
        where = Path(path)
        check_output(where, self.source, force)
        save_model(self.model, where)
        return where

    def session(self, seed: int | None = None, t_inference: float | None = None) -> HybridSession:
        """The placed model, ready to run; by default with the seed and time it was judged at."""
        outcome = self.plan.outcome
        if outcome is not None:
            seed = outcome.seed if seed is None else seed
            t_inference = outcome.t_s if t_inference is None else t_inference
        return HybridSession(self.source, placement=self.plan, seed=seed or 0, t_inference=t_inference)

    def table(self, form: str = "table") -> str:
        """One row a layer, as text, csv, markdown or latex."""
        return plan_table(self.plan).render(form)

    def _repr_html_(self) -> str:
        return f"{plan_table(self.plan).html()}<p>{escape(self.summary)}</p>"


def plan_table(plan: Plan) -> Table:
    """A plan, one row a layer."""
    rows = [
        [
            layer.title,
            layer.op_type,
            layer.placement,
            layer.reason,
            f"{layer.macs:,}",
            str(layer.tiles if layer.placement == "analog" else 0),
            "-" if layer.sensitivity is None else str(layer.sensitivity),
            layer.detail,
        ]
        for layer in plan.layers
    ]
    headers = ["layer", "operator", "placement", "reason", "MACs", "tiles", "sensitivity", "detail"]
    return Table(headers, rows, right=(4, 5))
