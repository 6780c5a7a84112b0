"""Retraining a placed model by the API and the command line, on the digits of the package."""

import json
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

import lhc
from lhc.cli.app import app
from lhc.commands.partition import begin, pipeline
from lhc.commands.retrain import placed
from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.measure import Budget, Running
from lhc.model import without_annotations
from lhc.models import zoo_entry
from lhc.onnx_io import load_model, read_plan
from lhc.options.commands import PartitionOptions, RetrainOptions, RunOptions
from lhc.options.subjects import Progress, silent
from lhc.options.training import TrainingOptions
from lhc.plan import Outcome
from lhc.report.building import graph_of_plan
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from lhc.study.apart import check_apart
from lhc.study.course import Course
from lhc.study.prepare import calibrated, read_placed
from lhc.study.source import open_model
from lhc.study.state import Study
from lhc.study.train import Train, _better, winnable
from lhc.study.walk import WalkRetrainer
from tests.passes.costly_networks import mobile

pytestmark = pytest.mark.analog


@dataclass(frozen=True)
class Ran:
    code: int
    stdout: str
    stderr: str


def cli(*arguments: object) -> Ran:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    return Ran(result.exit_code, result.stdout, result.stderr)


TEN = TrainingOptions(steps=10, batch_size=64, validations=1)
ASKED = RetrainOptions("digits-narrow", all_analog=True, draws=2, steps=10, batch_size=64, validations=1)


@pytest.fixture(scope="module")
def digits() -> Task:
    return zoo_entry("digits-narrow").task()


@pytest.fixture(scope="module")
def result() -> lhc.PartitionResult:
    return lhc.retrain.of(ASKED)


def run(options: RunOptions) -> tuple[Study, frozenset[str]]:
    """The study of a placement, and its analog layers."""
    study, analog, _ = read_placed(options, Running(), None)
    return study, analog


def without_values(proto: onnx.ModelProto) -> bytes:
    copy = without_annotations(proto)
    for tensor in copy.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.ClearField("raw_data")
    return bytes(copy.SerializeToString(deterministic=True))


def test_the_better_weights_are_kept_and_said(result: lhc.PartitionResult) -> None:
    outcome = result.plan.outcome
    assert outcome is not None
    (note,) = (note for note in result.notes if "training" in note)
    kept = "the trained weights are kept" in note
    assert kept == (outcome.retrained is not None)
    assert kept or "before training are kept" in note
    before, after = (float(bound) for bound in re.findall(r"at most ([-0-9.e]+)\)", note))
    assert kept == (after < before)
    assert outcome.interval is not None
    assert outcome.interval[1] == pytest.approx(min(before, after), rel=1e-3)
    assert len(result.plan.analog) == len(result.plan.layers)


def test_nothing_but_weights_and_annotations_differs(result: lhc.PartitionResult, tmp_path: Path) -> None:
    before = zoo_entry("digits-narrow").model()
    path = result.save(tmp_path / "digits.lhc.onnx")
    after = onnx.load(path)
    onnx.checker.check_model(after)
    assert without_values(before) == without_values(after)
    plan = read_plan(load_model(path))
    assert plan == result.plan
    assert plan is not None
    assert plan.source == load_model(path).source


def test_drops_are_against_the_network_before_training(digits: Task) -> None:
    """Weights that are made useless look useless, though their own digital network is as bad."""
    study, analog = run(RunOptions("digits-narrow", digits.head(100), draws=2, all_analog=True))
    course = Course(study, digits, TEN)
    broken = course.with_weights({name: np.zeros_like(value) for name, value in course.trained.values.items()})
    before, after = (one.bench(one.task) for one in (study, broken))
    assert after.baseline == before.baseline > 0.9
    layer = frozenset(sorted(analog)[:1])
    for placement in (layer, frozenset[str]()):
        assert after.measure(placement, range(2), "").drops.min() > 0.5
    ranking = broken.bench(study.task.with_metric(get_metric("kl")))
    assert ranking.against is None, "layers are ranked by what they do to the network as it is"


