"""States of the pipeline: a network on a machine, from reading it to the placement that is verified.

Every state has what the one before it has, and what its step found: `PreparedNetwork` (read and checked, layers
qualified), `BudgetedNetwork` (with the budget that placements are judged by), `SearchedNetwork`, `VerifiedNetwork`.
A step takes the state that has what it needs, and returns the one that has what it found.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Self, TypeVar

from lhc.graph import LayerGraph, columns_of
from lhc.measure import Budget, ColumnSplitEvaluator, PlacementEvaluator, PlacementJudge, Running, ranking_metric
from lhc.measure.evaluation_context import Block, calibration_block
from lhc.measure.multi_output_evaluator import MultiOutputEvaluator
from lhc.onnx_model import OnnxModel
from lhc.options.by_command import Calibrating, Measuring, RetrainOptions
from lhc.options.declaration.value_parsing import Engine
from lhc.passes import (
    DEFAULT_GOAL,
    Copies,
    Goal,
    PassResult,
    SearchOptions,
    Strategy,
    extra_copies,
    fills_tiles,
)
from lhc.pipeline.inputs.model_source import LoadedModel
from lhc.pipeline.steps.verify.fixed_sequence_test import Verified
from lhc.plan import HarmfulCalibration, LayerPlan, Outcome, Plan
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.plan.recurrent_steps import layers_among
from lhc.results import Front, Infeasibility, SensitivityTable, Verdict
from lhc.runtime.onnxruntime.batched_calls import calibration_count, padding_masks
from lhc.samples.metrics import METRICS, Array, Metric
from lhc.samples.splits import SPLIT_PARTS, Splits, split_task
from lhc.samples.task import Task
from lhc.support.number_formatting import counted

StateT = TypeVar("StateT", bound="PreparedNetwork")
BudgetedT = TypeVar("BudgetedT", bound="BudgetedNetwork")


READ = frozenset({"graph", "plan", "samples"})
"""What is known at the start of every pipeline."""
GRADIENT_SAMPLES, GRADIENT_CHIPS = 256, 4
"""Most that choices by gradients are made on: columns that are digital, layers that have adapters."""
KEPT = "within the budget together with the other analog layers"
"""Why a layer is analog that a search placed."""


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Placements that a strategy found, and what it judged them by.

    Attributes:
        result: the plan, and safer placements to step back to.
    """

    result: PassResult
    strategy: type[Strategy]
    judge: PlacementJudge
    options: SearchOptions


@dataclass(frozen=True)
class Verification:
    """A placement and how it did when it was verified.

    Attributes:
        plan: the placement that is kept: the best that was shown to hold the budget, else the one with the least drop.
        judged: what the search had judged by then.
        failed: what else was tested and not shown to hold, in that order.
        tested: all that was tested, the placement that is kept last.
        chips: numbers of the programmings that the placement was tested on.
    """

    plan: Plan
    verdict: Verdict
    notes: tuple[str, ...]
    judged: Mapping[frozenset[str], Verdict]
    failed: tuple[Verified, ...] = ()
    tested: tuple[Verified, ...] = ()
    chips: range = range(0)


@dataclass(frozen=True)
class FurtherOutput:
    """An output that is judged beside the first, against the digital network.

    Attributes:
        max_drop: its budget, in the unit of its metric.
        class_axis: as `Task.class_axis`.
    """

    name: str
    metric: Metric
    max_drop: float
    class_axis: int | None = None

    def task_of(self, task: Task) -> Task:
        """The same samples, judged by this output."""
        return replace(task, targets=None, metric=self.metric, class_axis=self.class_axis, finite=True)


@dataclass(frozen=True)
class ColumnSplit:
    """Layers that are split by their columns.

    Attributes:
        whole: the network before the split.
        joins: whether a placement may have the columns of a layer on tiles too, which is whole then.
    """

    whole: LoadedModel
    joins: bool = False


