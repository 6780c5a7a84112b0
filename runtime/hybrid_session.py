"""`HybridSession`: onnxruntime's interface over digital segments and emulated analog tiles."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx

from lhc.canonical import canonical, dequantises, with_digital_columns
from lhc.errors import DataError, UsageError
from lhc.graph import LayerGraph, WeightRef, obstacle
from lhc.hardware import Hardware
from lhc.onnx_io import input_shapes, load_model, read_graph, read_plan, static_batch
from lhc.onnx_io.operators.matrix_product import Product
from lhc.onnx_io.read.shapes import sample_axes
from lhc.onnx_model import OnnxModel
from lhc.options.declaration.value_parsing import AskedEngine, Engine, engine_of
from lhc.plan import OF_ANOTHER_NETWORK, Plan
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.programmed_matrix import Correction
from lhc.runtime.digital_precision.products import warn_of_the_files_format
from lhc.runtime.engines.protocol import Position
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.lazy_programming import lazily_programmed_chip
from lhc.runtime.onnxruntime.batched_calls import Call, calibration_calls, calibration_count, call_samples
from lhc.runtime.onnxruntime.sessions import Array, TensorInfo, must_run, tensor_infos
from lhc.runtime.programmed_layers import ProgrammedLayers
from lhc.samples.input_types import converted
from lhc.samples.sample_axis import CALL, SampleAxis, SampleLayout, samples_first
from lhc.samples.task import Samples, Task, check_finite, count_samples

if TYPE_CHECKING:
    import onnx_ir as ir

log = logging.getLogger("lhc")


class HybridSession:
    """A network whose analog layers run on emulated tiles, used like an ``onnxruntime.InferenceSession``.

    The tiles are programmed when the session is made and have drifted to ``t_inference``. Noise follows the stream
    of samples: the same samples in the same order give the same answers, however they are cut into calls;
    running a sample again gives new noise, as on hardware. Two kinds of products have noise of their own in every call:
    those that a call computes once for all of its samples, and those of tensors where the samples are not found: on
    another axis than the first, or joined of unlike numbers of items (`lhc.runtime.operators.sample_axes`).

    Attributes:
        plan: the plan that was given or that the model carries, if any.
        engine: what computes products on tiles.
    """

    def __init__(
        self,
        model: "str | Path | onnx.ModelProto | ir.Model | OnnxModel",
        hardware: Hardware | str | Path | None = None,
        placement: Plan | Iterable[str] | Literal["all-analog"] | None = None,
        seed: int = 0,
        t_inference: float | None = None,
        engine: Literal["auto", "fast", "aihwkit"] = "auto",
        dequantize: bool = False,
    ) -> None:
        """Cut the network, program the tiles and let them drift.

        Args:
            model: path, ModelProto, onnx-ir model or loaded model.
            hardware: description; by default that of the annotations, else preset ``lionheart``.
            placement: by default the model's annotations (all digital, with a warning, where there are none); else
                ``"all-analog"``, names of layers, or a plan.
            t_inference: seconds after the first read; the hardware's own by default.
            engine: how products are computed; ``aihwkit`` is aihwkit's arithmetic in
                PyTorch, on a GPU if it has one, ``fast`` the same in compiled loops for ordinary tiles, with the same
                noise; ``auto`` takes that where the machine allows it.
            dequantize: operators on integers can be analog too, by their dequantised weights; plans that were made so
                need not be told.

        Raises:
            UsageError: unknown layer, hardware or engine, one that cannot stand for the hardware, or a negative time.
            ModelError: the model cannot be read or run, or a layer cannot be analog.
        """
        try:
            asked = engine_of(engine)
        except UsageError as error:
            raise UsageError(f"unknown engine {error}") from error
        self._model = canonical(
            load_model(model, runs=must_run),
            dequantize or (isinstance(placement, Plan) and dequantises(placement)),
            placement.control if isinstance(placement, Plan) else None,
        )
        self.plan = placement if isinstance(placement, Plan) else read_plan(self._model)
        if self.plan is not None and (placement is None or placement is self.plan):
            if self.plan.source != self._model.source:
                log.warning("%s: %s", self._model.label, OF_ANOTHER_NETWORK)
            self._model = with_digital_columns(self._model, self.plan.digital_columns)
        elif placement is None:
            log.warning(
                "%s carries no placement, so everything runs digital; see 'lhc partition' and placement=\"all-analog\"",
                self._model.label,
            )
        default = self.plan.hardware if self.plan is not None else "lionheart"
        self.hardware = Hardware.load(hardware if hardware is not None else default)
        self._graph = read_graph(self._model, sizes=False)
        self._types = {info.name: info.type for info in self.get_inputs() if info.type.startswith("tensor(")}
        self._axes = self._sample_axes()
        analog = self._analog(placement)
        takes_ranges = self.plan is not None and self.hardware.takes_ranges_of(self.plan.hardware)
        ranges = self.plan.ranges if self.plan is not None and takes_ranges else None
        copies = self._copies(placement, analog)
        self.engine: Engine = _computing(asked, self.hardware, analog)
        self._executor = HybridExecutor(
            self._model,
            self._graph,
            analog,
            ranges,
            copies,
            self.engine,
            sample_axes=self._axes,
            digital=self._arithmetic(placement, analog),
        )
        self._executor.open()
        t_s = self.hardware.t_inference_s if t_inference is None else t_inference
        self._programmed: ProgrammedLayers
        self._counting = Lock()
        self._corrected_at = 0.0
        self._corrections: Mapping[str, Correction] | None = None
        self._told = not (analog and self.hardware.corrects_outputs)
        self._told_not_finite = not analog
        self.hardware.check_time(t_s)
        self._take_chip(seed, 0, t_s)

    def _arithmetic(
        self, placement: Plan | Iterable[str] | str | None, analog: frozenset[str]
    ) -> DigitalArithmetic | None:
        """Arithmetic of digital products: a plan's for this machine; else that of the file, which is said."""
        planned = self.plan is not None and (placement is None or isinstance(placement, Plan))
        if planned and self.plan is not None and self.plan.hardware.digital == self.hardware.digital:
            return self.plan.digital
        if analog:
            remedy = "a plan that 'lhc partition' makes holds them"
            warn_of_the_files_format(self._model.label, self.hardware, self._graph, analog, remedy)
        return None

    def _sample_axes(self) -> dict[str, SampleAxis]:
        """Inputs with samples elsewhere than on the first axis: by the model, or as the user of the plan named them."""
        found: dict[str, SampleAxis] = dict(sample_axes(self._model))
        outcome = None if self.plan is None else self.plan.outcome
        named = {} if outcome is None else outcome.sample_axes
        found |= {name: axis for name, axis in named.items() if name in found}
        return {name: axis for name, axis in found.items() if axis != 0}

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

    def _copies(self, placement: Plan | Iterable[str] | str | None, analog: frozenset[str]) -> dict[str, int]:
        """Copies of a plan for this machine, else those that fit in tiles that layers take anyway."""
        planned = placement is None or isinstance(placement, Plan)
        if planned and self.plan is not None and self.plan.hardware.infers_as(self.hardware):
            return self.plan.copies
        return {
            name: self.hardware.free_copies(name, self._rows(node, weight))
            for node in self._model.proto.graph.node
            if (name := node.name) in analog
            and (weight := self._graph[name].weight) is not None
            and obstacle(self._graph[name]) is None
        }

    @staticmethod
    def _rows(node: onnx.NodeProto, weight: WeightRef) -> int:
        """Inputs of one product; sizes that depend on the samples are not needed for it."""
        product = Product.of(node, weight.operand, weight.shape)
        return int(product.matrix(np.empty(weight.shape, np.bool_)).shape[1])

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
        """Program all devices anew: another chip, not calibrated, at its first read until `drift_to` is called."""
        self._take_chip(seed, draw, 0.0)

    def _take_chip(self, seed: int, draw: int, t_s: float) -> None:
        if seed < 0 or draw < 0:
            raise UsageError(f"seed and draw must not be negative, got {seed} and {draw}")
        self._seed, self._draw, self._t_s = seed, draw, t_s
        self._forget()
        self._restart()

    def drift_to(self, t_seconds: float) -> None:
        """Let the devices drift to a time after the first read, and draw their read noise.

        A calibration stays valid where the hardware calibrates no later than it did (``compensation.when``); else the
        chip needs another one.

        Raises:
            UsageError: a negative or infinite time, or one for which the devices are not known.
        """
        self.hardware.check_time(t_seconds)
        self._t_s = t_seconds
        if self.hardware.compensation.calibrated_at(t_seconds) != self._corrected_at:
            self._forget()
        self._restart()

    def calibrate(self, samples: "Mapping[str, Array] | Task") -> None:
        """Correct the outputs of this chip digitally, so that on samples they have the digital network's moments.

        It is calibrated when the hardware says (``compensation.when``): now, or at an earlier time that is still valid
        now. The reads of a calibration have read noise of their own.

        Args:
            samples: inputs by name, or a task, without any use of its targets; not those that the answers are judged
                on. Arrays lie as the network takes them; where a call takes one sample, their first axis counts calls.
                The first ``compensation.samples`` are taken, fewer where their tensors are large.

        Raises:
            UsageError: the hardware corrects no outputs.
            DataError: missing or unknown inputs, no samples, NaN or infinite ones, or data that does not fit.
        """
        if not self.hardware.corrects_outputs:
            raise UsageError(
                f"hardware {self.hardware.name!r} corrects no outputs; compensation.outputs says whether it does"
            )
        if not self.analog:
            return
        from lhc.runtime.calibration.chip_outputs import calibrated, digital_moments

        compensation = self.hardware.compensation
        graph, calls = self._calibration_calls(samples)
        t_s = compensation.calibrated_at(self._t_s)
        moments = digital_moments(self._model, graph, self._executor.layers, calls)
        found = calibrated(self._executor, moments, self.hardware, self._seed, self._draw, t_s, calls)
        self._corrections, self._corrected_at, self._told = found, t_s, True
        self._programmed = replace(self._programmed, corrections=(found,))

    def _calibration_calls(self, samples: "Mapping[str, Array] | Task") -> tuple[LayerGraph, list[Call]]:
        """The layers with their sizes, and the calls with as many of these samples as calibrate a chip."""
        arrays: dict[str, Samples]
        if isinstance(samples, Task):
            layout, arrays = samples.layout, dict(samples.inputs)
        elif not isinstance(samples, Mapping):
            raise DataError(f"a chip is calibrated on arrays by input ({', '.join(self._graph.inputs)}), or on a Task")
        else:
            layout = SampleLayout(self._axes)
            stacked = {name: 0 if axis == CALL else axis for name, axis in self._axes.items()}
            arrays = {name: samples_first(np.asarray(a), stacked.get(name, 0)) for name, a in samples.items()}
        self._check_names(arrays)
        for name, array in arrays.items():
            check_finite(name, array)
        if not any(array.ndim and len(array) for array in arrays.values()):
            raise DataError("there are no samples to calibrate the chip on")
        batch = 1 if layout.one_a_call else static_batch(self._model, layout.inputs)
        one_call = {n: np.zeros((batch or 1, *a.shape[1:])[: a.ndim], np.bool_) for n, a in arrays.items()}
        shapes = {name: array.shape for name, array in layout.feeds(one_call).items()}
        graph = read_graph(self._model, shapes, axes=layout.inputs)
        compensation = self.hardware.compensation
        taken = min(count_samples(arrays), calibration_count(graph, compensation))
        if taken < compensation.samples:
            log.warning(
                "%s: the chip is calibrated on %d samples, not %d", self._model.label, taken, compensation.samples
            )
        inputs = self._as_taken({name: np.asarray(a[:taken] if a.ndim else a) for name, a in arrays.items()})
        most = batch or call_samples(graph)
        return graph, calibration_calls(inputs, compensation.reads, most, batch is not None, layout)

    def _forget(self) -> None:
        """Drop the corrections of another chip or time; that is said again when answers are asked for."""
        if self._corrections is not None:
            self._corrections, self._told = None, False

    def _tell_uncalibrated(self) -> None:
        """Say once that answers are not those of a chip as placements on this hardware are judged."""
        if not self._told:
            log.warning(
                "%s: hardware %r corrects the outputs of every chip, and this chip is not calibrated, so it usually"
                " does worse than chips that were judged; call calibrate(samples)",
                self._model.label,
                self.hardware.name,
            )
        self._told = True

    def _tell_not_finite(self, arrays: Mapping[str, Any]) -> None:
        """Say once that a tile has no NaN: its converters give numbers for it, where onnxruntime gives NaN."""
        if self._told_not_finite:
            return
        floats = {n: a for n, a in arrays.items() if isinstance(a, np.ndarray) and a.dtype.kind == "f"}
        named = next((name for name, array in floats.items() if not np.isfinite(array).all()), None)
        if named is not None:
            log.warning(
                "%s: input %r holds NaN or infinite values; tiles give finite numbers for them, which mean nothing",
                self._model.label,
                named,
            )
            self._told_not_finite = True

    def _restart(self) -> None:
        """Take what the tiles hold now, and the noise from the start of the stream."""
        self._next_sample = 0
        held = lazily_programmed_chip(self._executor, self.hardware, self._seed, self._draw, self._t_s)
        self._programmed = self._executor.on_chips([held], self.hardware, self._seed, [self._draw])
        if self._corrections is not None:
            self._programmed = replace(self._programmed, corrections=(self._corrections,))

    def _check_names(self, arrays: Mapping[str, object]) -> None:
        if set(arrays) != set(self._graph.inputs):
            raise DataError(f"feeds are {sorted(arrays)}, the inputs are {sorted(self._graph.inputs)}")

    def _as_taken(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Arrays in the types that the inputs take, as in data files; what is for no tensor as it is."""
        return {n: self._as_tensor(n, value) if n in self._types else value for n, value in arrays.items()}

    def _as_tensor(self, name: str, value: Any) -> Array:
        label, takes = self._model.label, self._types[name]
        if value is None:
            raise DataError(f"{label}: input {name!r} is None, and is not optional; give an array, {takes}")
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise DataError(f"{label}: input {name!r} is no array: {error}; give an array, {takes}") from error
        return np.asarray(converted(array, name, takes, label))

    def _check_ranks(self, arrays: Mapping[str, Any]) -> None:
        """As onnxruntime does, where no segment of its own reads an input."""
        for name, declared in input_shapes(self._model).items():
            if name in self._types and declared is not None and arrays[name].ndim != len(declared):
                sizes = ", ".join("?" if size is None else str(size) for size in declared)
                taken = f"has shape {arrays[name].shape}, the model takes ({sizes})"
                raise DataError(f"{self._model.label}: input {name!r} {taken}")

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Array | list[Array] | None]) -> list[Array]:
        """Outputs for these inputs.

        Args:
            output_names: which outputs; None, or no names, for all.
            feeds: input name -> array; a list for a sequence, perhaps None for what is optional. Floats and integers
                of another width than the input's are converted.

        Raises:
            DataError: missing or unknown inputs, another type or values that it cannot hold, or data that does not fit.
            UsageError: an output that the model does not have.
        """
        names = list(output_names or self._graph.outputs)
        unknown = [name for name in names if name not in self._graph.outputs]
        if unknown:
            raise UsageError(f"no output {unknown[0]!r}; outputs are {', '.join(self._graph.outputs)}")
        # Sequences are lists and what is optional may be None: they go to the digital segments as they are.
        arrays: dict[str, Any] = {n: a if a is None or isinstance(a, list) else np.asarray(a) for n, a in feeds.items()}
        self._check_names(arrays)
        arrays = self._as_taken(arrays)
        self._check_ranks(arrays)
        self._tell_uncalibrated()
        self._tell_not_finite(arrays)
        given = ((self._axes.get(name, 0), arrays[name]) for name in self._graph.inputs)
        samples = next((count for axis, a in given if (count := _samples_in(a, axis)) is not None), 1)
        prefix = self._executor.prefix(arrays)
        with self._counting:  # calls may come from several threads
            position = Position(self._next_sample, max(samples, 1))
            self._next_sample += samples
        return next(self._executor.finish(prefix, self._programmed, position, names))


def _samples_in(array: object, axis: SampleAxis) -> int | None:
    """Samples of a call by one of its inputs; None where that tells nothing."""
    if axis == CALL or not isinstance(array, np.ndarray):
        return 1 if axis == CALL else None
    return int(array.shape[axis]) if axis < array.ndim else None


def _computing(asked: AskedEngine, hardware: Hardware, analog: frozenset[str]) -> Engine:
    """The engine for a placement; nothing that emulates is loaded where nothing is analog."""
    if not analog:
        return "fast" if asked == "auto" else asked
    from lhc.runtime.engines.registry import choose_engine

    return choose_engine(asked, hardware, analog).name
