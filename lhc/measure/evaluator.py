"""Score placements on samples: the same samples and the same devices for every placement.

A measurement is cut into units: a placement, a few chips, a block of samples (`lhc.measure.work_unit`). Results of
units that were done before are taken from the cache; the others are done by the workers and kept as they come. What
bounds the time: the products on tiles, samples x draws x analog MACs.

Placements that split layers are scored each in the network that it would be run in (`ColumnSplitEvaluator`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Literal, Self

import numpy as np

from lhc.errors import DataError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.measure.evaluation_context import Block, WorkContext
from lhc.measure.measurement import Measurement, SampleScores, SetScores, Wanted, evaluation
from lhc.measure.result_keys import ResultLookup
from lhc.measure.running import Running
from lhc.measure.work_unit import BlockWork, Job, Scorer, job_groups, reference_job
from lhc.measure.workers.scheduler import WorkUnit, always
from lhc.onnx_model import OnnxModel
from lhc.options.declaration.value_parsing import AskedEngine
from lhc.options.shared import Progress, silent
from lhc.passes.decide.copies import Copies
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.results import Evaluation
from lhc.runtime import Ranges
from lhc.samples.metrics import Array, Metric, Scores
from lhc.samples.task import Indices, Task
from lhc.samples.user_metric import checked_score
from lhc.stats import CONFIDENCE

__all__ = ["ColumnSplitEvaluator", "PlacementEvaluator", "steadied"]


_EXAMPLES = 8
"""Samples on which a metric is tried first."""
_SPREAD = 500
"""Targets from all over the data on which it is tried where these are too few."""


@dataclass(frozen=True, eq=False)
class PlacementEvaluator:
    """A model, samples and hardware on which placements are scored.

    Attributes:
        draws: programmings per placement.
        t_s: time of inference, in seconds.
        output: name of the output that is scored; the first by default.
        ranges: layer -> calibrated input ranges, where the hardware has static ones.
        copies: of weights on tiles, of every placement.
        calibration: inputs of samples that chips are calibrated on, apart from those that are scored.
        frozen: chips are calibrated on the very read noise of inference, which no machine can do: to see what that
            would make of it (`lhc.pipeline.steps.explain.damage_attribution`).
        progress: called after every unit of work.
        running: workers and the result cache.
        against: the network that drops are against. ``as given``: this one, as its file computes it. ``all
            digital``: this one without tiles, in the machine's number formats. Another evaluator: the one that its
            drops are against, on the same samples (before retraining).
        engine: how products on tiles are computed.
        shift: added to the drops of single samples: what more samples than these say of the drop that this network
            has without analog layers (`steadied`).
        digital: arithmetic of digital products; None: as in the file.
    """

    model: OnnxModel
    graph: LayerGraph
    hardware: Hardware
    task: Task
    seed: int = 0
    draws: int = 10
    t_s: float = 0.0
    output: str | None = None
    ranges: Mapping[str, Ranges] = field(default_factory=dict)
    copies: Copies = field(default_factory=Copies)
    calibration: Block | None = None
    frozen: bool = False
    progress: Progress = field(default=silent)
    running: Running = field(default_factory=Running)
    against: "Literal['as given', 'all digital'] | PlacementEvaluator" = "as given"
    shift: float = 0.0
    engine: AskedEngine = "auto"
    digital: DigitalArithmetic | None = None

    def on(self, hardware: Hardware | None = None, t_s: float | None = None, copies: Copies | None = None) -> Self:
        """The same evaluator on another machine, at another time or with other copies; what is None stays."""
        return replace(
            self,
            hardware=self.hardware if hardware is None else hardware,
            t_s=self.t_s if t_s is None else t_s,
            copies=self.copies if copies is None else copies,
        )

    @property
    def metric(self) -> Metric:
        """The task's metric."""
        return self.task.metric

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.task)

    @property
    def output_name(self) -> str:
        """The output that is scored."""
        return self.output or self.graph.outputs[0]

    @cached_property
    def context(self) -> WorkContext:
        """Work context that all units of work share."""
        return WorkContext(
            self.model,
            self.graph,
            self.hardware,
            self.ranges,
            self.metric,
            self.task.targets is not None and self.metric.needs_targets is not False,
            self.output_name,
            self.seed,
            self.copies,
            self.calibration,
            self.frozen,
            self.task.class_axis if self.metric.classes else None,
            self.task.layout,
            self.running.memory,
            self.engine,
            self.digital,
        )

    @property
    def example_output(self) -> Array:
        """The scored output of the digital network for the first few samples; not kept, since it may be large.

        Raises:
            DataError: it is not finite, or has no sample axis.
        """
        job = reference_job(self.context, outputs=True)
        return self.checked(job, min(_EXAMPLES, max(2, self.context.call_samples)))

    @cached_property
    def digital_output(self) -> Array:
        """The scored output of the digital network for all samples.

        Raises:
            DataError: it is not finite, or has no sample axis.
        """
        return self._gathered(reference_job(self.context, outputs=True), "digital network")[0]

    @property
    def reference(self) -> Array:
        """Reference of the scores: targets, or the digital output."""
        targets = self.task.targets if self.context.by_targets else None
        return self._compared.digital_output if targets is None else targets

    @cached_property
    def _digital_set(self) -> Array:
        """Digital network's output for a set metric, or its summary."""
        if self.metric.summary is None:
            return self.digital_output
        return self._gathered(reference_job(self.context), "digital network")[0]

    @property
    def _compared_set(self) -> Array:
        """The same of the network that drops are against, which is this one."""
        return self._digital_set if self.against == "as given" else self._base

    @property
    def _set_reference(self) -> Array:
        """Reference of a set metric; None where it compares as it summarises."""
        return self.reference if self.metric.summary is None else np.zeros((self.samples, 0))

    @property
    def _compared(self) -> "PlacementEvaluator":
        """The evaluator of the network that drops are against."""
        return self.against._compared if isinstance(self.against, PlacementEvaluator) else self

    @property
    def base_differs(self) -> bool:
        """Whether the network without analog layers is another one than drops are against."""
        return self._compared is not self or self.context.base_differs

    @cached_property
    def scores_sets(self) -> bool:
        """Whether the metric gives one number for a set of samples.

        Raises:
            DataError: it cannot score the first few samples, nor as many answers as it may take.
        """
        output = self.example_output
        try:
            return self._gives_one_number(output, np.arange(len(output)))
        except DataError as error:
            # They may be too few for a set: a rank takes three, an area under a curve both classes. So the same answers
            # are scored once more, repeated, against targets from all over the data: nothing is run for that.
            spread = np.linspace(0, self.samples - 1, min(self.samples, _SPREAD)).astype(np.int64)
            try:
                return self._gives_one_number(np.resize(output, (len(spread), *output.shape[1:])), spread)
            except DataError:
                raise error from None

    def _gives_one_number(self, output: Array, samples: Indices) -> bool:
        targets = self.task.targets if self.context.by_targets else None
        reference = output if targets is None else targets[samples]
        return np.ndim(checked_score(f"metric {self.metric.name!r}", self.metric.score, output, reference)) == 0

    @cached_property
    def digital_score(self) -> Scores | float:
        """Score of the digital network per sample, shape ``(samples,)``; one number with a set metric.

        It is that of the network that drops are against.

        Raises:
            DataError: it is not finite.
        """
        if self._compared is not self:
            return self._compared.digital_score
        score: Scores | float
        if self.scores_sets:
            score = self.metric.of_set(self._compared_set, self._set_reference)
        elif self.against == "as given":
            score = self._gathered(reference_job(self.context), "digital network")[0]
        else:
            score = self._base
        if not np.isfinite(score).all():
            raise DataError(f"{self.metric.name} of the digital network is NaN or infinite on these samples")
        return score

    @property
    def baseline(self) -> float:
        """Value of the digital network."""
        return float(np.mean(self.digital_score))

    def measure(
        self, placement: frozenset[str], draws: range, what: str = "measuring", t_s: float | None = None
    ) -> Measurement:
        """Scores of a placement on these chips.

        Args:
            t_s: time of inference; the evaluator's own by default.

        Raises:
            OutOfTimeError: the time that the user gave is over.
        """
        if not placement:
            return self._untiled(None, len(draws), what)
        digital, documents, exact = self._steadied_score, self.task.documents, not self.hardware.is_stochastic
        job = self.job(placement, draws[:1] if exact else draws, t_s)
        found = np.stack(self._gathered(job, what))
        if exact:  # all chips are alike
            found = np.repeat(found, len(draws), axis=0)
        if isinstance(digital, float):
            return SetScores(self.metric, found, self._compared._compared_set, self._set_reference, documents)
        return SampleScores(self.metric, found, digital, exact, documents, rounded=exact)

    def measure_precision(self, raised: frozenset[str], what: str) -> Measurement:
        """Scores without analog layers, with exactly these products in the machine's high precision.

        Raises:
            OutOfTimeError: the time that the user gave is over.
        """
        return self._untiled(raised, 1, what)

    def _untiled(self, raised: frozenset[str] | None, chips: int, what: str) -> Measurement:
        """Scores of the network without analog layers, the same on all chips; ``raised``: see `Job`."""
        digital, documents = self._steadied_score, self.task.documents
        if isinstance(digital, float) or self.base_differs:
            own = self._base if raised is None else self._gathered(self._base_job(raised), what)[0]
        else:
            own = digital
        repeated = np.repeat(own[None], chips, axis=0)
        if isinstance(digital, float):
            return SetScores(self.metric, repeated, self._compared._compared_set, self._set_reference, documents)
        of_another = self._compared is not self or raised is not None
        may_differ = of_another or self.context.base_may_answer_otherwise
        return SampleScores(self.metric, repeated, digital, True, documents, rounded=may_differ)

    @property
    def _steadied_score(self) -> Scores | float:
        """The digital score with the shift."""
        digital = self.digital_score
        if not self.shift or isinstance(digital, float):
            return digital
        return digital + (self.shift if self.metric.higher_is_better else -self.shift)

    @cached_property
    def _base(self) -> Array:
        """Scores of this network without analog layers; of a set metric its outputs, or what the summary keeps."""
        return self._gathered(self._base_job(None), "network without tiles")[0]

    def _base_job(self, raised: frozenset[str] | None) -> Job:
        outputs = self.scores_sets and self.metric.summary is None
        return Job(frozenset(), (0,), 0.0, outputs, raised=raised)

    def expect(self, certain: Wanted, perhaps: Wanted = ()) -> None:
        """See `Evaluator`."""
        count = self.running.workers.count
        if count == 1 or not self.hardware.is_stochastic or self.job(frozenset(), range(1), None).outputs:
            return

        def units(wanted: Wanted, most: int | None = None) -> list[WorkUnit]:
            jobs = [self.job(placement, draws[:most], None) for placement, draws in wanted if placement]
            if jobs and self._compared is self and "digital_score" not in vars(self):
                jobs.insert(0, reference_job(self.context))
            return [unit for job in jobs for unit in self._units(job, self._found(job)[1], always)]

        # Of what may be asked for, a chip keeps a worker busy.
        self.running.workers.expect(self.context, units(certain), units(perhaps, count))

    def units(self, placement: frozenset[str], draws: range, t_s: float | None = None) -> tuple[int, int]:
        """Number of units of work in a measurement (see `measure`), and how many of them the cache holds."""
        chips = draws if self.hardware.is_stochastic and placement else range(1)
        _, todo, total = self._found(self.job(placement, chips, t_s))
        return total, total - len(todo)

    def job(self, placement: frozenset[str], draws: range, t_s: float | None = None) -> Job:
        """Work on every block for a measurement; of a set metric it gives outputs where no summary scores samples."""
        outputs = self.scores_sets and self.metric.summary is None
        return Job(placement, tuple(draws), self.t_s if t_s is None else t_s, outputs)

    def _found(self, job: Job) -> "tuple[dict[tuple[int, int], Array], list[tuple[Job, int]], int]":
        """Results by draw and block that the cache holds, what is left to be done on which block, and units in all."""
        # Several processes share the chips.
        together = self.context.chips_together(job.placement) if self.running.workers.count == 1 else 1
        groups = job_groups(job.draws, together)
        places = list(self._places())
        results: dict[tuple[int, int], Array] = {}
        todo: list[tuple[Job, int]] = []
        units = [(group, number) for number in range(len(places)) for group in groups]
        if not self.context.keeps_chips(job.placement, len(job.draws)):
            units.sort()  # all blocks of one group of chips first, so that none is programmed twice
        for group, number in units:
            found = {draw: self.kept.get(job, draw, places[number]) for draw in group}
            results.update({(draw, number): array for draw, array in found.items() if array is not None})
            missing = tuple(draw for draw, array in found.items() if array is None)
            if missing:
                todo.append((replace(job, draws=missing), number))
        return results, todo, len(groups) * len(places)

    def _gathered(self, job: Job, what: str) -> list[Array]:
        """One array a chip, over all samples: kept ones, the others by the workers."""
        results, todo, total = self._found(job)
        places = list(self._places())
        done = total - len(todo)
        if todo:
            self.progress(what, 0, total)  # chips are programmed before the first unit is done
        units = self._units(job, todo, self.running.check_time)
        for index, arrays in self.running.workers.run(self.context, units):
            unit, number = todo[index]
            for draw, array in zip(unit.draws, arrays, strict=True):
                results[draw, number] = array
                self.kept.put(unit, draw, places[number], array)
            done += 1
            self.progress(what, done, total)
        return [np.concatenate([results[draw, number] for number in range(len(places))]) for draw in job.draws]

    def _units(self, job: Job, todo: Sequence[tuple[Job, int]], check: Callable[[], None]) -> Iterator[WorkUnit]:
        """Units of a job that are left to do."""
        places, keeps = list(self._places()), self.context.keeps_chips(job.placement, len(job.draws))
        for part, number in todo:
            yield self._unit(part, places[number], check)._replace(keeps_chips=keeps)

    def _unit(self, work: BlockWork, where: slice, check: Callable[[], None]) -> WorkUnit:
        return WorkUnit(work, self._named(where), partial(self.block, where), check=check)

    def unit(self, work: BlockWork, where: slice | None = None) -> WorkUnit:
        """Another work on these samples, or on none, done while there is time."""
        check = self.running.check_time
        return WorkUnit(work, None, _no_samples, check=check) if where is None else self._unit(work, where, check)

    def checked(self, work: BlockWork, samples: int) -> Array:
        """Result of a preflight check on the first samples; there is always time for it."""
        unit = self._unit(work, slice(0, min(samples, self.samples)), always)
        ((_, (found,)),) = self.running.workers.run(self.context, [unit])
        return found

    def _named(self, where: slice) -> tuple[int, str]:
        """Digest that tells samples from others."""
        return where.start, self.task.block_digest(where.start, where.stop)

    @cached_property
    def kept(self) -> ResultLookup:
        """The results of this evaluator in the cache."""
        return ResultLookup(self.running.cache, self.context, self.task)

    def _places(self) -> Iterator[slice]:
        """The samples in blocks."""
        size = self.context.block_samples
        for start in range(0, self.samples, size):
            yield slice(start, min(start + size, self.samples))

    def outputs(
        self, placement: frozenset[str], draws: range, what: str = "measuring", t_s: float | None = None
    ) -> Iterator[tuple[int, slice, list[Array]]]:
        """All outputs, call by call: ``(draw, samples, outputs in the model's order)``; in this process, not kept.

        Arguments as those of `measure`.
        """
        scorer = Scorer(self.context)
        time = self.t_s if t_s is None else t_s
        groups = job_groups(draws, self.context.chips_together(placement))
        calls, done = -(-self.samples // self.context.call_samples), 0
        for group in groups:
            for place in self._places():
                for index, where, outputs in scorer.run(Job(placement, group, time), self.block(place)):
                    yield group[index], slice(place.start + where.start, place.start + where.stop), outputs
                    done += 1
                    self.progress(what, done, calls * len(draws))

    def evaluate(
        self,
        placement: frozenset[str],
        relative: bool = False,
        what: str = "measuring",
        t_s: float | None = None,
        confidence: float = CONFIDENCE,
        chips: range | None = None,
    ) -> Evaluation:
        """Value and drop of a placement over programmings, paired with the digital network sample by sample.

        Arguments and errors as those of `measure` and of `lhc.measure.evaluation`; ``chips``: numbers of the
        programmings, the first ``draws`` ones by default.
        """
        measured = self.measure(placement, range(self.draws) if chips is None else chips, what, t_s)
        return evaluation(measured, self, relative, confidence, t_s)

    def blocks(self) -> Iterator[tuple[slice, Mapping[str, Array]]]:
        """Feeds of the calls with their positions; a fixed batch is filled up with the last sample."""
        for place in self._places():
            for where, feeds in self.block(place).calls(self.context.call_samples, self.context.batch is not None):
                yield slice(place.start + where.start, place.start + where.stop), feeds

    def block(self, where: slice) -> Block:
        """These samples, as the workers get them.

        Raises:
            DataError: they have changed since the cache was asked for them.
        """
        inputs, targets = self.task.read(where.start, where.stop)
        digest = self.task.block_digest(where.start, where.stop)
        return Block(where.start, where.stop - where.start, inputs, targets, digest, self.task.layout)


def _no_samples() -> Block:
    return Block(0, 0, {}, None, "")


def steadied(evaluator: PlacementEvaluator, more: PlacementEvaluator) -> PlacementEvaluator:
    """Evaluator of a search whose drop without analog layers is estimated from more samples (a control variate).

    Retrained, or in int8, a network answers differently without any analog layer. How many of a few hundred answers
    that makes worse is mostly chance, and the same for every placement: it would accept or refuse them all. So the mean
    of that part is taken from the samples of both; what analog layers add stays as it is on these.

    Args:
        more: other samples; of them only the network without tiles is looked at.

    Returns:
        The evaluator as it is where the network without tiles is the one as given, or the metric one of whole sets.
    """
    if not evaluator.base_differs or more.task.digest == evaluator.task.digest:
        return evaluator
    unlimited = [replace(one, running=one.running.unlimited()) for one in (evaluator, more)]
    own, other = (one.measure(frozenset(), range(1)) for one in unlimited)
    if not isinstance(own, SampleScores):
        return evaluator
    share = more.samples / (evaluator.samples + more.samples)
    return replace(evaluator, shift=share * float(other.drops[0] - own.drops[0]))


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