@dataclass(frozen=True, eq=False)
class PreparedNetwork:
    """A network read for a machine, with the samples that judge it.

    Attributes:
        running: workers, kept results and the clock.
        opened: source that the network was read from.
        plan: decisions so far; a step that decides replaces it.
        task: samples and metric that judge.
        notes: sentences for the user.
        engine_reason: why products on tiles are computed by that engine; None where it is the default one.
        metric_note: why it is judged by this metric, where the outputs alone say so.
        calibrating: samples that chips are calibrated on, apart from those that judge; some of the latter are set aside
            where these are not given.
        harmful: what showed that calibrating chips does harm, so that they are not; None where nothing did.
        original: the network before retraining, which drops are against; None where nothing was retrained.
        goal: objective of a placement apart from accuracy.
        group: the user's wishes of what moves together.
        fills: whether tiles that a placement leaves over hold further copies of weights.
        filled: tiles that are enough for the placement with further copies; None: as many as there are.
        split: layers that are split by their columns; None where none is.
        further: outputs that are judged beside the one that is scored.
    """

    options: Measuring
    running: Running
    opened: LoadedModel
    graph: LayerGraph
    plan: Plan
    task: Task
    t_s: float
    notes: tuple[str, ...] = ()
    engine_reason: str | None = None
    metric_note: str | None = None
    calibrating: Task | None = None
    harmful: HarmfulCalibration | None = None
    original: "PreparedNetwork | None" = None
    goal: Goal = DEFAULT_GOAL
    group: tuple[str, ...] = ()
    fills: bool = False
    filled: int | None = None
    split: ColumnSplit | None = None
    further: tuple[FurtherOutput, ...] = ()

    def advanced(self, kind: type[StateT], **found: object) -> StateT:
        """The state of a later step: everything that is known, and what the step found."""
        names = {one.name for one in fields(self)} & {one.name for one in fields(kind)}
        return kind(**{name: getattr(self, name) for name in names} | found)

    @property
    def model(self) -> OnnxModel:
        """The network."""
        return self.opened.model

    @property
    def judged_outputs(self) -> tuple[str, ...]:
        """The outputs that are judged."""
        return (self.options.scored or self.graph.outputs[0], *(one.name for one in self.further))

    @property
    def calibrates(self) -> bool:
        """Whether the outputs of chips are calibrated."""
        return self.plan.hardware.corrects_outputs

    @cached_property
    def splits(self) -> Splits:
        """The samples that rank and guide the search, those that verify, and those that calibrate."""
        sets_aside = self.calibrates and self.calibrating is None
        return split_task(self.task, self.calibration_samples if sets_aside else 0)

    @property
    def calibration_samples(self) -> int:
        """Most samples that chips are calibrated on."""
        return calibration_count(self.graph, self.plan.hardware.compensation)

    @cached_property
    def copies(self) -> Copies:
        """The copies of weights that every placement gets; once one is decided on, those that it was verified with."""
        if not self.fills or self.plan.outcome is not None:
            return Copies(self.plan.copies)
        found = extra_copies(self.graph, self.plan, self.goal)
        return found if self.filled is None else replace(found, tiles=self.filled)

    @property
    def spends_tiles(self) -> bool:
        """Whether it matters for copies what damage layers do."""
        return self.fills and fills_tiles(self.plan, self.goal)

    @cached_property
    def calibration(self) -> Block | None:
        """The samples that chips are calibrated on; None where the machine corrects nothing."""
        if not self.calibrates:
            return None
        given = self.splits.calibrate if self.calibrating is None else self.calibrating
        samples = None if given is None else given.head(self.calibration_samples)
        self._tell_calibration(0 if samples is None else len(samples))
        if samples is None:
            return None
        block = calibration_block(samples)
        for size in {mask.size for mask in block.inputs.values()}:
            masks = padding_masks(block.inputs, size)
            if len(masks) > 1:
                which = " and ".join(map(repr, masks))
                self.opened.warn(f"padding calibrates too: {which} are of one size, and nothing tells whose they are")
        return block

    def _tell_calibration(self, samples: int) -> None:
        """Warn once that chips are calibrated on less than half the samples that the machine asks for.

        How many there are is said beside every result.
        """
        wanted = self.plan.hardware.compensation.samples
        if 2 * samples >= wanted:
            return
        how = f"calibrated on {counted(samples, 'sample')}" if samples else "not calibrated"
        others = ", or others with --calibrate FILE" if isinstance(self.options, Calibrating) else ""
        why = f"Samples that judge chips cannot calibrate them too: give {SPLIT_PARTS * wanted:,} in all{others}"
        if samples == self.calibration_samples:
            why = "More do not fit in memory together"
        elif isinstance(self.options, RetrainOptions):
            why = (
                "A third of the samples that judge watches the training and calibrates chips. Give"
                f" {3 * wanted:,} that judge: as --data beside --train-data, or as a fifth of --data alone"
            )
        elif self.calibrating is not None:
            why = f"--calibrate holds no more: give it {wanted}"
        less = "fewer correct their outputs less exactly" if samples else "their outputs are not corrected"
        self.opened.warn(f"chips are {how}; the hardware asks for {wanted}, and {less}. {why}")

    @property
    def without_output_correction(self) -> Self:
        """The state with a machine that corrects no outputs, so that no sample is set aside for it."""
        machine = self.plan.hardware.without_output_correction
        return replace(self, plan=self.plan.model_copy(update={"hardware": machine}))

    @property
    def calibrated_on(self) -> int:
        """Number of samples that chips are calibrated on."""
        return 0 if self.calibration is None else self.calibration.samples

    @property
    def measurable(self) -> list[str]:
        """Layers that are free, or forced to be analog, in file order."""
        return [layer.name for layer in self.plan.layers if measurable(layer)]

    def layers_in(self, names: Iterable[str]) -> int:
        """Number of layers as tables count them: steps of a recurrent operator are one."""
        return len(layers_among(self.plan, names))

    def noted(self, *notes: str) -> Self:
        """The state with more sentences for the user."""
        return replace(self, notes=(*self.notes, *notes))

    def ranking_task(self, judged_by: Metric | None = None) -> Task:
        """All samples, judged by what layers are ranked by; ``judged_by``: what placements were judged by."""
        samples = self.splits.judged
        own = samples.metric if samples.metric.chosen else None
        return samples.with_metric(self.told_ranking_metric(samples, judged_by or own))

    def told_ranking_metric(self, samples: Task, judge: Metric | None) -> Metric:
        """`ranking_metric`; says so where labels might have shown classes and do not."""
        metric, labels = self.ranking_metric(samples, judge), samples.targets
        asked = judge is None or (judge.classes is None and labels is not None and labels.dtype.kind in "iu")
        if metric.name == "nmse" and labels is not None and judge is None and labels.dtype.kind == "f":
            self.opened.warn(
                "the labels are not used: they are numbers, which judge placements by --metric mse; layers are ranked"
                " by nmse against the digital network's answers"
            )
        elif metric.name == "nmse" and labels is not None and asked:
            output = self._output_by_class(samples)
            classes = f"classes 0 to {output.shape[-1] - 1}" if output.ndim > 1 else "classes"
            what = "the labels are not used: they" if judge is None else f"the labels, which {judge.name} reads,"
            self.opened.warn(
                f"{what} are no {classes} of the output; layers are ranked by nmse against"
                " the digital network's answers (by kl if --class-axis says which axis holds classes)"
            )
        return metric

    def ranking_metric(self, samples: Task, judge: Metric | None) -> Metric:
        """Metric that layers are ranked by, as the answers to some samples and their targets show it.

        Args:
            judge: as `lhc.measure.ranking_metric` has it; where it does not say what the output holds, an axis of
                classes that the user names does.
        """
        named = self.options.class_axis is not None and samples.class_axis is not None
        if named and (judge is None or judge.classes is None):
            judge = METRICS["kl"]
        return ranking_metric(judge, self._output_by_class(samples), samples.targets)

    def _output_by_class(self, samples: Task) -> Array:
        """The output for a few of the samples, with classes last where it is known on which axis they lie."""
        return self.evaluator(samples.with_metric(METRICS["kl"])).example_output

    def output_evaluators(self, samples: Task) -> tuple[PlacementEvaluator, ...]:
        """Evaluators of all judged outputs by their error, as a share of an output's energy, on some samples."""
        by_error = samples.with_metric(METRICS["nmse"])
        tasks = [replace(one.task_of(by_error), metric=by_error.metric, class_axis=None) for one in self.further]
        others = (self.of_output(one).evaluator(task) for one, task in zip(self.further, tasks, strict=True))
        return self.evaluator(by_error), *others

    def gradient_evaluator(self, samples: Task) -> PlacementEvaluator:
        """An evaluator of few samples and chips on which damage is predicted by gradients."""
        few = samples.head(GRADIENT_SAMPLES)
        evaluator = self.evaluator(few.with_metric(self.ranking_metric(few, None)))
        return replace(evaluator, draws=min(evaluator.draws, GRADIENT_CHIPS))

    def evaluator(self, task: Task, limited: bool = True) -> PlacementEvaluator:
        """An evaluator for some of the samples, or another metric; ``limited``: it ends when the user's time is over.

        After retraining, the metric that judges compares with the network as it was, without targets by its outputs;
        others, which rank layers, with the network as it is.
        """
        task = task.with_layout(self.task.layout).labelled_like(self.task)
        judges = task.metric.name == self.task.metric.name
        # What the network answered before it was trained is always known: a verdict rests on it.
        before = self.original.evaluator(task, limited=False) if self.original is not None and judges else None
        if before is not None and not before.context.by_targets:
            metric = replace(task.metric, needs_targets=True)
            task = replace(task, targets=before.digital_output, metric=metric, finite=True)
        return PlacementEvaluator(
            self.model,
            self.graph,
            self.plan.hardware,
            task,
            seed=self.options.seed,
            draws=self.options.draws,
            t_s=self.t_s,
            output=self.options.scored,
            ranges=self.plan.ranges,
            copies=self.copies,
            calibration=self.calibration,
            progress=self.options.progress,
            running=self.running if limited else self.running.unlimited(),
            against=before or ("as given" if judges else "all digital"),
            engine=self.options.engine,
            digital=self.plan.digital,
        )

    @property
    def engine(self) -> Engine:
        """Engine of the products on tiles; known once the network is read."""
        assert self.options.engine != "auto"
        return self.options.engine

    def of_output(self, one: "FurtherOutput") -> Self:
        """The same network judged by an output beside the first."""
        options = replace(self.options, output=(one.name,), class_axis=None)
        return replace(self, options=options, task=one.task_of(self.task), further=())

    def judging_evaluator(self, task: Task, limited: bool = True) -> PlacementEvaluator:
        """An evaluator for placements, each in the network that it is run in."""
        evaluator = self.evaluator(task, limited)
        if self.split is None or not self.split.joins:
            return evaluator
        whole, columns = self.split.whole, self.plan.digital_columns

        def form(placement: frozenset[str]) -> tuple[OnnxModel, LayerGraph]:
            parted = {name for name in columns if name in placement and columns_of(name) not in placement}
            opened = whole.split_by({name: columns[name] for name in parted})
            return opened.model, opened.graph(None, self.task)

        own = {one.name: getattr(evaluator, one.name) for one in fields(PlacementEvaluator)}
        model, graph = form(frozenset())
        return ColumnSplitEvaluator(**own | {"model": model, "graph": graph}, form=form)


