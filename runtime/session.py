"""`HybridSession`: onnxruntime's interface over digital segments and emulated analog tiles."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx

from lhc.errors import DataError, UsageError
from lhc.graph import obstacle
from lhc.hardware import Hardware
from lhc.model import OnnxModel
from lhc.onnx_io import load_model, read_graph, read_plan
from lhc.plan import Plan
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.ort import Array, TensorInfo, tensor_infos
from lhc.runtime.programmed import ProgrammedChip, ProgrammedLayers
from lhc.runtime.stream import Position

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["HybridSession"]


class HybridSession:
    """A network whose analog layers run on emulated tiles, used like an ``onnxruntime.InferenceSession``.

    The tiles are programmed when the session is made and have drifted to ``t_inference``. Noise follows the stream
    of samples: the same samples in the same order give the same answers, however they are cut into calls;
    running a sample again gives new noise, as on hardware.

    Attributes:
        plan: the plan that was given or that the model carries, if any.
        hardware: the machine that is emulated.
    """

    def __init__(
        self,
        model: "str | Path | onnx.ModelProto | ir.Model | OnnxModel",
        hardware: Hardware | str | Path | None = None,
        placement: Plan | Iterable[str] | Literal["all-analog"] | None = None,
        seed: int = 0,
        t_inference: float | None = None,
        engine: Literal["auto", "fast", "reference"] = "auto",
        device: str = "cpu",
    ) -> None:
        """Cut the network, program the tiles and let them drift.

        Args:
            model: path, ModelProto, onnx-ir model or loaded model.
            hardware: description; by default that of the annotations, else preset ``lionheart``.
            placement: by default the model's annotations (all digital where there are none); else
                ``"all-analog"``, names of layers, or a plan.
            seed: fixes devices and noise.
            t_inference: seconds after the first read; the hardware's own by default.
            engine: how products are computed; ``reference`` is aihwkit's own tile forward, ``fast`` (``auto``) the same
                arithmetic, equal to float rounding without noise and in distribution with it.
            device: torch device on which the fast engine computes; tiles are programmed on the CPU.

        Raises:
            UsageError: unknown layer, hardware or engine, or a negative time.
            ModelError: the model cannot be read or run, or a layer cannot be analog.
        """
        if engine not in ("auto", "fast", "reference"):
            raise UsageError(f"unknown engine {engine!r}; choose auto, fast or reference")
        if engine == "reference" and device != "cpu":
            raise UsageError(f"the reference engine computes on the CPU, not on {device!r}")
        self._reference = engine == "reference"
        self._device = device
        self._model = load_model(model)
        self.plan = placement if isinstance(placement, Plan) else read_plan(self._model)
        default = self.plan.hardware if self.plan is not None else "lionheart"
        self.hardware = Hardware.load(hardware if hardware is not None else default)
        self._graph = read_graph(self._model, sizes=False)
        self._executor = HybridExecutor(
            self._model,
            self._graph,
            self._analog(placement),
            self.plan.ranges if self.plan else None,
            self._copies(placement),
        )
        t_s = self.hardware.t_inference_s if t_inference is None else t_inference
        self._chip: ProgrammedChip
        self._programmed: ProgrammedLayers
        self.program(seed)
        self.drift_to(t_s)

    def _analog(self, placement: Plan | Iterable[str] | str | None) -> frozenset[str]:
        if placement == "all-analog":
            return frozenset(layer.name for layer in self._graph.candidates if obstacle(layer) is None)
        if placement is None or isinstance(placement, Plan):
            return self.plan.analog if self.plan is not None else frozenset()
        names = frozenset([placement] if isinstance(placement, str) else placement)
        unknown = sorted(names - {layer.name for layer in self._graph.layers})
        if unknown:
            raise UsageError(f"{self._model.label} has no layer {', '.join(map(repr, unknown))}")
        return names

    def _copies(self, placement: Plan | Iterable[str] | str | None) -> dict[str, int]:
        """Those of a plan for this machine, else what fits in the tiles that layers take anyway."""
        planned = placement is None or isinstance(placement, Plan)
        if planned and self.plan is not None and self.plan.hardware == self.hardware:
            return self.plan.copies
        matrices = {layer.name: layer.matrix for layer in self._graph.candidates if layer.matrix is not None}
        return {name: self.hardware.free_copies(name, matrix.rows) for name, matrix in matrices.items()}

    @property
    def analog(self) -> frozenset[str]:
        """Names of the analog layers."""
        return self._executor.analog

    def get_inputs(self) -> list[TensorInfo]:
        """Name, type and shape of the inputs."""
        return tensor_infos(self._model)

    def get_outputs(self) -> list[TensorInfo]:
        """Name, type and shape of the outputs."""
        return tensor_infos(self._model, outputs=True)

    def program(self, seed: int = 0, draw: int = 0) -> None:
        """Program all devices anew: another chip. They have not drifted until `drift_to` is called.

        Args:
            seed: of the run.
            draw: number of the programming under that seed.
        """
        if seed < 0 or draw < 0:
            raise UsageError(f"seed and draw must not be negative, got {seed} and {draw}")
        self._chip = self._executor.program(self.hardware, seed, draw)
        self._seed, self._draw = seed, draw
        self._restart()

    def drift_to(self, t_seconds: float) -> None:
        """Let the devices drift to a time after the first read, and draw their read noise.

        Raises:
            UsageError: a negative or infinite time, or one for which the devices are not known.
        """
        self.hardware.check_time(t_seconds)
        self._chip.drift_to(t_seconds)
        self._restart()

    def _restart(self) -> None:
        """Take what the tiles hold now, and the noise from the start of the stream."""
        self._next_sample = 0
        if self._reference:
            self._programmed = ProgrammedLayers((self._chip.matrices,), self._chip.matrices)
        else:
            self._programmed = self._executor.on_chips(
                [self._chip.states()], self.hardware, self._seed, [self._draw], self._device
            )

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Array | list[Array] | None]) -> list[Array]:
        """Outputs for these inputs.

        Args:
            output_names: which outputs; None, or no names, for all.
            feeds: input name -> array; a list for a sequence, perhaps None for what is optional.

        Raises:
            DataError: missing or unknown inputs, or data that does not fit.
            UsageError: an output that the model does not have.
        """
        names = list(output_names or self._graph.outputs)
        unknown = [name for name in names if name not in self._graph.outputs]
        if unknown:
            raise UsageError(f"no output {unknown[0]!r}; outputs are {', '.join(self._graph.outputs)}")
        # Sequences are lists and what is optional may be None: they go to the digital segments as they are.
        arrays: dict[str, Any] = {n: a if a is None or isinstance(a, list) else np.asarray(a) for n, a in feeds.items()}
        if set(arrays) != set(self._graph.inputs):
            raise DataError(f"feeds are {sorted(arrays)}, the inputs are {sorted(self._graph.inputs)}")
        tensors = [array for name in self._graph.inputs if isinstance(array := arrays[name], np.ndarray)]
        samples = next((len(tensor) for tensor in tensors if tensor.ndim), 1)
        prefix = self._executor.prefix(arrays)
        position = Position(self._next_sample, max(samples, 1))
        self._next_sample += samples
        return next(self._executor.finish(prefix, self._programmed, position, names))
