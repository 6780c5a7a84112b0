"""Corrections of the chips that models are compiled for, or split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lhc.graph import LayerGraph
from lhc.measure.evaluation_context import Block, WorkContext
from lhc.onnx_model import OnnxModel
from lhc.plan import Plan
from lhc.programmed_matrix import Correction
from lhc.runtime import HybridExecutor
from lhc.runtime.onnxruntime.batched_calls import Call

if TYPE_CHECKING:
    from lhc.runtime.calibration.chip_outputs import Moments


@dataclass(frozen=True, eq=False)
class ChipCalibration:
    """Calibration samples and settings for the chips of one placement.

    Attributes:
        digital: what the outputs of the digital network have on these samples, by layer.
        calls: of the network with them.
        t_s: when chips are calibrated, in seconds after the first read.
    """

    executor: HybridExecutor
    plan: Plan
    digital: "Mapping[str, Moments]"
    block: Block
    calls: Sequence[Call]
    seed: int
    t_s: float

    @classmethod
    def of(
        cls,
        model: OnnxModel,
        graph: LayerGraph,
        plan: Plan,
        executor: HybridExecutor,
        block: Block,
        seed: int,
        t_s: float,
    ) -> "ChipCalibration":
        """Run the digital network on the samples of ``block``; ``t_s``: time of inference."""
        from lhc.runtime.calibration.chip_outputs import digital_moments

        calls = WorkContext.unscored(model, graph, plan, seed, block).calibration_calls
        digital = digital_moments(model, graph, executor.layers, calls)
        return cls(executor, plan, digital, block, calls, seed, plan.hardware.compensation.calibrated_at(t_s))

    def corrections(self, draw: int) -> dict[str, Correction]:
        """Corrections of one chip, by layer."""
        from lhc.runtime.calibration.chip_outputs import calibrated

        return calibrated(self.executor, self.digital, self.plan.hardware, self.seed, draw, self.t_s, self.calls)