@dataclass(frozen=True, eq=False, kw_only=True)
class BudgetedNetwork(PreparedNetwork):
    """A prepared network whose placements are judged by a budget.

    Attributes:
        budget: the drop that the user allows.
        follow: a plan whose placement is verified instead of searching one.
        earlier: a test by an earlier command, by the same budget, that the weights did not pass.
        ranking: the sensitivities that a search goes by; None where the strategy goes by none.
        late: the time was over before all layers were ranked, so that nothing is searched.
        precisions: arithmetic of the digital products that a search may take instead of the plan's.
    """

    budget: Budget
    follow: Plan | None = None
    earlier: Outcome | None = None
    ranking: SensitivityTable | None = None
    late: bool = False
    precisions: tuple[DigitalArithmetic, ...] = ()

    def judging_evaluator(self, task: Task, limited: bool = True) -> PlacementEvaluator:
        """An evaluator for placements; with further outputs it judges these beside the first."""
        if not self.further:
            return super().judging_evaluator(task, limited)
        evaluator = self.evaluator(task, limited)
        others = tuple(self.of_output(one).evaluator(one.task_of(task), limited) for one in self.further)
        baseline = self.evaluator(task, limited=False).baseline if self.budget.relative else 1.0
        allowed = self.budget.max_drop * abs(baseline)
        own = {one.name: getattr(evaluator, one.name) for one in fields(PlacementEvaluator)}
        return MultiOutputEvaluator(**own, others=others, scales=tuple(allowed / one.max_drop for one in self.further))


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainableNetwork(BudgetedNetwork):
    """A budgeted network with samples that train it, apart from those that judge."""

    training: Task


