"""Train a network under the noise of the layers that are to be analog, and keep what is better."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lhc.canonical import canonical
from lhc.errors import MissingDependencyError, OutOfTimeError, UsageError
from lhc.measure import PlacementEvaluator, PlacementJudge
from lhc.onnx_io.rewrites.zipmap_outputs import scored_tensor
from lhc.options.shared import Data
from lhc.options.training import TrainingOptions
from lhc.passes import STRATEGIES, PassResult, Pipeline, Strategy, initial_plan, objective_value
from lhc.passes.strategies.lionheart_retraining import (
    RETRAINING_STRATEGIES,
    LionHeartOriginal,
    LionHeartRetrained,
    already_walked,
    rounds_of,
    untrained,
    walk_settings,
)
from lhc.pipeline.inputs.model_source import Opened
from lhc.pipeline.measurement_warnings import warn_of_gpu
from lhc.pipeline.pipeline_state import Study
from lhc.pipeline.rewrites.low_rank_adapters import adapted, adapters_note
from lhc.pipeline.steps.range_calibration import calibrated
from lhc.pipeline.training.training_target import (
    falls_short,
    fits_as_given,
    promise,
    reached,
    set_apart,
    training_target,
    value_of,
)
from lhc.plan import Retrained
from lhc.results import Verdict
from lhc.samples.metrics import UNCHOSEN
from lhc.samples.task import Array, DataSource, Task
from lhc.samples.train_test_separation import check_separation, split_off
from lhc.summary import summary
from lhc.support.number_formatting import counted, drop_text, drop_word
from lhc.support.version import VERSION

if TYPE_CHECKING:  # they load PyTorch
    from lhc.train.training_plan import TrainingPlan
    from lhc.train.walk_training import Rounds

__all__ = [
    "BEFORE",
    "VALIDATION_SAMPLES",
    "Train",
    "retrained",
    "train_once",
    "trained_for",
    "training_plan_of",
    "training_split",
    "validation_evaluator",
]

TRAINING_PARTS, PARTS = 3, 5
"""Where there is one set of samples, three fifths train; the others rank and verify."""
BEFORE = 0.2
"""Part of the chance of error for the weights as they are; the rest is for the trained ones, which promise more."""
VALIDATION_SAMPLES = 500
VALIDATION_DRAWS = 3
_UNTESTED = (
    "trained weights kept: without training {} predicted to hold the budget, which is less by the objective, so the"
    " weights as given were not tested; more may hold without training (the command without --retrain tests that)"
)
_TWICE = (
    "trained twice: with the weights trained for {} analog layers only {} were predicted to hold; the second was for {}"
)


def training_split(opened: Opened, options: Data, train_data: DataSource | None) -> tuple[Task, Task]:
    """Samples that train, and samples that judge.

    Args:
        options: samples and metric that judge; without ``train_data``, three fifths of them train.
    """
    task = opened.judging(options)
    if train_data is None:
        return split_off(task, TRAINING_PARTS, PARTS)
    training = opened.task(train_data, UNCHOSEN, None, options)
    check_separation(training, task)
    return training, task


def training_plan_of(
    study: Study, samples: Task, settings: TrainingOptions, checkpoints: Path | None = None
) -> "TrainingPlan":
    """The training of a study's network.

    Args:
        study: the network as it was given.

    Raises:
        MissingDependencyError: PyTorch is not installed.
    """
    try:
        from lhc.train.training_plan import TrainingPlan
    except ImportError as error:
        raise MissingDependencyError(f"retraining needs PyTorch: {error}") from error
    warn_of_gpu(study.opened)

    def report(what: str, done: int, total: int) -> None:
        study.options.progress(what, done, total)
        study.running.check_time()

    machine, ranges = study.plan.hardware, study.plan.ranges
    output = scored_tensor(study.model, study.options.scored or study.graph.outputs[0])
    return TrainingPlan(
        study.model,
        study.graph,
        machine,
        ranges,
        study.t_s,
        samples.with_class_axis(study.task.class_axis).with_layout(study.task.layout).labelled_like(study.task),
        settings,
        report,
        output,
        checkpoints,
        study.plan.copies,
    )


def check_training(study: Study, samples: Task, settings: TrainingOptions, analog: frozenset[str]) -> None:
    """See that the network can be trained, or raise an `LhcError`: before hours of measuring, and not behind them."""
    # Where a share of the weights is for adapters, which layers have one is found once they are trained.
    start = adapted(study, analog, replace(settings, adapters=settings.adapter_rank), samples)
    training_plan_of(start, samples, settings).check()


def retrained(study: Study, course: "TrainingPlan", weights: Mapping[str, Array]) -> Study:
    """The study with trained weights; its drops are against the network as it was given.

    Static input ranges of layers that were trained as analog ones are the trained ones, others are calibrated anew.
    Sensitivities were those of the weights before, and go.

    Raises:
        ModelError: the weights cannot be written into the model.
    """
    # Trained weights are those of products: but for transposed convolutions, the network is written as these.
    model = canonical(replace(study.model, proto=course.written(weights), file=None), control=study.opened.control)
    opened = Opened(model, study.opened.entry, before=study.opened)
    graph = opened.graph(None, study.task)
    ranges = course.trained_ranges(weights)
    origins = {layer.name: layer.origin for layer in graph.layers}
    rows = tuple(row.retrained(origins.get(row.name), ranges.get(row.name)) for row in study.plan.layers)
    plan = study.plan.model_copy(update={"source": model.source, "layers": rows, "agreement": None})
    after = replace(study, opened=opened, graph=graph, plan=plan, original=study)
    return calibrated(after, sorted(plan.analog.union(study.measurable)))


def validation_evaluator(study: Study, samples: Task) -> PlacementEvaluator:
    """Evaluator that validates a training: a few chips and the first of these samples."""
    return replace(study.evaluator(samples.head(VALIDATION_SAMPLES)), draws=VALIDATION_DRAWS)


def train_once(
    study: Study, course: "TrainingPlan", analog: frozenset[str], validation: Task
) -> tuple[Study, Retrained]:
    """Train for one placement.

    Args:
        study: the network as it was given.
        validation: samples on which the course of the training is watched.

    Returns:
        The study with the new weights, and how they came about.

    Raises:
        OutOfTimeError: the time that the user gave was over before.
    """
    from lhc.train.trained_network import WRITTEN_PARITY
    from lhc.train.training_run import fit

    course = course.with_rate(analog)

    def drop(weights: Mapping[str, Array]) -> float:
        evaluator = validation_evaluator(retrained(study, course, weights), validation)
        found = float(evaluator.measure(analog, range(evaluator.draws), "validating").drops.mean())
        study.running.workers.forget()
        return found

    checkpoint = course.checkpoint(analog, validation=validation.head(VALIDATION_SAMPLES).digest)
    steps, metric = course.steps, study.task.metric

    def shown(value: float) -> str:
        return f"{drop_word(metric.higher_is_better)} {drop_text(value, metric.percent, 'absolute')}"

    study.running.workers.forget()  # sessions and chips that judge are large beside a training step
    fitted = fit(course.trainer(steps), analog, course.settings, steps, drop, checkpoint, course.report, shown)
    after = retrained(study, course, fitted.weights)
    written = replace(course, model=after.model, graph=after.graph, ranges=after.plan.ranges)
    written.network(WRITTEN_PARITY)  # checks it
    return after, course.record(analog, fitted.step, fitted.curve)


def trained_for(
    study: Study,
    samples: Task,
    settings: TrainingOptions,
    checkpoints: Path | None,
    analog: frozenset[str],
    validation: Task,
) -> tuple[Study, Retrained]:
    """Train the weights, or adapters beside the analog layers, for one placement; arguments as above.

    Raises:
        OutOfTimeError: the time that the user gave was over before.
        UsageError, ModelError: these adapters cannot be had.
    """
    start = adapted(study, analog, settings, samples)
    trained, record = train_once(start, training_plan_of(start, samples, settings, checkpoints), analog, validation)
    if settings.adapters is None:
        return trained, record
    record = record.model_copy(update={"source": study.model.source})
    return trained.noted(adapters_note(trained, record)), record


@dataclass(frozen=True, eq=False)
class _PresentWeights:
    """Judges placements with the present weights of a walk, on the samples that rank.

    Attributes:
        study: the network as it was given.
        rounds: hold the weights, and the curve on which every drop is noted.
    """

    study: Study
    course: "TrainingPlan"
    rounds: "Rounds"

    @property
    def baseline(self) -> float:
        """Score of the digital network before any training, larger is better."""
        return self._sign * self.study.evaluator(self.study.splits.rank).baseline

    @property
    def _sign(self) -> int:
        return 1 if self.study.task.metric.higher_is_better else -1

    def score(self, placement: frozenset[str]) -> float:
        """Mean score on chips of the run, each programmed anew; larger is better."""
        evaluator = self._evaluator()
        what = f"scoring {counted(self.study.layers_in(placement), 'analog layer')}"
        measured = evaluator.measure(placement, range(evaluator.draws), what)
        self.rounds.note(float(measured.drops.mean()))
        return self._sign * float(measured.values.mean())

    def within(self, placement: frozenset[str]) -> Verdict:
        """Judge against the budget."""
        verdict = PlacementJudge(self._evaluator(), self.study.allowed, layers_in=self.study.layers_in).within(
            placement
        )
        found = verdict.evaluation
        self.rounds.note(found.drop * (abs(found.baseline) if self.study.allowed.relative else 1))
        return verdict

    def _evaluator(self) -> PlacementEvaluator:
        return retrained(self.study, self.course, self.rounds.weights).evaluator(self.study.splits.rank)


@dataclass(frozen=True)
class Train:
    """Search a placement, train the network for what it may reach, search again, and test; keep the better of both.

    Attributes:
        strategy: name of the one that searches; those in `RETRAINING_STRATEGIES` train for every layer that they try.
        rounds: most rounds of training a layer, for these.
        checkpoint: folder for states of the training; states found there are gone on with.
        prepare: what comes before a placement is searched.
        search: makes the pipeline that ranks and searches.
        test: makes the one that tests and records, with its part of the chance of error.
    """

    settings: TrainingOptions
    strategy: str
    rounds: int | None
    checkpoint: Path | None
    prepare: Pipeline[Study]
    search: Callable[[type[Strategy]], Pipeline[Study]]
    test: Callable[[float], Pipeline[Study]]
    name: ClassVar[str] = "train"
    requires: ClassVar[frozenset[str]] = frozenset({"parity", "ranges", "samples", "training samples"})
    ensures: ClassVar[frozenset[str]] = frozenset({"placement", "verified", "outcome"})

    def __post_init__(self) -> None:
        if self.settings.adapters is not None and self.strategy in RETRAINING_STRATEGIES:
            raise UsageError(
                f"--adapters: --strategy {self.strategy} trains weights layer after layer; take sensitivity or milp"
            )

    def apply(self, study: Study) -> Study:
        """The study of the better placement, with a sentence on the other."""
        assert study.training is not None
        check_training(study, study.training, self.settings, frozenset(study.measurable))
        given = self.search(STRATEGIES[untrained(self.strategy)]).apply(study)
        before: Study | None = None
        # Else it is tested only where the trained weights do no better: chips are most of what a command costs.
        if study.running.bounded or fits_as_given(given):
            before = self.test(BEFORE).apply(given)
            if _leaves_nothing(before):
                pays = " and that pays" if any(row.reason == "cost" for row in before.plan.layers) else ""
                return _told(before, f"not trained: every layer that can be{pays} is analog within the budget already")
        try:
            trained, record = self._trained(study, given)
        except OutOfTimeError:
            return _told(
                before or self.test(BEFORE).apply(given),
                "not trained to the end: the time of --timeout was over before; this is the result without it",
            )
        after = _with_outcome(self.test(1 - BEFORE).apply(trained), retrained=record)
        if before is None:
            assert after.plan.outcome is not None
            if after.plan.outcome.within_budget and value_of(after, after.plan.analog) < promise(given):
                number = given.layers_in(reached(given))
                layers = f"{counted(number, 'analog layer')} {'was' if number == 1 else 'were'}"
                return _told(after, _UNTESTED.format(layers))
            before = self.test(BEFORE).apply(given)
        return _better(before, after)

    def _trained(self, study: Study, given: Study) -> tuple[Study, Retrained]:
        """The network with trained weights, searched, and how they came about."""
        assert study.training is not None
        if self.strategy in RETRAINING_STRATEGIES:
            course = training_plan_of(study, study.training, self.settings, self.checkpoint)
            found, trained, record = self._walked(study, course)
            return self._searched(already_walked(found, self.strategy), trained, record), record
        target = training_target(given)
        first, record = self._once(study, target)
        settled = min(first, given, key=promise)
        if not falls_short(settled, target):
            return first, record
        second, again = self._once(study, reached(settled))
        if promise(second) < promise(first):
            return second.noted(_TWICE.format(len(target), len(reached(first)), len(reached(settled)))), again
        return first, record

    def _once(self, study: Study, target: frozenset[str]) -> tuple[Study, Retrained]:
        """The network trained for a placement, and searched."""
        assert study.training is not None
        training = study.training, self.settings, self.checkpoint
        trained, record = trained_for(study, *training, target, study.splits.rank)
        searched = self._searched(STRATEGIES[self.strategy], trained, record)
        return searched.noted(*trained.notes[len(study.notes) :]), record

    def _searched(self, strategy: type[Strategy], trained: Study, record: Retrained) -> Study:
        return self.search(strategy).apply(self._again(trained, record))

    def _walked(self, study: Study, course: "TrainingPlan") -> tuple[PassResult, Study, Retrained]:
        """Walk over the layers, training for each."""
        from lhc.train.walk_training import Rounds

        course = replace(course, settings=walk_settings(self.strategy, self.settings))
        rounds = Rounds(course)
        judge, budget, patience = _PresentWeights(study, course, rounds), study.allowed, self.settings.patience or 1
        walk: LionHeartOriginal | LionHeartRetrained
        if self.strategy == LionHeartOriginal.name:
            threshold = budget.max_drop * abs(judge.baseline) if budget.relative else budget.max_drop
            walk = LionHeartOriginal(rounds, judge, patience, threshold, self.rounds)
        else:
            walk = LionHeartRetrained(rounds, judge, patience, rounds_of(self.strategy, patience, self.rounds))
        found = walk.run(study.graph, study.plan)
        trained = retrained(study, course, rounds.weights)
        return found, trained, course.record(found.plan.analog, rounds.steps, rounds.curve)

    def _again(self, trained: Study, record: Retrained) -> Study:
        """The trained network prepared as a new one, with the ranges that were trained."""
        ranges = {name: trained.plan.ranges[name] for name in record.layers if name in trained.plan.ranges}
        plan = initial_plan(trained.graph, trained.plan.hardware, trained.model.source, VERSION)
        return self.prepare.apply(replace(trained, plan=plan.with_ranges(ranges), notes=()))


def _leaves_nothing(study: Study) -> bool:
    outcome = study.plan.outcome
    held = outcome is not None and outcome.within_budget
    return held and not any(
        row.reason in ("sensitivity", "strategy", "budget") for row in study.plan.layers if row.placement == "digital"
    )


def _with_outcome(study: Study, **fields: object) -> Study:
    """The study with these fields of its plan's outcome replaced."""
    assert study.plan.outcome is not None
    outcome = study.plan.outcome.model_copy(update=fields)
    return replace(study, plan=study.plan.model_copy(update={"outcome": outcome}))


def _told(study: Study, what: str) -> Study:
    """The study with what became of the training, and what it left to decide by."""
    return _with_outcome(study, training_note=f"{what}{set_apart(study)}")


def _better(before: Study, after: Study) -> Study:
    """The better result, with a sentence on the other."""

    def rank(study: Study) -> tuple[bool, float, float]:
        outcome = study.plan.outcome
        assert outcome is not None
        bound = outcome.drop if outcome.interval is None else outcome.interval[1]
        value = objective_value(study.graph, study.plan, outcome.objective, study.plan.analog)
        return outcome.within_budget, -value if outcome.within_budget else 0.0, -bound

    trained = rank(after) > rank(before)
    kept, other = (after, before) if trained else (before, after)
    which = ("before training", "after training")
    beside = summary(other.plan, other.graph)
    word = "kept" if trained else "not kept"
    return _told(
        kept, f"trained weights {word}: {which[trained]} the result is better; {which[not trained]} it is {beside}"
    )
