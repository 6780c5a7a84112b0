"""Compiled models: one file for every chip, and what runs it here as anywhere else: onnxruntime."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from lhc.errors import DataError, ModelError, UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.lowering.chip_calibration import ChipCalibration
from lhc.lowering.functions.tile_read import Noise
from lhc.lowering.lower import Chip, lower
from lhc.measure.evaluation_context import Block
from lhc.onnx_io import check_output, compiled_from, copy_path, declared_shape, infer_shapes, save_model
from lhc.onnx_io.read.external_data import InMemoryExternalData, whole
from lhc.onnx_io.write import WeightFile
from lhc.onnx_model import OnnxModel, all_nodes, in_other_file
from lhc.plan import Plan
from lhc.runtime import HybridExecutor
from lhc.runtime.lazy_programming import lazily_programmed_chip
from lhc.runtime.onnxruntime.library import onnxruntime
from lhc.runtime.onnxruntime.sessions import create_session, run_session
from lhc.support.files import default_work_dir
from lhc.support.number_formatting import time_text

LARGE = 2**30
"""Bytes of programmed weights that are too many for the model itself."""

Array = npt.NDArray[Any]


def check_compiled_output(path: Path, model: OnnxModel, force: bool, beside: bool = False) -> None:
    """Refuse an output that would lose something: only this network compiled before is replaced.

    Args:
        beside: weights are written to a file beside it even where those of the model are in its own.

    Raises:
        UsageError: it is the input, a folder, or any other file, or weights would replace one (unless ``force``).
    """
    check_output(path, model, True, "copy")
    if force or (path.exists() and compiled_from(path) == model.source):
        return
    if path.exists():
        raise UsageError(f"{path}: exists and is not this network compiled; --force replaces it, or choose another -o")
    data = copy_path(path)
    if (beside or model.external) and data.exists():
        raise UsageError(f"{path}: its weights would replace {data}; --force replaces it, or choose another -o")


@dataclass(frozen=True, eq=False, repr=False)
class CompiledModel:
    """A placed model on one chip, as an ordinary ONNX model.

    Attributes:
        light: the model with lhc's functions, beside its large weights.
        source: the network that was compiled.
        chip: which programming it is.
        noise: where output noise comes from.
        data: where programmed weights are; it goes with this object.
    """

    light: onnx.ModelProto
    source: OnnxModel
    chip: Chip
    noise: Noise
    data: WeightFile | InMemoryExternalData

    def __repr__(self) -> str:
        at = "before any drift" if self.chip.t_s is None else f"after {time_text(self.chip.t_s)}"
        named = f"chip {self.chip.draw} of seed {self.chip.seed} {at}, output noise {self.noise}"
        return f"<CompiledModel: {self.source.label}, {named}>"

    @property
    def proto(self) -> onnx.ModelProto:
        """The model with what it holds; a copy where it is large. Weights in other files stay there."""
        return whole(self.light)

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write it as one file; weights in ``OUT.data`` beside it where those of the source are in other files.

        Args:
            force: replace a file that is not this network compiled.

        Raises:
            UsageError: writing would lose something, or the place cannot be written.
        """
        where = Path(path)
        check_compiled_output(where, self.source, force, any(map(in_other_file, self.light.graph.initializer)))
        save_model(self.light, where, "copy")
        return where

    def to_ir(self) -> ir.Model:
        """`proto` as an onnx-ir model."""
        return ir.from_proto(self.proto)

    def session(self, noise_seed: int | None = None) -> onnxruntime.InferenceSession:
        """A session of onnxruntime on one thread; products of codes are exact, see docs/compiled-models.md.

        Args:
            noise_seed: of the noise that the model draws. onnxruntime has one generator a process for all sessions
                that are made after ``onnxruntime.set_seed``, which this calls; None leaves it.
        """
        if noise_seed is not None:
            onnxruntime.set_seed(noise_seed)
        return create_session(self.light, self.source.label, exact_integers=True)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return self.session()

    @property
    def deviates(self) -> dict[str, onnx.ValueInfoProto]:
        """Inputs that take noise: standard normal deviates, by the name of the analog node."""
        inputs = {value.name: value for value in self.light.graph.input}
        calls = ((node.name, inputs.get(f"{node.name}.deviates")) for node in all_nodes(self.light.graph))
        return {name: value for name, value in calls if value is not None}

    def run(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Array], rng: np.random.Generator | None = None
    ) -> list[Array]:
        """Outputs for these inputs.

        Args:
            output_names: which outputs; None, or no names, for all.
            feeds: input name -> array. Deviates that are not fed are drawn.
            rng: draws them; a new one, with a seed of the system, by default.

        Raises:
            DataError: missing or unknown inputs, or data that does not fit.
            UsageError: an output that the model does not have.
        """
        known = [value.name for value in self.light.graph.output]
        names = list(output_names or known)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UsageError(f"no output {unknown[0]!r}; outputs are {', '.join(known)}")
        given = {name: np.asarray(array) for name, array in feeds.items()}
        wanted = {value.name for value in self._session.get_inputs()} - {v.name for v in self.deviates.values()}
        if not wanted <= set(given):
            raise DataError(f"feeds are {sorted(given)}, the inputs are {sorted(wanted)}")
        if self.noise == "input":
            given = self.draw_deviates(given, np.random.default_rng() if rng is None else rng) | given
        return run_session(self._session, names, given, self.source.label)

    def draw_deviates(self, feeds: Mapping[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        """Standard normal deviates for all inputs that take them and are not fed.

        Raises:
            DataError: how many a layer takes cannot be told from the shapes of the inputs.
        """
        missing = {name: value for name, value in self.deviates.items() if value.name not in feeds}
        if not missing:
            return {}
        inputs = {value.name for value in self.source.proto.graph.input}
        given = {name: tuple(array.shape) for name, array in feeds.items() if name in inputs}
        shapes = infer_shapes(self.source, given)
        outputs = {node.name: node.output[0] for node in self.source.proto.graph.node}
        drawn = {}
        for name, value in missing.items():
            shape = shapes.get(outputs[name])
            reads = (declared_shape(value) or (None,))[0]
            if shape is None or not isinstance(reads, int) or not all(isinstance(size, int) for size in shape):
                raise DataError(f"{self.source.label}: the shape of {value.name!r} is not known; feed it")
            drawn[value.name] = rng.standard_normal((reads, *(int(size or 0) for size in shape)), np.float32)
        return drawn


def _check_form(hardware: Hardware) -> None:
    """Refuse effects that operators of ONNX are not written for."""
    for machine in hardware.variants():
        for path, rare in machine.rare_effects.items():
            if not rare.compiled:
                raise ModelError(
                    f"hardware {hardware.name!r} {rare.what} ({path}), which compiled files have no form of"
                )


def compile_chips(
    model: OnnxModel,
    graph: LayerGraph,
    plan: Plan,
    *,
    seed: int = 0,
    draws: Sequence[int] = (0,),
    t_s: float | None = None,
    noise: Noise = "on",
    calibration: Block | None = None,
) -> Iterator[CompiledModel]:
    """Compile a placed model for some chips, one after the other.

    Args:
        plan: what is analog, on which hardware, with its static input ranges.
        t_s: seconds after the first read; the hardware's own by default.
        noise: where output noise comes from.
        calibration: samples that the outputs of every chip are calibrated on; without them, no chip is calibrated.

    Raises:
        UsageError: a negative seed or time, or one for which the devices are not known.
        ModelError: a layer cannot be analog, or the model cannot be converted as its noise needs it.
    """
    machine = plan.hardware
    _check_form(machine)
    if seed < 0 or min(draws, default=0) < 0:
        raise UsageError(f"--seed and draws must not be negative, got {seed} and {', '.join(map(str, draws))}")
    at = machine.t_inference_s if t_s is None else t_s
    machine.check_time(at)
    executor = HybridExecutor(model, graph, plan.analog, plan.ranges, plan.copies, digital=plan.digital)
    calibrating = None
    if calibration is not None and plan.analog:
        calibrating = ChipCalibration.of(model, graph, plan, executor, calibration, seed, at)
    weights = sum(layer.parameters for layer in plan.layers if layer.placement == "analog")
    large = bool(model.external) or 4 * weights > LARGE
    for draw in draws:
        matrices = lazily_programmed_chip(executor, machine, seed, draw, at)
        chip = Chip(seed, draw, at)
        corrections = {} if calibrating is None else calibrating.corrections(draw)
        data = WeightFile(default_work_dir()) if large else InMemoryExternalData()
        proto = lower(model, graph, plan, matrices, noise, chip, corrections, data.put)
        yield CompiledModel(proto, model, chip, noise, data)