def test_without_labels_drops_are_against_the_outputs_before_training(digits: Task) -> None:
    unlabelled = Task(digits.inputs, None, get_metric("agreement")).head(100)
    study, analog = run(RunOptions("digits-narrow", unlabelled, draws=2, all_analog=True))
    course = Course(study, digits, TEN)
    broken = course.with_weights({name: np.zeros_like(value) for name, value in course.trained.values.items()})
    bench = broken.bench(broken.task)
    assert bench.baseline == 1
    assert bench.measure(frozenset(sorted(analog)[:1]), range(2), "").drops.min() > 0.5


def test_trained_input_ranges_are_those_of_the_plan(digits: Task) -> None:
    """Of the layers that were analog in training; others are calibrated anew."""
    options = RunOptions("digits-narrow", digits.head(100), hardware="static-range", draws=2, all_analog=True)
    study, analog = run(options)
    course = Course(study, digits, TEN)
    names = sorted(analog)
    network = course.network()
    network.place(names[:1])
    weights = network.weights()
    (key,) = set(weights) - set(course.trained.values)
    after = course.with_weights({**weights, key: np.array(1.25, np.float32)})
    before = study.plan.ranges
    assert after.plan.ranges == {**before, names[0]: (1.25,) * len(before[names[0]])}
    assert after.bench(after.task).measure(frozenset(names[:1]), range(2), "").drops.shape == (2,)


def test_a_rejected_candidate_of_a_walk_leaves_the_input_ranges_of_accepted_layers(digits: Task) -> None:
    study, _ = run(RunOptions("digits-narrow", digits.head(100), hardware="static-range", draws=2))
    study = calibrated(study, study.plan.eligible[:2])
    course = Course(study, digits, TrainingOptions(steps=2, batch_size=16))
    accepted, candidate = frozenset(study.plan.eligible[:1]), frozenset(study.plan.eligible[:2])
    walk = WalkRetrainer(course, digits.head(100), Budget())
    walk.begin(accepted)
    walk.train()
    walk.save("accepted")
    kept = walk.weights
    walk.begin(candidate)
    walk.train()
    assert any(not np.array_equal(walk.weights[name], value) for name, value in kept.items())
    walk.load("accepted")
    assert walk.weights.keys() == kept.keys()
    for name, value in kept.items():
        np.testing.assert_array_equal(walk.weights[name], value)
    walk.begin(candidate)
    second = set(walk.weights) - set(kept)
    assert len(second) == 1
    np.testing.assert_allclose(walk.weights[second.pop()], max(study.plan.ranges[max(candidate - accepted)]), rtol=1e-6)


def test_the_same_samples_for_training_and_judging_are_refused(digits: Task) -> None:
    with pytest.raises(UsageError, match="the same samples"):
        lhc.retrain.of(replace(ASKED, data=digits, verify_data=digits))


def test_some_of_the_samples_that_train_do_not_judge_either(digits: Task, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UsageError, match="the same samples"):
        check_apart(digits, digits.take(np.arange(300, 400)))
    check_apart(digits.take(np.arange(500)), digits.take(np.arange(490, 590)))
    assert "10 % of the samples that judge are in the training data too" in caplog.text
    caplog.clear()
    check_apart(digits.take(np.arange(500)), digits.take(np.arange(500, 600)))
    assert not caplog.text


