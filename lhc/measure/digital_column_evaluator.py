"""Score placements that part layers: each in the network that it would be run in."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property

from lhc.graph import LayerGraph
from lhc.measure.evaluator import PlacementEvaluator
from lhc.measure.measurement import Measurement, Wanted
from lhc.onnx_model import OnnxModel
from lhc.passes.decide.copies import Copies

__all__ = ["ColumnSplitEvaluator"]


@dataclass(frozen=True, eq=False)
class ColumnSplitEvaluator(PlacementEvaluator):
    """An evaluator on which a placement is measured as it would be run: a layer is split only where its parts differ.

    Attributes:
        form: the network in which the layers are split that a placement parts, by the placement.
    """

    form: Callable[[frozenset[str]], tuple[OnnxModel, LayerGraph]] = field(kw_only=True)

    @cached_property
    def _last(self) -> dict[frozenset[str], PlacementEvaluator]:
        """The evaluator of the placement that was measured last, with its programmed chips."""
        return {}

    def measure(
        self, placement: frozenset[str], draws: range, what: str = "measuring", t_s: float | None = None
    ) -> Measurement:
        """See `PlacementEvaluator.measure`; columns without the rest of their layer are digital, as it is."""
        if not placement:
            return super().measure(placement, draws, what, t_s)
        if placement not in self._last:
            evaluator = self._of(placement)
            self._last.clear()
            self._last[placement] = evaluator
        evaluator = self._last[placement]
        return evaluator.measure(frozenset(name for name in placement if name in evaluator.graph), draws, what, t_s)

    def expect(self, certain: Wanted, perhaps: Wanted = ()) -> None:
        """Nothing is begun: every placement has a network of its own."""

    def _of(self, placement: frozenset[str]) -> PlacementEvaluator:
        """The evaluator of a placement's network; drops are against the one that is whole."""
        model, graph = self.form(placement)
        shared = {one.name: getattr(self, one.name) for one in fields(PlacementEvaluator)}
        copies = {name: count for name, count in self.copies.of(placement).items() if name in graph}
        return PlacementEvaluator(
            **shared | {"model": model, "graph": graph, "copies": Copies(copies), "against": self}
        )
