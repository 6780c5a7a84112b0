"""Retraining a placed model, by the function and the command."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

import lhc
from lhc.errors import UsageError
from lhc.measure import Running
from lhc.models import zoo_entry
from lhc.onnx_io import load_model, read_plan
from lhc.onnx_model import without_annotations
from lhc.options.by_command import RetrainOptions, RunOptions
from lhc.pipeline.inputs.training_inputs import read_training_inputs
from lhc.pipeline.pipeline_state import PreparedNetwork
from lhc.pipeline.steps.prepare import read_placed
from lhc.pipeline.training.trained_placement import Judged, better, judged_anew, placed
from lhc.report.wording.infeasibility import infeasibility_lines
from lhc.report.wording.placement import partition_head
from lhc.results import Verdict
from lhc.samples.task import Task
from tests.conftest import Cli
from tests.report.made_reports import evaluated

pytestmark = pytest.mark.analog

SAMPLES = 700
ASKED = RetrainOptions(
    "digits-narrow",
    all_analog=True,
    samples=SAMPLES,
    draws=2,
    steps=10,
    batch_size=64,
    validations=1,
    explain=False,
)


def test_ranges_that_a_file_lacks_are_of_the_samples_that_watch_not_of_those_that_judge(digits: Task) -> None:
    samples = digits.head(300)
    asked = RetrainOptions("digits-narrow", samples, all_analog=True, hardware="static-range", draws=2)
    found = read_training_inputs(asked, Running())
    judged = {one.tobytes() for one in np.asarray(found.verification.inputs["x"][:])}
    watching = {one.tobytes() for one in np.asarray(found.validation.inputs["x"][:])}
    assert judged.isdisjoint(watching)
    louder = np.asarray(samples.inputs["x"][:]).copy()
    louder[[one.tobytes() in judged for one in louder]] *= 10
    told = replace(asked, data=replace(samples, inputs={"x": louder}))
    again = read_training_inputs(told, Running())
    assert again.state.plan.ranges == found.state.plan.ranges
    assert again.state.plan.digital == found.state.plan.digital


@pytest.fixture(scope="module")
def result() -> lhc.PartitionResult:
    return lhc.retrain.of(ASKED)


def without_values(proto: onnx.ModelProto) -> bytes:
    copy = without_annotations(proto)
    for tensor in copy.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.ClearField("raw_data")
    return bytes(copy.SerializeToString(deterministic=True))


@pytest.mark.slow
def test_the_better_weights_are_kept_and_said(result: lhc.PartitionResult) -> None:
    outcome = result.plan.outcome
    assert outcome is not None
    note = outcome.training_note
    assert note is not None
    kept = outcome.retrained is not None
    assert note.startswith(f"trained weights {'kept' if kept else 'not kept'}: mean drop ")
    assert f"\nTrained weights {'kept' if kept else 'not kept'}: " in partition_head(result), "beside the verdict"
    before, after = (float(bound) for bound in re.findall(r"at most ([-0-9.]+) points\)", note))
    assert after < before if kept else after >= before
    assert outcome.interval is not None
    assert 100 * outcome.interval[1] == pytest.approx(min(before, after), abs=0.006)
    assert len(result.plan.analog) == len(result.plan.layers)
    assert outcome.first_draw is not None
    assert outcome.first_draw > 1_000_000, "no search, validation or run has seen these chips"


@pytest.mark.slow
def test_a_share_of_all_chips_takes_chips_until_it_is_shown() -> None:
    found = lhc.retrain.of(replace(ASKED, samples=200, steps=2, max_drop="90%", yield_share="50%"))
    outcome = found.plan.outcome
    assert outcome is not None
    assert (outcome.within_budget, outcome.yield_share, outcome.yield_shown) == (True, 0.5, True)
    assert outcome.draws >= 6, "half of all chips: 0.5^6 < 2.5 % < 0.5^5"
    assert "holding the budget comes first, then the smaller bound decides" in (outcome.training_note or "")


def test_what_holds_the_budget_goes_before_a_smaller_bound() -> None:
    """Of the one with the smaller bound too few chips hold it, one by one."""
    evaluation = evaluated(0.89)
    held, unshown = Verdict("accepted", evaluation), Verdict("undecided", replace(evaluation, drop_interval=(0.0, 0.0)))
    state = cast("PreparedNetwork", None)
    assert better(Judged(state, held), Judged(state, unshown)).verdict is held
    assert better(Judged(state, unshown), Judged(state, held)).verdict is held


@pytest.mark.slow
def test_a_placement_that_was_shown_to_hold_keeps_its_verdict_where_its_weights_stay() -> None:
    """It is judged on 40 samples that show neither weights to hold; a training at no rate makes none better."""
    placed = lhc.partition("digits-narrow", draws=2, samples=400, max_drop="10%", strategy="first-last")
    assert placed.plan.outcome is not None
    assert placed.plan.outcome.within_budget
    asked = RetrainOptions("digits-narrow", draws=2, steps=1, batch_size=8, validations=1, explain=False)
    asked = replace(asked, model=placed.model, data="digits-narrow", samples=300, learning_rate=1e-9)
    kept = lhc.retrain.of(asked)
    outcome = kept.plan.outcome
    assert outcome is not None
    assert outcome.training_note is not None
    assert outcome.model_copy(update={"training_note": None}) == placed.plan.outcome
    assert kept.plan.layers == placed.plan.layers
    assert placed.plan.conformance is not None
    assert kept.plan.conformance == placed.plan.conformance, "of the same chip, weights and samples"
    assert kept.plan.command == placed.plan.command
    assert outcome.training_note.endswith("test which the given weights passed before, on 300 samples")
    stricter = lhc.retrain.of(replace(asked, max_drop="9%")).plan.outcome
    assert stricter is not None
    assert (stricter.within_budget, stricter.samples) == (False, 40), "that was not shown before"


@pytest.mark.slow
def test_the_kept_network_carries_its_own_check_of_the_emulation(result: lhc.PartitionResult) -> None:
    found = result.plan.conformance
    assert found is not None
    assert {layer.name for layer in found.layers} == result.plan.analog
    assert found.wrong == ()
    assert "emulation checked against aihwkit: " in partition_head(result)


def test_it_is_said_which_samples_are_for_what(result: lhc.PartitionResult) -> None:
    outcome = result.plan.outcome
    assert outcome is not None
    train, watch, judge = (int(number) for number in re.findall(r"\d+", result.notes[0]))
    assert result.notes[0].startswith(
        f"{train} samples train; on {watch} others training is watched, on {judge} others the network is judged"
    )
    assert outcome.samples == judge
    assert train + watch + judge == SAMPLES
    assert outcome.held_out, "no samples chose the layers"
    assert f"on {judge} samples (not used to train)," in partition_head(result)
    assert result.plan.command.startswith("lhc retrain digits-narrow ")


@pytest.fixture(scope="module")
def by_macs() -> lhc.PartitionResult:
    """Placed on 100 samples, with a budget that nothing breaks."""
    return lhc.partition("digits-narrow", draws=2, samples=100, max_drop="100%", method="fisher", objective="macs")


@pytest.mark.slow
def test_figures_of_the_search_and_of_weights_before_are_not_those_of_the_trained_network(
    by_macs: lhc.PartitionResult,
) -> None:
    assert by_macs.plan.outcome is not None
    unmet = by_macs.plan.outcome.model_copy(update={"within_budget": False})
    placed = replace(by_macs, plan=by_macs.plan.model_copy(update={"outcome": unmet}))
    assert placed.plan.outcome is not None
    asked = replace(ASKED, model=placed.model, data="digits-narrow", samples=400, all_analog=False)
    trained = lhc.retrain.of(asked)
    outcome = trained.plan.outcome
    assert outcome is not None
    assert not outcome.held_out
    assert outcome.samples_note == "not used to train, perhaps by the search of the placement"
    assert trained.notes[0].endswith(
        f"'lhc partition' verified the placement on {placed.plan.outcome.samples}: other samples, so its figures cannot"
        " be compared with these"
    )
    assert any(row.sensitivity for row in placed.plan.layers)
    assert any(row.sensitivity for row in trained.plan.layers) == (outcome.retrained is None)
    assert outcome.tests == 2, "the placement was tested before"
    assert outcome.error == pytest.approx(0.1)
    assert outcome.within_budget == (outcome.retrained is not None), "a budget of 100 points: only trained weights may"


@pytest.mark.slow
def test_the_first_samples_train_and_judge_and_what_would_help_is_measured() -> None:
    few = lhc.retrain.of(replace(ASKED, samples=200, steps=2, max_drop=0.0, explain=True))
    outcome, found = few.plan.outcome, few.infeasibility
    assert outcome is not None
    assert found is not None, "no budget is met that allows no loss"
    assert found.in_the_way
    assert set(found.in_the_way) <= few.plan.analog
    changes = ["--t-inference 1 day -> 1 hour", "--t-inference 1 day -> 0 s", "adc.bits 8 -> 10", "dac.bits 8 -> 10"]
    assert [remedy.change for remedy in found.remedies] == changes
    assert {remedy.evaluation.samples for remedy in found.remedies} == {outcome.samples}
    assert found.nearest_budget == pytest.approx(max(outcome.interval[1], 0))  # type: ignore[index]
    told = list(infeasibility_lines(found, few.plan))
    assert not any("(--retrain)" in line for line in told), "they were trained"
    train, watch, judge = (int(number) for number in re.findall(r"\d+", few.notes[0]))
    assert train + watch + judge == 200


@pytest.mark.slow
def test_reasons_of_a_placement_are_told_apart_from_those_of_the_judgement_after_training(
    by_macs: lhc.PartitionResult,
) -> None:
    rows = [
        row.model_copy(update={"placement": "digital", "reason": "sensitivity", "detail": "too much damage"})
        if row.name == "linear"
        else row
        for row in by_macs.plan.layers
    ]
    plan = by_macs.plan.model_copy(update={"layers": tuple(rows)})
    for accepted, reason in ((True, "budget"), (False, "placed")):
        anew = {row.name: row for row in judged_anew(plan, accepted).layers}
        assert anew["conv1"].reason == reason
        assert ("not meet" in anew["conv1"].detail) == (not accepted)
        assert anew["linear"].detail == "when it was placed: too much damage"
        for before in (False, True):
            assert judged_anew(judged_anew(plan, before), accepted) == judged_anew(plan, accepted)


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


def test_the_same_samples_for_training_and_judging_are_refused(digits: Task) -> None:
    with pytest.raises(UsageError, match="are among those that train"):
        lhc.retrain.of(replace(ASKED, data=digits, train_data=digits))


def test_old_and_present_names_of_the_samples_mean_the_same(digits: Task, caplog: pytest.LogCaptureFixture) -> None:
    """What trains is `train_data` and what judges is `data`, as in `partition`; `samples` bounds what judges."""
    trains, judges = digits.head(400), digits.take(slice(400, 600))
    present = replace(ASKED, data=judges, train_data=trains)
    old = replace(ASKED, data=trains, verify_data=judges)
    found = []
    for asked in (present, old, replace(present, samples=90)):
        with Running(asked) as running:
            start = read_training_inputs(asked, running)
        sets = start.training, start.validation, start.verification
        found.append([one.digest for one in sets])
        assert [len(one) for one in sets] == ([400, 30, 60] if asked.samples == 90 else [400, 67, 133])
    assert found[0] == found[1] != found[2]
    (told,) = [record.getMessage() for record in caplog.records if "old name" in record.getMessage()]
    assert told.endswith(
        "--verify-data is an old name: write the samples that train as --train-data and those that judge as --data, as"
        " 'lhc partition' has them"
    )
    with pytest.raises(UsageError, match="--verify-data is the old name of --data"):
        replace(old, train_data=trains)


def test_input_ranges_of_the_hardware_that_a_model_was_placed_for_are_not_those_of_another(
    digits: Task,
) -> None:
    machine = lhc.Hardware.load("static-range")
    first = lhc.partition(
        "digits-narrow", digits.head(100), hardware=machine, strategy="all-analog", draws=2, max_drop="100%",
        include=["layer2.*"],
    )  # fmt: skip
    less = machine.model_copy(update={"dac": machine.dac.model_copy(update={"range_quantile": 0.9})})
    state, analog, _ = read_placed(RunOptions(first.model, digits.head(100), hardware=less, draws=2), Running(), None)
    plan = placed(state.plan, analog, first.plan)
    assert plan.analog == first.plan.analog
    assert plan.ranges == state.plan.ranges
    assert all(plan.ranges[name] < first.plan.ranges[name] for name in analog)
    again, _, _ = read_placed(RunOptions(first.model, digits.head(100), draws=2), Running(), None)
    assert placed(again.plan, analog, first.plan).layers == first.plan.layers


@pytest.fixture(scope="module")
def on_further_tiles() -> lhc.PartitionResult:
    """Layers that have more copies than their tiles hold anyway."""
    return lhc.partition(
        "digits-narrow", draws=2, samples=100, max_drop="100%", objective="macs", max_tiles=40, include=["layer2.*"]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "kept"),
    [("training", True), ("dac", False)],
    ids=["trained for otherwise", "another converter"],
)
def test_copies_on_further_tiles_stay_on_a_machine_that_infers_alike_and_else_it_is_said(
    on_further_tiles: lhc.PartitionResult, section: str, kept: bool, caplog: pytest.LogCaptureFixture
) -> None:
    placed_plan = on_further_tiles.plan
    machine = placed_plan.hardware
    fields = {"training": {"weight_noise": 0.123}, "dac": {"bits": 6}}[section]
    changed = getattr(machine, section).model_copy(update=fields)
    other = machine.model_copy(update={section: changed})
    asked = replace(ASKED, model=on_further_tiles.model, data="digits-narrow", samples=400, all_analog=False)
    asked = replace(asked, hardware=other)
    with Running(asked) as running:
        plan = read_training_inputs(asked, running).state.plan
    analog, copies = placed_plan.analog, placed_plan.copies
    assert max(copies.values()) > 1
    assert ({name: plan.copies.get(name, 1) for name in analog} == {n: copies.get(n, 1) for n in analog}) == kept
    told = [record.getMessage() for record in caplog.records if "copies of weights are chosen anew" in record.message]
    assert bool(told) == (not kept)
    assert plan.hardware == other


def test_a_model_without_analog_layers_is_refused(digits: Task) -> None:
    with pytest.raises(UsageError, match="no layer is analog"):
        lhc.retrain.of(replace(ASKED, data=digits, all_analog=False))


def test_command_line(cli: Cli, digits: Task, tmp_path: Path) -> None:
    model = tmp_path / "net.lhc.onnx"
    lhc.partition("digits-narrow", strategy="first-last", draws=2, samples=100).save(model)
    x, labels = digits.read(0, 300)
    np.savez(tmp_path / "train.npz", labels=labels, **x)  # type: ignore[arg-type]
    command = ["retrain", str(model), "--data", str(tmp_path / "train.npz"), "--steps", "10", "--batch-size", "64"]
    command += ["--draws", "2", "--max-drop", "100%", "--validations", "1", "--quiet", "--json"]
    first = cli(*command)
    assert first.exit_code == 0, first.stderr
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
    assert cli(*command).exit_code == 0, "the same command may replace what it wrote"
    assert written.read_bytes() == content
    written.write_bytes(b"somebody's")
    refused = cli(*command)
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert written.read_bytes() == b"somebody's"


@pytest.mark.parametrize(
    ("options", "word"),
    [(["--steps", "0"], "--steps"), (["--loss", "hinge"], "hinge"), (["--augment", "mirror"], "--augment")],
    ids=["steps", "loss", "augment"],
)
def test_options_that_make_no_sense(cli: Cli, tmp_path: Path, options: list[str], word: str) -> None:
    found = cli("retrain", "digits-narrow", "--all-analog", "-o", str(tmp_path / "o.onnx"), "--draws", "2", *options)
    assert found.exit_code == 2
    assert word in found.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_half_precision_is_trained_as_its_network_in_float32_is(result: lhc.PartitionResult, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(convert_float_to_float16(zoo_entry("digits-narrow").model(), keep_io_types=True), path)
    samples = zoo_entry("digits-narrow").task()
    data = {"x": np.asarray(samples.inputs["x"]), "labels": np.asarray(samples.targets)}
    found = lhc.retrain.of(replace(ASKED, model=path, data=data))
    said = [one.plan.outcome and one.plan.outcome.training_note for one in (found, result)]
    points = [[float(number) for number in re.findall(r"[-0-9.]+(?= points)", note or "")] for note in said]
    assert len(points[0]) == 4, "mean and bound, before and after"
    # After it the means alone: a bound over two chips magnifies what two trainings differ by.
    assert points[0][:3] == pytest.approx(points[1][:3], abs=2), "the same chips; float16 rounds far below their noise"
    found.save(tmp_path / "out.onnx")
    before, after = (onnx.load(tmp_path / name).graph.initializer for name in ("model.onnx", "out.onnx"))
    assert [tensor.data_type for tensor in before] == [tensor.data_type for tensor in after]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_dry_run_counts_what_a_training_does(cli: Cli, tmp_path: Path) -> None:
    options = ("--all-analog", "--samples", 200, "--draws", 2, "--steps", 10, "--batch-size", 64, "--validations", 1)
    for model, *more in (("digits-narrow",), ("digits", "--adapters", "50%")):
        found = json.loads(cli("retrain", model, *options, *more, "--dry-run", "--work-dir", tmp_path, "--json").stdout)
        steps = {step["what"]: step for step in found["steps"]}
        choosing = ["choosing layers for adapters"] if more else []
        verifying = ("verifying before training", "verifying after training")
        assert list(steps) == [verifying[0], *choosing, "training", "validating", verifying[1]]
        assert steps["training"]["units"] == 10
        assert all(step["seconds"] > 0 and step["kept"] == 0 for step in found["steps"])
        assert not list(tmp_path.glob("*.onnx"))


@pytest.mark.slow
def test_a_dry_run_knows_what_was_judged_before(tmp_path: Path) -> None:
    asked = replace(ASKED, work_dir=tmp_path, steps=1)
    lhc.retrain.of(asked)
    before, *_, after = lhc.estimate(asked).steps
    assert (before.kept, before.seconds) == (before.units, 0.0)
    assert after.kept == 0
    assert after.seconds > 0


@pytest.mark.slow
def test_the_steps_that_a_time_allows_are_told(caplog: pytest.LogCaptureFixture) -> None:
    lhc.retrain.of(replace(ASKED, steps=None, time="0.5s"))
    (told,) = re.findall(r"--time: (\d+) steps? fit; --steps (\d+) repeats", caplog.text)
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": "2s"}, "--steps, --epochs and --time say the same"),
        ({"time": "2s", "steps": None, "checkpoint": Path("states")}, "--time and --checkpoint"),
        ({"time": "soon", "steps": None}, "'soon' is no time"),
    ],
    ids=["steps", "checkpoint", "no time"],
)
def test_times_of_a_training_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        lhc.retrain.of(replace(ASKED, **options))  # type: ignore[arg-type]
