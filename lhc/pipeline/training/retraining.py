"""Train a network under the noise of the layers that are to be analog, and keep what is better."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lhc.canonical import canonical
from lhc.errors import MissingDependencyError, OutOfTimeError, UsageError
from lhc.measure import PlacementEvaluator, PlacementJudge
from lhc.onnx_io.read.zipmap_outputs import scored_tensor
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
from lhc.pipeline.inputs.model_source import LoadedModel
from lhc.pipeline.measurement_warnings import warn_of_gpu
from lhc.pipeline.pipeline_state import (
    BudgetedNetwork,
    PreparedNetwork,
    RecordedNetwork,
    SearchedNetwork,
    StateT,
    TrainableNetwork,
)
from lhc.pipeline.rewrites.choose_adapters import adapted, adapters_note
from lhc.pipeline.steps.range_calibration import calibrated
from lhc.pipeline.training.placement_to_train_for import (
    OPEN_REASONS,
    expected_left,
    falls_short,
    fits_as_given,
    misplaced,
    reached,
    set_apart,
    training_target,
    value_of,
    value_to_hold,
)
from lhc.pipeline.training.testing_order import FIRST, prospect, trained_first, worth_testing
from lhc.plan import Retrained
from lhc.plan.summary import summary
from lhc.results import Verdict
from lhc.samples.task import Array, Task
from lhc.samples.user_metric import score_digest
from lhc.support.number_formatting import counted, drop_text, drop_word
from lhc.support.version import VERSION

if TYPE_CHECKING:  # they load PyTorch
    from lhc.train.training_run import Rounds
    from lhc.train.training_setup import TrainingSetup

VALIDATION_SAMPLES = 500
VALIDATION_DRAWS = 3
_GIVEN_UNTESTED = (
    "trained weights kept: with the weights as given, no placement that is as good by the objective is predicted to"
    " come near the budget; they were not tested"
)
_TRAINED_UNTESTED = (
    "trained weights not kept: with them, no placement that is as good by the objective is predicted to come near the"
    " budget; they were not tested"
)
_TWICE = (
    "trained twice: with the weights trained for {} analog layers only {} were predicted to hold; the second was for {}"
)
_RECHOSEN = (
    "trained twice: after the first training other copies of weights do far less damage; the second was for these"
)


def training_setup_of(
    state: PreparedNetwork, samples: Task, settings: TrainingOptions, checkpoints: Path | None = None
) -> "TrainingSetup":
    """The training of a state's network.

    Args:
        state: the network as it was given.

    Raises:
        MissingDependencyError: PyTorch is not installed.
    """
    try:
        from lhc.train.training_setup import TrainingSetup
    except ImportError as error:
        raise MissingDependencyError(f"retraining needs PyTorch: {error}") from error
    warn_of_gpu(state.opened)

    def report(what: str, done: int, total: int) -> None:
        state.options.progress(what, done, total)
        state.running.check_time()

    machine, ranges = state.plan.hardware, state.plan.ranges
    output = scored_tensor(state.model, state.options.scored or state.graph.outputs[0])
    return TrainingSetup(
        state.model,
        state.graph,
        machine,
        ranges,
        state.t_s,
        samples.with_class_axis(state.task.class_axis).with_layout(state.task.layout).labelled_like(state.task),
        settings,
        report,
        output,
        checkpoints,
        state.plan.copies,
        state.ranking_metric(state.task, state.task.metric).name != "nmse",
    )


def check_training(
    state: PreparedNetwork,
    samples: Task,
    settings: TrainingOptions,
    analog: frozenset[str],
    checkpoints: Path | None = None,
) -> None:
    """See that the network can be trained, or raise an `LhcError`: before hours of measuring, and not behind them."""
    # Where a share of the weights is for adapters, which layers have one is found once they are trained.
    start = adapted(state, analog, replace(settings, adapters=settings.adapter_rank), samples)
    training_setup_of(start, samples, settings, checkpoints).check()


def retrained(state: StateT, setup: "TrainingSetup", weights: Mapping[str, Array]) -> StateT:
    """The state with trained weights; its drops are against the network as it was given.

    Static input ranges of layers that were trained as analog ones are the trained ones, others are calibrated anew.
    Sensitivities were those of the weights before, and go.

    Raises:
        ModelError: the weights cannot be written into the model.
    """
    # Trained weights are those of products: but for transposed convolutions, the network is written as these.
    model = canonical(replace(state.model, proto=setup.written(weights), file=None), control=state.opened.control)
    opened = LoadedModel(model, state.opened.entry, before=state.opened)
    graph = opened.graph(None, state.task)
    ranges = setup.trained_ranges(weights)
    origins = {layer.name: layer.origin for layer in graph.layers}
    rows = tuple(row.retrained(origins.get(row.name), ranges.get(row.name)) for row in state.plan.layers)
    # Ranges of ADCs and signs are in units of input ranges and weights, which the training changes.
    anew = {"hardware": state.plan.hardware.with_open_ranges, "agreement": None, "digital": None}
    plan = state.plan.model_copy(update={"source": model.source, "layers": rows, **anew})
    after = replace(state, opened=opened, graph=graph, plan=plan, original=state)
    found = calibrated(after, sorted(plan.analog.union(state.measurable)))
    digital = found.plan.digital
    if digital is not None and state.plan.raised:
        found = replace(found, plan=found.plan.model_copy(update={"digital": digital.with_raised(state.plan.raised)}))
    return found


def validation_evaluator(state: PreparedNetwork, samples: Task) -> PlacementEvaluator:
    """Evaluator that validates a training: a few chips and the first of these samples."""
    return replace(state.evaluator(samples.head(VALIDATION_SAMPLES)), draws=VALIDATION_DRAWS)


def train_once(
    state: StateT, setup: "TrainingSetup", analog: frozenset[str], validation: Task
) -> tuple[StateT, Retrained]:
    """Train for one placement.

    Args:
        state: the network as it was given.
        validation: samples on which the course of the training is watched.

    Returns:
        The state with the new weights, and how they came about.

    Raises:
        OutOfTimeError: the time that the user gave was over before.
    """
    from lhc.train.noisy_network import WRITTEN_PARITY
    from lhc.train.training_run import fit

    if setup.settings.time is not None:
        setup = setup.timed(analog)
        state.opened.warn(f"--time: {counted(setup.steps, 'step')} fit; --steps {setup.steps} repeats this training")
    setup = setup.with_rate(analog)

    def drop(weights: Mapping[str, Array]) -> float:
        evaluator = validation_evaluator(retrained(state, setup, weights), validation)
        found = float(evaluator.measure(analog, range(evaluator.draws), "validating").drops.mean())
        state.running.workers.forget()
        return found

    steps, metric = setup.steps, state.task.metric
    judged = {"name": metric.name, "code": score_digest(metric.score)}
    checkpoint = setup.checkpoint(analog, validation=validation.head(VALIDATION_SAMPLES).digest, metric=judged)

    def shown(value: float) -> str:
        return f"{drop_word(metric.higher_is_better)} {drop_text(value, metric.percent, 'absolute')}"

    state.running.workers.forget()  # sessions and chips that judge are large beside a training step
    fitted = fit(setup.trainer(steps), analog, setup.settings, steps, drop, checkpoint, setup.report, shown)
    after = retrained(state, setup, fitted.weights)
    written = replace(setup, model=after.model, graph=after.graph, ranges=after.plan.ranges)
    written.network(WRITTEN_PARITY)  # checks it
    return after, setup.record(analog, fitted.step, fitted.curve)


def trained_for(
    state: StateT,
    samples: Task,
    settings: TrainingOptions,
    checkpoints: Path | None,
    analog: frozenset[str],
    validation: Task,
) -> tuple[StateT, Retrained]:
    """Train the weights, or adapters beside the analog layers, for one placement; arguments as above.

    Raises:
        OutOfTimeError: the time that the user gave was over before.
        UsageError, ModelError: these adapters cannot be had.
    """
    start = adapted(state, analog, settings, samples)
    trained, record = train_once(start, training_setup_of(start, samples, settings, checkpoints), analog, validation)
    if settings.adapters is None:
        return trained, record
    record = record.model_copy(update={"source": state.model.source})
    return trained.noted(adapters_note(trained, record)), record


@dataclass(frozen=True, eq=False)
class _PresentWeights:
    """Judges placements with the present weights of a walk, on the samples that rank.

    Attributes:
        state: the network as it was given.
        rounds: hold the weights, and the curve on which every drop is noted.
    """

    state: BudgetedNetwork
    setup: "TrainingSetup"
    rounds: "Rounds"

    @property
    def baseline(self) -> float:
        """Score of the digital network before any training, larger is better."""
        return self._sign * self.state.evaluator(self.state.splits.rank).baseline

    @property
    def _sign(self) -> int:
        return 1 if self.state.task.metric.higher_is_better else -1

    def score(self, placement: frozenset[str]) -> float:
        """Mean score on chips of the run, each programmed anew; larger is better."""
        evaluator = self._evaluator()
        what = f"scoring {counted(self.state.layers_in(placement), 'analog layer')}"
        measured = evaluator.measure(placement, range(evaluator.draws), what)
        self.rounds.note(float(measured.drops.mean()))
        return self._sign * float(measured.values.mean())

    def within(self, placement: frozenset[str]) -> Verdict:
        """Judge against the budget."""
        verdict = PlacementJudge(self._evaluator(), self.state.budget, layers_in=self.state.layers_in).within(placement)
        found = verdict.evaluation
        self.rounds.note(found.drop * (abs(found.baseline) if self.state.budget.relative else 1))
        return verdict

    def _evaluator(self) -> PlacementEvaluator:
        return retrained(self.state, self.setup, self.rounds.weights).evaluator(self.state.splits.rank)


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
    prepare: Pipeline[BudgetedNetwork, BudgetedNetwork]
    search: Callable[[type[Strategy]], Pipeline[BudgetedNetwork, SearchedNetwork]]
    test: Callable[[float], Pipeline[SearchedNetwork, RecordedNetwork]]
    name: ClassVar[str] = "train"
    requires: ClassVar[frozenset[str]] = frozenset({"parity", "ranges", "samples", "training samples"})
    ensures: ClassVar[frozenset[str]] = frozenset({"placement", "verified", "outcome"})

    def __post_init__(self) -> None:
        if self.settings.time is not None and self.strategy in RETRAINING_STRATEGIES:
            raise UsageError(
                f"--time: --strategy {self.strategy} trains for layer after layer; give --steps of a round"
            )
        if self.settings.adapters is not None and self.strategy in RETRAINING_STRATEGIES:
            raise UsageError(
                f"--adapters: --strategy {self.strategy} trains weights layer after layer; take sensitivity or milp"
            )

    def apply(self, state: TrainableNetwork) -> RecordedNetwork:
        """The network with the better placement, with a sentence on the other."""
        check_training(state, state.training, self.settings, frozenset(state.measurable), self.checkpoint)
        given = self.search(STRATEGIES[untrained(self.strategy)]).apply(state)
        before: RecordedNetwork | None = None
        # Else it is tested only where trained weights may do no better: chips are most of what a command costs.
        if state.running.bounded or fits_as_given(given):
            before = self.test(FIRST).apply(given)
            if _leaves_nothing(before):
                pays = " and that pays" if any(row.reason == "cost" for row in before.plan.layers) else ""
                return _told(
                    before,
                    state.training,
                    f"not trained: every layer that can be{pays} is analog within the budget already",
                )
        try:
            trained, record = self._trained(state, given)
        except OutOfTimeError:
            return _told(
                before or self.test(1.0).apply(given),
                state.training,
                "not trained to the end: the time of --timeout was over before; this is the result without it",
            )
        expected, hoped = prospect(given), prospect(trained)
        if before is None and trained_first(expected, hoped):
            after = self._after(trained, record, FIRST)
            if not worth_testing(expected, _shown(after)):
                return _told(after, state.training, _GIVEN_UNTESTED)
            return _better(self.test(1 - FIRST).apply(given), after, state.training)
        before = before or self.test(FIRST).apply(given)
        if not worth_testing(hoped, _shown(before)):
            return _told(before, state.training, _TRAINED_UNTESTED)
        return _better(before, self._after(trained, record, 1 - FIRST), state.training)

    def _after(self, trained: SearchedNetwork, record: Retrained, share: float) -> RecordedNetwork:
        """The test of trained weights, with that part of the chance of error."""
        return self.test(share).apply(trained).with_outcome(retrained=record)

    def _trained(self, state: TrainableNetwork, given: SearchedNetwork) -> tuple[SearchedNetwork, Retrained]:
        """The network with trained weights, searched, and how they came about."""
        if self.strategy in RETRAINING_STRATEGIES:
            setup = training_setup_of(state, state.training, self.settings, self.checkpoint)
            found, trained, record = self._walked(state, setup)
            return self._searched(already_walked(found, self.strategy), trained, record), record
        target = training_target(given, expected_left(self.settings, len(state.training)))
        copies = given.copies.of(target)
        first, record = self._once(state, target, copies)
        settled = min(first, given, key=value_to_hold)
        if falls_short(settled, target):
            wanted, source = reached(settled), settled
            note = _TWICE.format(len(target), len(reached(first)), len(wanted))
        elif misplaced(first, target, copies):
            wanted, source, note = target, first, _RECHOSEN
        else:
            return first, record
        second, again = self._once(state, wanted, source.copies.of(wanted))
        if value_to_hold(second) < value_to_hold(first):
            return second.noted(note), again
        return first, record

    def _once(
        self, state: TrainableNetwork, target: frozenset[str], copies: Mapping[str, int]
    ) -> tuple[SearchedNetwork, Retrained]:
        """The network trained for a placement with these copies, and searched with copies chosen anew."""
        training = state.training, self.settings, self.checkpoint
        held = replace(state, plan=state.plan.with_copies(state.graph, copies), fills=False)
        trained, record = trained_for(held, *training, target, state.splits.rank)
        trained = replace(trained, fills=state.fills)
        searched = self._searched(STRATEGIES[self.strategy], trained, record)
        return searched.noted(*trained.notes[len(state.notes) :]), record

    def _searched(self, strategy: type[Strategy], trained: BudgetedNetwork, record: Retrained) -> SearchedNetwork:
        return self.search(strategy).apply(self._again(trained, record))

    def _walked(
        self, state: TrainableNetwork, setup: "TrainingSetup"
    ) -> tuple[PassResult, TrainableNetwork, Retrained]:
        """Walk over the layers, training for each."""
        from lhc.train.training_run import Rounds

        setup = replace(setup, settings=walk_settings(self.strategy, self.settings))
        rounds = Rounds(setup)
        judge, budget, patience = _PresentWeights(state, setup, rounds), state.budget, self.settings.patience or 1
        walk: LionHeartOriginal | LionHeartRetrained
        if self.strategy == LionHeartOriginal.name:
            threshold = budget.max_drop * abs(judge.baseline) if budget.relative else budget.max_drop
            walk = LionHeartOriginal(rounds, judge, patience, threshold, self.rounds)
        else:
            walk = LionHeartRetrained(rounds, judge, patience, rounds_of(self.strategy, patience, self.rounds))
        found = walk.run(state.graph, state.plan)
        trained = retrained(state, setup, rounds.weights)
        return found, trained, setup.record(found.plan.analog, rounds.steps, rounds.curve)

    def _again(self, trained: BudgetedNetwork, record: Retrained) -> BudgetedNetwork:
        """The trained network prepared as a new one, with the ranges that were trained."""
        known = trained.plan.ranges
        ranges = {name: known[name] for name in record.layers if name in known}
        plan = initial_plan(trained.graph, trained.plan.hardware, trained.model.source, VERSION)
        return self.prepare.apply(replace(trained, plan=plan.with_ranges(ranges), notes=()))


def _leaves_nothing(state: RecordedNetwork) -> bool:
    return state.outcome.within_budget and not any(
        row.reason in OPEN_REASONS for row in state.plan.layers if row.placement == "digital"
    )


def _shown(state: RecordedNetwork) -> float | None:
    """Value of a placement that was shown to hold the budget; None where none was."""
    return value_of(state, state.plan.analog) if state.outcome.within_budget else None


def _told(state: RecordedNetwork, training: Task, what: str) -> RecordedNetwork:
    """The network with what became of the training, and what it left to decide by."""
    return state.with_outcome(training_note=f"{what}{set_apart(state, training)}")


def _better(before: RecordedNetwork, after: RecordedNetwork, training: Task) -> RecordedNetwork:
    """The better result, with a sentence on the other."""

    def rank(state: RecordedNetwork) -> tuple[bool, float, float]:
        outcome = state.outcome
        bound = outcome.drop if outcome.interval is None else outcome.interval[1]
        value = objective_value(state.graph, state.plan, outcome.objective, state.plan.analog)
        return outcome.within_budget, -value if outcome.within_budget else 0.0, -bound

    trained = rank(after) > rank(before)
    kept, other = (after, before) if trained else (before, after)
    which = ("before training", "after training")
    beside = summary(other.plan, other.graph)
    word = "kept" if trained else "not kept"
    told = f"trained weights {word}: {which[trained]} the result is better; {which[not trained]} it is {beside}"
    return _told(kept, training, told)
