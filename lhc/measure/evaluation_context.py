"""Context that all units of work of an evaluator share, and blocks of samples."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.onnx_io import static_batch
from lhc.onnx_io.read.zipmap_outputs import ClassMap, class_maps
from lhc.onnx_model import OnnxModel
from lhc.options.declaration.value_parsing import AskedEngine
from lhc.passes.decide.copies import Copies
from lhc.plan import Plan
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.programmed_matrix import ProgrammedMatrix
from lhc.runtime import HybridExecutor, LruCache, Ranges
from lhc.runtime.digital_precision.model_in_precision import computes_as_file
from lhc.runtime.onnxruntime.batched_calls import Call, calibration_calls, call_samples
from lhc.samples.metrics import Array, Metric, get_metric
from lhc.samples.sample_axis import SampleLayout
from lhc.samples.task import Task, cut

__all__ = ["DEFAULT_MEMORY", "Block", "WorkContext", "calibration_block"]

BLOCK_SAMPLES = 512
"""Aimed number of samples in a block."""
DEFAULT_MEMORY = 2**31
"""Bytes for programmed tiles and outputs that are kept."""
CHIPS_TOGETHER = 4
"""Most chips whose first products are computed together."""
BYTES_PER_WEIGHT = 5
"""Of a chip's tiles as products take them: float32, filled up to blocks. Measured: 4.4 on a BERT of 25 million weights
on tiles."""
_KEPT_PLACEMENTS = 4
"""Most placements whose sessions are kept, beside the digital network's; one at least."""
_SESSION_SHARE = 16
"""The part of the memory that is for weights of kept sessions."""
BANK_SHARE = 4
"""The part of the memory that is for programmed tiles; another one is for tensors of the digital network."""
LEAST_KEPT = 2**27
"""Bytes of tiles that are kept of any network where the memory allows it: programming small ones anew is not small
beside computing with them."""
_LARGE = 2**24
"""Bytes of weights that may go on tiles."""
_READS: LruCache[ProgrammedMatrix] = LruCache(3 * 2**26)
"""Of chips: the candidates of all stages of a command are judged on the same ones."""