def test_an_edited_loss_of_the_user_has_a_checkpoint_of_its_own(
    digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = []
    for factor in ("1", "1", "200"):
        Path("own_loss.py").write_text(
            f"def distance(output, targets):\n    return {factor} * (output.sum() - targets.sum()).square()\n"
        )
        sys.modules.pop("own_loss", None)
        study, _ = run(RunOptions("digits-narrow", digits.head(100), draws=2, all_analog=True))
        found.append(Course(study, digits, TrainingOptions(loss="own_loss:distance")).facts())
    assert found[0] == found[1] != found[2]


def test_layers_that_no_training_can_save_stay_digital_in_training() -> None:
    found = lhc.partition("digits-narrow", max_drop=0.02, draws=4, objective="macs")
    plan, names = found.plan, [row.name for row in found.plan.layers]
    graph = graph_of_plan(plan)
    assert plan.outcome is not None
    assert plan.outcome.estimate is not None
    assert winnable(graph, plan, names, 0.1) == frozenset(names)

    some = winnable(graph, plan, names, 0.002)

    damage = {row.name: row.sensitivity.mean for row in plan.layers if row.sensitivity is not None}
    macs = {row.name: row.macs for row in plan.layers}
    assert 0 < len(some) < len(names)
    assert sum(damage[name] for name in some) * plan.outcome.estimate.factor <= 4 * 0.002
    assert max(damage[name] / macs[name] for name in some) <= min(
        damage[name] / macs[name] for name in set(names) - some
    )
    assert winnable(graph, plan.model_copy(update={"outcome": None}), names, 0.002) == frozenset(names)


def test_layers_that_share_weights_are_trained_as_analog_together_or_not_at_all() -> None:
    found = lhc.partition("digits-narrow", max_drop=0.02, draws=4, objective="macs")
    plan, names = found.plan, [row.name for row in found.plan.layers]
    apart = graph_of_plan(plan)
    first = winnable(apart, plan, names, 0.002)
    one, other = min(first), min(set(names) - first)
    shared = [replace(layer, weight=apart[one].weight) if layer.name == other else layer for layer in apart.layers]
    graph = LayerGraph(shared, apart.inputs, apart.outputs)

    for budget in (0.0005, 0.001, 0.002, 0.004, 0.008):
        some = winnable(graph, plan, names, budget)
        assert (one in some) == (other in some)


def test_layers_that_do_not_pay_are_not_trained_as_analog() -> None:
    graph, plan = mobile()
    names = plan.eligible
    outcome = Outcome(
        metric="accuracy", percent=True, baseline=0.9, value=0.9, drop=0.0, interval=None, confidence=0.9,
        chips_within=1.0, max_drop=0.1, drop_type="absolute", within_budget=True, held_out=True, samples=9, draws=2,
        seed=0, t_s=0.0, strategy="sensitivity", data="d", objective="energy",
    )  # fmt: skip
    placed = plan.decide(dict.fromkeys(names, ("digital", "sensitivity", "")))
    by_energy = placed.model_copy(update={"outcome": outcome})
    by_macs = placed.model_copy(update={"outcome": outcome.model_copy(update={"objective": "macs"})})
    assert winnable(graph, by_energy, names, 0.1) == {name for name in names if "depthwise" not in name}
    assert winnable(graph, by_macs, names, 0.1) == set(names)
    forced = by_energy.decide({"block0.depthwise": ("analog", "forced", "")})
    assert "block0.depthwise" in winnable(graph, forced, names, 0.1)


@pytest.mark.parametrize(("scale", "warned"), [(2.0, False), (255.0, True), (1 / 255, True)])
def test_training_data_on_another_scale_is_warned_of(
    scale: float, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    judging = zoo_entry("digits-narrow").task()
    images = np.asarray(judging.inputs["x"])
    training = Task({"x": images[::-1] * np.float32(scale)}, None, get_metric("agreement"))

    check_apart(training, judging)

    assert ("input 'x'" in caplog.text and "preprocessed" in caplog.text) == warned


def test_input_ranges_of_the_hardware_that_a_model_was_placed_for_are_not_those_of_another(digits: Task) -> None:
    machine = lhc.Hardware.load("static-range")
    first = lhc.partition(
        "digits-narrow", digits.head(100), hardware=machine, strategy="all-analog", draws=2, max_drop="100%",
        include=["layer2.*"],
    )  # fmt: skip
    less = machine.model_copy(update={"dac": machine.dac.model_copy(update={"range_quantile": 0.9})})
    study, analog = run(RunOptions(first.model, digits.head(100), hardware=less, draws=2))
    plan = placed(study.plan, analog, first.plan)
    assert plan.analog == first.plan.analog
    assert plan.ranges == study.plan.ranges
    assert all(plan.ranges[name] < first.plan.ranges[name] for name in analog)
    again, _ = run(RunOptions(first.model, digits.head(100), draws=2))
    assert placed(again.plan, analog, first.plan).layers == first.plan.layers


def test_a_model_without_analog_layers_is_refused(digits: Task) -> None:
    with pytest.raises(UsageError, match="no layer is analog"):
        lhc.retrain.of(replace(ASKED, data=digits, all_analog=False))


def test_command_line(digits: Task, tmp_path: Path) -> None:
    model = tmp_path / "net.lhc.onnx"
    lhc.partition("digits-narrow", strategy="first-last", draws=2, samples=100).save(model)
    np.savez(tmp_path / "train.npz", x=np.asarray(digits.inputs["x"][:]), labels=np.asarray(digits.targets))
    command = ["retrain", str(model), "--data", str(tmp_path / "train.npz"), "--steps", "10", "--batch-size", "64"]
    command += ["--draws", "2", "--max-drop", "100%", "--validations", "1", "--quiet", "--json"]
    first = cli(*command)
    assert first.code == 0, first.stderr
    document = json.loads(first.stdout)
    assert document["within_budget"]
    written = tmp_path / "net.retrained.lhc.onnx"
    before, after = load_model(model), load_model(written)
    assert without_values(before.proto) == without_values(after.proto)
    plans = read_plan(before), read_plan(after)
    assert plans[0] is not None
    assert plans[1] is not None
    assert plans[0].analog == plans[1].analog
    changed = [
        a.name
        for a, b in zip(before.proto.graph.initializer, after.proto.graph.initializer, strict=True)
        if not np.array_equal(numpy_helper.to_array(a), numpy_helper.to_array(b))
    ]
    assert bool(changed) == (document["retrained"] is not None)
    content = written.read_bytes()
    assert cli(*command).code == 0, "the same command may replace what it wrote"
    assert written.read_bytes() == content
    written.write_bytes(b"somebody's")
    refused = cli(*command)
    assert refused.code == 2
    assert "--force" in refused.stderr
    assert written.read_bytes() == b"somebody's"


@pytest.mark.parametrize(
    ("options", "word"),
    [(["--steps", "0"], "--steps"), (["--loss", "hinge"], "hinge"), (["--augment", "mirror"], "--augment")],
    ids=["steps", "loss", "augment"],
)
def test_options_that_make_no_sense(tmp_path: Path, options: list[str], word: str) -> None:
    found = cli("retrain", "digits-narrow", "--all-analog", "-o", str(tmp_path / "o.onnx"), "--draws", "2", *options)
    assert found.code == 2
    assert word in found.stderr
    assert not list(tmp_path.iterdir())


def test_partition_with_retraining_keeps_the_better_placement(digits: Task) -> None:
    result = lhc.partition(
        "digits-narrow", digits, retrain=True, steps=20, batch_size=64, learning_rate=0.01, validations=1, draws=2,
        strategy="first-last", max_drop="100%",
    )  # fmt: skip
    outcome = result.plan.outcome
    assert outcome is not None
    assert outcome.within_budget
    (note,) = (note for note in result.notes if "it is kept" in note)
    assert note.startswith("after" if outcome.retrained is not None else "before")


def test_nothing_is_trained_where_all_that_can_be_is_analog_already(digits: Task) -> None:
    result = lhc.partition("digits-narrow", digits, retrain=True, draws=2, strategy="all-analog", max_drop="100%")
    assert "not trained" in result.notes[-1]
    assert result.plan.outcome is not None
    assert result.plan.outcome.retrained is None


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["lionheart", "lionheart-original"])
def test_walks_on_real_networks_are_repeatable_and_go_on_where_they_were_cut_off(
    digits: Task, tmp_path: Path, strategy: str
) -> None:
    class Stop(Exception):  # noqa: N818 - not an error
        pass

    rounds = 0

    def stop(what: str, done: int, total: int) -> None:
        nonlocal rounds
        rounds += what.startswith("training") and done == total
        if rounds == 3:
            raise Stop

    def run(checkpoint: Path | None, progress: Progress = silent) -> lhc.PartitionResult:
        return lhc.partition(
            "digits-narrow", digits, retrain=True, steps=5, batch_size=64, draws=3, strategy=strategy, max_drop=0.001,
            rounds=2, patience=1, include=["layer1.0.*", "linear"], checkpoint=checkpoint, progress=progress,
        )  # fmt: skip

    whole = run(None)
    with pytest.raises(Stop):
        run(tmp_path, stop)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")}
    assert len(kept) == 2
    again = run(tmp_path)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items()), "finished rounds are not done again"
    assert again.plan == whole.plan
    assert again.source.source == whole.source.source