@dataclass(frozen=True, eq=False, kw_only=True)
class SearchedNetwork(BudgetedNetwork):
    """A budgeted network with the placements that a search found."""

    searched: SearchResult


@dataclass(frozen=True, eq=False, kw_only=True)
class VerifiedNetwork(SearchedNetwork):
    """A searched network with the placement that is kept, and its verification.

    Attributes:
        infeasibility: where the budget is not met, why, and what would help.
    """

    found: Verification
    infeasibility: Infeasibility | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordedNetwork(VerifiedNetwork):
    """A verified network whose plan holds the outcome."""

    @property
    def outcome(self) -> Outcome:
        """Outcome of the verification, as the plan has it."""
        assert self.plan.outcome is not None
        return self.plan.outcome

    def with_outcome(self, **fields: object) -> "RecordedNetwork":
        """The state with these fields of the outcome replaced."""
        outcome = self.outcome.model_copy(update=fields)
        return replace(self, plan=self.plan.model_copy(update={"outcome": outcome}))


@dataclass(frozen=True, eq=False, kw_only=True)
class RankedNetwork(PreparedNetwork):
    """A prepared network with the sensitivities of its layers."""

    ranking: SensitivityTable


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkWithFront(PreparedNetwork):
    """A prepared network with its trade-off of accuracy against the objective."""

    front: Front


def measurable(layer: LayerPlan) -> bool:
    """Free layers, and those that are to be analog whatever is found."""
    return layer.reason == "eligible" or (layer.reason in ("forced", "placed") and layer.placement == "analog")