@dataclass(frozen=True, eq=False)
class WorkContext:
    """Context that all units of an evaluator share.

    Attributes:
        ranges: layer -> calibrated input ranges, where the hardware has static ones.
        metric: scores the outputs.
        by_targets: outputs are scored against the targets, not against the digital network.
        output: name of the output that is scored.
        copies: of weights on tiles, of every placement.
        calibration: samples that chips are calibrated on, apart from those that are scored; None: they are not.
        frozen: they are calibrated on the read noise of inference.
        class_axis: axis of the output with the scores of classes, where the metric reads classes and it is not the
            last: outputs are scored, and given, with that axis last.
        layout: where the network has samples; outputs are scored, and given, with these first.
        memory: bytes for programmed tiles and outputs that are kept.
        engine: how products on tiles are computed, see `lhc.options.shared.Emulating`.
        digital: arithmetic of digital products; None: as in the file. Outputs are compared with the network as it is
            given, whatever this is.
    """

    model: OnnxModel
    graph: LayerGraph
    hardware: Hardware
    ranges: Mapping[str, Ranges]
    metric: Metric
    by_targets: bool
    output: str
    seed: int
    copies: Copies = field(default_factory=Copies)
    calibration: "Block | None" = None
    frozen: bool = False
    class_axis: int | None = None
    layout: SampleLayout = field(default_factory=SampleLayout)
    memory: int = DEFAULT_MEMORY
    engine: AskedEngine = "auto"
    digital: DigitalArithmetic | None = None

    @classmethod
    def unscored(
        cls, model: OnnxModel, graph: LayerGraph, plan: Plan, seed: int, calibration: "Block | None" = None
    ) -> "WorkContext":
        """Context of a placed network that is run without scoring its answers."""
        copies, output = Copies(plan.copies), graph.outputs[0]
        context = cls(
            model, graph, plan.hardware, plan.ranges, get_metric("nmse"), False, output, seed, copies, calibration
        )
        return replace(context, digital=plan.digital)

    @property
    def base_differs(self) -> bool:
        """Whether the all-digital network of this machine is another one than outputs are compared with."""
        return self.digital is not None

    @cached_property
    def base_may_answer_otherwise(self) -> bool:
        """Whether it may answer any sample otherwise: not where all its products are in the format of the file."""
        return self.digital is not None and not computes_as_file(self.model, self.digital)

    @property
    def calibrates(self) -> bool:
        """Whether the outputs of chips are calibrated."""
        return self.calibration is not None and self.hardware.is_stochastic

    @property
    def calibration_calls(self) -> list[Call]:
        """The calls of the network that calibrate a chip."""
        assert self.calibration is not None
        reads = self.hardware.compensation.reads
        fixed = self.batch is not None
        return calibration_calls(self.calibration.inputs, reads, self.call_samples, fixed, self.layout)

    @cached_property
    def batch(self) -> int | None:
        """The batch that the model fixes, if it does; 1 where a call takes one sample."""
        return 1 if self.layout.one_a_call else static_batch(self.model, self.layout.inputs)

    @cached_property
    def call_samples(self) -> int:
        """Samples in one call of the network: a power of two, fewer where its products are large."""
        return self.batch or call_samples(self.graph)

    @cached_property
    def class_maps(self) -> Mapping[str, ClassMap]:
        """Outputs that are lists of maps, which are scored as the tensors behind them."""
        return class_maps(self.model)

    @property
    def scored_tensor(self) -> str:
        """The tensor that holds what is scored."""
        maps = self.class_maps
        return maps[self.output].tensor if self.output in maps else self.output

    def taken(self, where: slice) -> int:
        """Number of samples in a call for these: those that fill up a fixed batch count."""
        return self.batch or where.stop - where.start

    @property
    def block_samples(self) -> int:
        """Samples of a block: whole calls, a number that fixed computing units divide where the batch allows it."""
        return self.call_samples * max(1, BLOCK_SAMPLES // self.call_samples)

    @cached_property
    def tile_bytes(self) -> int:
        """Memory for programmed tiles: a share of all, and no more than the network's own weights take."""
        return min(self.memory // BANK_SHARE, max(LEAST_KEPT, self._network_bytes))

    @property
    def is_large(self) -> bool:
        """Whether giving memory back, some milliseconds, is worth it whenever chips are programmed."""
        return self._network_bytes >= _LARGE

    @property
    def _network_bytes(self) -> int:
        """Bytes of the weights that may go on tiles, in float32."""
        return 4 * self._weights(frozenset(layer.name for layer in self.graph.candidates))

    def chips_together(self, placement: frozenset[str]) -> int:
        """Number of chips that fit in memory together."""
        return max(1, min(CHIPS_TOGETHER, self.tile_bytes // max(self.chip_bytes(placement), 1)))

    def keeps_chips(self, placement: frozenset[str], chips: int) -> bool:
        """Whether the tiles of that many chips stay in memory once they are programmed."""
        return 2 * self.chip_bytes(placement) * chips <= self.tile_bytes

    @property
    def room(self) -> int:
        """Bytes for the tiles of a chip that is at work; those that do not fit are programmed layer by layer."""
        return self.memory // BANK_SHARE

    def chip_bytes(self, placement: frozenset[str]) -> int:
        """Bytes of the tiles of one chip, as products read them."""
        copies = self.copies.of(placement)
        found = 0
        for name in placement:
            matrix, machine = self.graph[name].matrix, self.hardware.for_layer(name)
            if matrix is not None:
                found += machine.held_rows(matrix.rows, copies.get(name, 1)) * matrix.cols * matrix.groups
        return BYTES_PER_WEIGHT * found

    @property
    def kept_placements(self) -> int:
        """Placements whose digital segments fit in memory; onnxruntime packs their weights anew for each."""
        return max(1, min(_KEPT_PLACEMENTS, self.memory // _SESSION_SHARE // max(self._network_bytes, 1)))

    @property
    def kept_reads(self) -> LruCache[ProgrammedMatrix] | None:
        """Reads of chips that were made before; none where those of chips together do not fit, or memory is short."""
        fits = CHIPS_TOGETHER * self._network_bytes <= _READS.limit
        return _READS if fits and self.memory >= 2 * BANK_SHARE * _READS.limit else None

    def arithmetic(self, raised: frozenset[str] | None = None) -> DigitalArithmetic | None:
        """Arithmetic of digital products, with exactly these in the high precision; None: those that it has."""
        return self.digital if raised is None or self.digital is None else self.digital.with_raised(raised)

    def executor(
        self, placement: frozenset[str], as_given: bool = False, raised: frozenset[str] | None = None
    ) -> HybridExecutor:
        """The network with these layers analog, as units of work run it.

        Args:
            as_given: digital products compute as in the file.
            raised: see `arithmetic`.
        """
        copies = self.copies.of(placement)
        axes = self.layout.inputs
        return HybridExecutor(
            self.model,
            self.graph,
            placement,
            self.ranges,
            copies,
            self.engine,
            self.kept_reads,
            axes,
            None if as_given else self.arithmetic(raised),
        )

    def _weights(self, placement: frozenset[str]) -> int:
        return sum(matrix.parameters for name in placement if (matrix := self.graph[name].matrix) is not None)


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive samples of a task.

    Attributes:
        first: index of the first, which fixes the noise.
        inputs: input name -> ``(samples, ...)``.
        targets: ``(samples, ...)`` or None.
        digest: of their content.
        layout: where the network has samples.
    """

    first: int
    samples: int
    inputs: Mapping[str, Array]
    targets: Array | None
    digest: str
    layout: SampleLayout = field(default_factory=SampleLayout)

    def calls(self, size: int, fill: bool) -> Iterator[tuple[slice, Mapping[str, Array]]]:
        """Feeds of at most ``size`` samples with their place in the block; ``fill``: repeat the last one up to it."""
        return cut(self.inputs, self.samples, size, fill, self.layout)


def calibration_block(samples: Task) -> Block:
    """Samples that chips are calibrated on, without targets."""
    inputs, _ = samples.read(0, len(samples))
    return Block(0, len(samples), inputs, None, samples.digest, samples.layout)
