"""`partition --retrain`, by the function and the command."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import lhc
from lhc.commands.partition import pipeline
from lhc.errors import UsageError
from lhc.hardware import Hardware
from lhc.models import zoo_entry
from lhc.options.by_command import PartitionOptions
from lhc.options.shared import Progress, silent
from lhc.pipeline.training.retraining import Train
from lhc.samples.task import Task
from tests.conftest import Cli

pytestmark = pytest.mark.analog

FEW = ("--samples", 200, "--draws", 2, "--batch-size", 64)
SHORT = ("partition", "digits-narrow", *FEW, "--retrain", "--dry-run", "--json")


@pytest.mark.slow
def test_partition_with_retraining_keeps_the_better_placement(digits: Task) -> None:
    result = lhc.partition(
        "digits-narrow", digits.head(400), retrain=True, steps=20, batch_size=64, learning_rate=0.01, validations=1,
        draws=2, strategy="first-last", max_drop="100%",
    )  # fmt: skip
    outcome = result.plan.outcome
    assert outcome is not None
    assert outcome.within_budget
    assert outcome.training_note is not None
    kept = outcome.retrained is not None
    assert outcome.training_note.startswith(f"trained weights {'kept: after' if kept else 'not kept: before'} training")


def test_nothing_is_trained_where_all_that_can_be_is_analog_already(digits: Task) -> None:
    result = lhc.partition("digits-narrow", digits, retrain=True, draws=2, strategy="all-analog", max_drop="100%")
    assert result.plan.outcome is not None
    assert result.plan.outcome.training_note is not None
    assert result.plan.outcome.training_note.startswith("not trained: ")
    assert result.plan.outcome.retrained is None


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["lionheart", "lionheart-original"])
def test_walks_on_real_networks_are_repeatable_and_go_on_where_they_were_cut_off(
    digits: Task, tmp_path: Path, strategy: str
) -> None:
    class Stop(Exception):  # noqa: N818 - not an error
        pass

    bare = Hardware.load("lionheart").with_drift_compensation_alone()  # healed, the budget is met too soon
    rounds = 0

    def stop(what: str, done: int, total: int) -> None:
        nonlocal rounds
        rounds += what.startswith("training") and done == total
        if rounds == 3:
            raise Stop

    def run(checkpoint: Path | None, progress: Progress = silent) -> lhc.PartitionResult:
        return lhc.partition(
            "digits-narrow", digits, retrain=True, steps=5, batch_size=64, draws=3, strategy=strategy, max_drop=0.001,
            rounds=2, patience=1, include=["layer1.*", "linear"], checkpoint=checkpoint, progress=progress,
            hardware=bare,
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
    assert result.plan.outcome is not None
    assert result.plan.outcome.training_note is not None
    assert "the time of --timeout was over" in result.plan.outcome.training_note
    assert result.plan.outcome.retrained is None


@pytest.mark.slow
def test_partition_with_retraining_on_the_command_line(cli: Cli, digits: Task, tmp_path: Path) -> None:
    x, labels = digits.read(0, 300)
    np.savez(tmp_path / "all.npz", labels=labels, **x)  # type: ignore[arg-type]
    model, out = tmp_path / "net.onnx", tmp_path / "out.onnx"
    onnx.save_model(zoo_entry("digits-narrow").model(), str(model))
    command = ["partition", str(model), "--data", str(tmp_path / "all.npz"), "--strategy", "first-last", "--draws", "2"]
    command += ["--max-drop", "100%", "--quiet", "--json", "-o", str(out)]
    training = ["--retrain", "--steps", "10", "--batch-size", "64"]
    for _ in range(2):  # the same command may replace what it wrote
        found = cli(*command, *training)
        assert found.exit_code == 0, found.stderr
        assert json.loads(found.stdout)["training_note"].startswith("trained weights ")
    refused = cli(*command, *training, "--train-data", str(tmp_path / "all.npz"))
    assert refused.exit_code == 2
    assert "are among those that train" in refused.stderr
    refused = cli(*command, "--steps", "10", "--train-data", str(tmp_path / "all.npz"))
    assert refused.exit_code == 2
    assert "--steps, --train-data: options of training need --retrain" in refused.stderr
    refused = cli("partition", str(model), "--data", str(tmp_path / "all.npz"), "--strategy", "lionheart-original")
    assert refused.exit_code == 2
    assert "strategy 'lionheart-original' trains while it searches; give --retrain too" in refused.stderr


def test_patience_of_placing_reaches_the_training(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[PartitionOptions] = []

    def stop(options: PartitionOptions) -> lhc.PartitionResult:
        given.append(options)
        raise UsageError("enough")

    monkeypatch.setattr("lhc.commands.partition.partition.of", stop)
    assert cli("partition", "digits-narrow", "--retrain", "--patience", 3, "-o", "unwritten.onnx").exit_code == 2
    (options,) = given
    assert options.patience == 3, "of validations, and of rounds, where a strategy trains in rounds"
    (train,) = (step for step in pipeline(options).steps if isinstance(step, Train))
    assert train.settings.patience == 3


@pytest.mark.slow
def test_a_dry_run_counts_the_chips_that_a_share_of_them_takes(cli: Cli, tmp_path: Path) -> None:
    """What is tested first has nine tenths of the chance of error, the other a tenth, which takes more chips."""
    told = cli(*SHORT, "--objective", "macs", "--steps", 1, "--yield", "95%", "--work-dir", tmp_path)
    assert told.exit_code == 0, told.stderr
    units = {step["what"]: step["units"] for step in json.loads(told.stdout)["steps"]}
    assert units["before training: verifying"] < units["after training: verifying"]


def test_what_a_search_is_after_goes_with_retraining_but_not_with_its_walks(cli: Cli, digits: Task) -> None:
    walk = PartitionOptions("digits-narrow", digits, retrain=True, strategy="lionheart")
    for options in (replace(walk, objective="energy"), replace(walk, max_tiles=3), replace(walk, group=("block",))):
        with pytest.raises(UsageError, match=r"'lionheart' with --retrain walks by MACs.*--group cannot go with it"):
            lhc.partition.of(options)
    with pytest.raises(UsageError, match="a plan says where every layer goes"):
        lhc.partition("digits-narrow", digits, retrain=True, plan="plan.yaml")
    said = cli("partition", "digits-narrow", "--retrain", "--objective", "speed", "-o", "unwritten.onnx").stderr
    assert "--objective 'speed': choose energy, latency, macs" in said, "an objective is taken"


@pytest.mark.slow
def test_a_dry_run_counts_the_training(cli: Cli, tmp_path: Path) -> None:
    """Ranking, search and verification before it and after it, its steps, and its five validations on three chips."""
    told = cli(*SHORT, "--objective", "macs", "--steps", 30, "--work-dir", tmp_path)
    assert told.exit_code == 0, told.stderr
    steps = {step["what"]: step for step in json.loads(told.stdout)["steps"]}
    searching = [what for what in steps if "searching, at most" in what]
    assert [what.split(":")[0] for what in searching] == ["before training", "after training"]
    assert steps["training"]["units"] == 30
    assert steps["training"]["seconds"] > 0
    assert steps["validating"]["units"] == 5
    assert steps["after training: verifying"]["units"] == steps["before training: verifying"]["units"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "more", "rounds"),
    [
        ("lionheart", (), "training, at most 4 rounds a candidate"),
        ("lionheart-original", ("--rounds", 3), "training, at most 3 rounds a candidate"),
        ("lionheart-original", (), "training, at least 2 rounds a candidate"),
    ],
)
def test_a_dry_run_counts_the_rounds_of_walks(
    cli: Cli, strategy: str, more: tuple[object, ...], rounds: str, tmp_path: Path
) -> None:
    told = cli(*SHORT, "--strategy", strategy, "--steps", 5, *more, "--work-dir", tmp_path)
    assert told.exit_code == 0, told.stderr
    document = json.loads(told.stdout)
    steps = {step["what"]: step for step in document["steps"]}
    number = int(rounds.split()[3])
    assert steps[rounds]["units"] == document["layers"] * number * 5
    judged = document["layers"] * (number + (strategy == "lionheart"))
    assert steps["judging candidates"]["units"] == judged
    assert "after training: verifying" in steps
    assert not any(what.startswith("after training: searching") for what in steps), "the walk was the search"