@pytest.mark.parametrize("strategy", ["sensitivity", "lionheart"])
def test_the_result_without_training_is_kept_where_the_time_ends_before_training_does(
    digits: Task, strategy: str
) -> None:
    result = lhc.partition(
        "digits-narrow", digits, retrain=True, steps=1000, batch_size=64, validations=1, draws=2, strategy=strategy,
        max_drop=0.0, objective="macs", timeout=1e-9,
    )  # fmt: skip
    assert any(note.startswith("--timeout: the time was over before training was") for note in result.notes)
    assert result.plan.outcome is not None
    assert result.plan.outcome.retrained is None


def test_partition_with_retraining_on_the_command_line(digits: Task, tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", x=np.asarray(digits.inputs["x"][:]), labels=np.asarray(digits.targets))
    model, out = tmp_path / "net.onnx", tmp_path / "out.onnx"
    onnx.save_model(zoo_entry("digits-narrow").model(), str(model))
    command = ["partition", str(model), "--data", str(tmp_path / "all.npz"), "--strategy", "first-last", "--draws", "2"]
    command += ["--max-drop", "100%", "--quiet", "--json", "-o", str(out)]
    training = ["--retrain", "--steps", "10", "--batch-size", "64"]
    for _ in range(2):  # the same command may replace what it wrote
        found = cli(*command, *training)
        assert found.code == 0, found.stderr
        assert "it is kept" in found.stderr
    refused = cli(*command, *training, "--train-data", str(tmp_path / "all.npz"))
    assert refused.code == 2
    assert "the same samples" in refused.stderr
    refused = cli(*command, "--steps", "10", "--train-data", str(tmp_path / "all.npz"))
    assert refused.code == 2
    assert "--steps, --train-data: options of training need --retrain" in refused.stderr
    refused = cli(*command, "--strategy", "lionheart-original")
    assert refused.code == 2


def test_a_network_whose_tensors_lie_in_another_file_is_retrained(result: lhc.PartitionResult, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(zoo_entry("digits-narrow").model(), path, save_as_external_data=True, size_threshold=0)
    samples = zoo_entry("digits-narrow").task()
    data = {"x": np.asarray(samples.inputs["x"]), "labels": np.asarray(samples.targets)}

    beside = lhc.retrain.of(replace(ASKED, model=str(path), data=data))

    assert beside.plan.outcome is not None
    assert result.plan.outcome is not None
    assert beside.plan.outcome.drop == pytest.approx(result.plan.outcome.drop)
    assert (beside.plan.outcome.retrained is None) == (result.plan.outcome.retrained is None)


def test_patience_of_placing_reaches_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[PartitionOptions] = []

    def stop(options: PartitionOptions) -> lhc.PartitionResult:
        given.append(options)
        raise UsageError("enough")

    monkeypatch.setattr("lhc.commands.partition.partition.of", stop)
    assert cli("partition", "digits-narrow", "--retrain", "--patience", 3, "-o", "unwritten.onnx").code == 2
    (options,) = given
    assert options.patience == 3, "of validations, and of rounds, where a strategy trains in rounds"
    (train,) = (step for step in pipeline(options).steps if isinstance(step, Train))
    assert train.settings.patience == 3


def test_what_a_search_is_after_goes_with_retraining_but_not_with_its_walks(digits: Task) -> None:
    walk = PartitionOptions("digits-narrow", digits, retrain=True, strategy="lionheart")
    for options in (replace(walk, objective="energy"), replace(walk, max_tiles=3), replace(walk, group=("block",))):
        with pytest.raises(UsageError, match=r"'lionheart' with --retrain walks by MACs.*--group cannot go with it"):
            lhc.partition.of(options)
    with pytest.raises(UsageError, match="a plan says where every layer goes"):
        lhc.partition("digits-narrow", digits, retrain=True, plan="plan.yaml")
    said = cli("partition", "digits-narrow", "--retrain", "--objective", "speed", "-o", "unwritten.onnx").stderr
    assert "--objective 'speed': choose energy, latency, macs" in said, "an objective is taken"


@pytest.mark.parametrize(("objective", "kept"), [("macs", "more"), ("energy", "less")])
def test_the_better_of_two_results_is_that_of_the_objective(objective: str, kept: str) -> None:
    """A placement with more MACs on tiles may cost more energy: on digits, whose layers fill no tile, it does."""
    more = PartitionOptions("digits-narrow", strategy="all-analog", max_drop=0.9, draws=2, samples=40)
    studies = {
        name: pipeline(options).apply(begin(options, Running(), open_model("digits-narrow")))
        for name, options in (("more", more), ("less", replace(more, exclude=("layer*",))))
    }
    for name, study in studies.items():
        assert study.plan.outcome is not None
        outcome = study.plan.outcome.model_copy(update={"objective": objective})
        studies[name] = replace(study, plan=study.plan.model_copy(update={"outcome": outcome}))
    better = _better(studies["less"], studies["more"])
    assert better.plan.analog == studies[kept].plan.analog


SHORT = (
    "partition",
    "digits-narrow",
    "--samples",
    200,
    "--draws",
    2,
    "--batch-size",
    64,
    "--retrain",
    "--dry-run",
    "--json",
)


def test_a_dry_run_counts_the_training(tmp_path: Path) -> None:
    """Ranking, search and verification before it and after it, its steps, and its five validations on three chips."""
    told = cli(*SHORT, "--objective", "macs", "--steps", 30, "--work-dir", tmp_path)
    assert told.code == 0, told.stderr
    steps = {step["what"]: step for step in json.loads(told.stdout)["steps"]}
    searching = [what for what in steps if "searching, at most" in what]
    assert [what.split(":")[0] for what in searching] == ["before training", "after training"]
    assert steps["training"]["units"] == 30
    assert steps["training"]["seconds"] > 0
    assert steps["validating"]["units"] == 5
    assert steps["after training: verifying"]["units"] == steps["before training: verifying"]["units"] > 0


@pytest.mark.parametrize(
    ("strategy", "more", "rounds"),
    [
        ("lionheart", (), "training, at most 4 rounds a candidate"),
        ("lionheart-original", ("--rounds", 3), "training, at most 3 rounds a candidate"),
        ("lionheart-original", (), "training, at least 2 rounds a candidate"),
    ],
)
def test_a_dry_run_counts_the_rounds_of_walks(
    strategy: str, more: tuple[object, ...], rounds: str, tmp_path: Path
) -> None:
    told = cli(*SHORT, "--strategy", strategy, "--steps", 5, *more, "--work-dir", tmp_path)
    assert told.code == 0, told.stderr
    document = json.loads(told.stdout)
    steps = {step["what"]: step for step in document["steps"]}
    number = int(rounds.split()[3])
    assert steps[rounds]["units"] == document["layers"] * number * 5
    judged = document["layers"] * (number + (strategy == "lionheart"))
    assert steps["judging candidates"]["units"] == judged
    assert "after training: verifying" in steps
    assert not any(what.startswith("after training: searching") for what in steps), "the walk was the search"


def test_what_a_placement_was_searched_for_stays_with_it_through_a_training(digits: Task, tmp_path: Path) -> None:
    placed = lhc.partition(
        "digits-narrow",
        draws=2,
        samples=100,
        max_drop="100%",
        objective="latency",
        max_tiles=9,
        force_analog=("linear",),
    )
    model = placed.save(tmp_path / "placed.onnx")
    outcome = lhc.retrain(str(model), digits, steps=2, validations=1, draws=2).plan.outcome
    assert outcome is not None
    assert (outcome.objective, outcome.limits) == ("latency", {"tiles": 9})
