"""No command judges chips on samples that they were calibrated on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lhc
from lhc.commands.robustness import at_ages
from lhc.hardware import Hardware
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.measure import Measurement, PlacementEvaluator, Running
from lhc.measure.evaluation_context import Block
from lhc.models import zoo_entry
from lhc.options.by_command import PartitionOptions, RetrainOptions, RobustnessOptions
from lhc.pipeline.inputs.training_inputs import read_training_inputs
from lhc.pipeline.pipeline_state import PreparedNetwork
from lhc.samples.task import Samples

pytestmark = pytest.mark.analog

HARDWARE = Hardware.load("lionheart").model_copy(
    update={"compensation": Compensation(outputs="affine", samples=16, reads=2)}
)
FEW = ("layer2.*",)
LAYERS = ["layer2.0.conv1", "layer1.0.conv2"]
SOME: dict[str, Any] = {"hardware": HARDWARE, "draws": 2}


def rows(inputs: Samples) -> set[bytes]:
    return {row.tobytes() for row in np.asarray(inputs)}


@dataclass
class Spy:
    """Every measurement of chips.

    Attributes:
        seen: on calibrated ones: what it was for, and how many samples calibrated and judged at once.
        uncalibrated: on others: what it was for.
    """

    seen: list[tuple[str, int]] = field(default_factory=list)
    uncalibrated: set[str] = field(default_factory=set)

    def look(self, evaluator: PlacementEvaluator, placement: frozenset[str], what: str) -> None:
        if not placement:
            return
        if evaluator.calibration is None:
            self.uncalibrated.add(what)
        else:
            (name,) = evaluator.task.inputs
            shared = rows(evaluator.task.inputs[name]) & rows(evaluator.calibration.inputs[name])
            self.seen.append((what, len(shared)))

    def faults(self, ranks: bool) -> list[tuple[str, int]]:
        """Those that judge on calibration samples; where samples are split, these may rank, and guide a search."""
        return [
            (what, n) for what, n in self.seen if n and not (ranks and what.startswith(("sensitivity", "searching")))
        ]


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spy]:
    spy, measure = Spy(), PlacementEvaluator.measure

    def spied(
        self: PlacementEvaluator,
        placement: frozenset[str],
        draws: range,
        what: str = "measuring",
        t_s: float | None = None,
    ) -> Measurement:
        spy.look(self, placement, what)
        return measure(self, placement, draws, what, t_s)

    monkeypatch.setattr(PlacementEvaluator, "measure", spied)
    yield spy
    assert spy.seen, "nothing was measured on calibrated chips"
    wanted = {what for what in spy.uncalibrated if what.startswith("attribution") and what.endswith("calibration")}
    compared = {"what healing brings", "checking the calibration"}
    assert spy.uncalibrated - wanted <= compared, "chips are judged without their calibration"


def partition(samples: int | None, **asked: object) -> lhc.PartitionResult:
    common: dict[str, Any] = {
        "samples": samples,
        "objective": "macs",
        "include": FEW,
        "max_drop": 0.1,
        "method": "measure",
    }
    return lhc.partition.of(replace(PartitionOptions("digits-narrow"), **(common | SOME | asked)))


TRAINING: dict[str, Any] = {"steps": 4, "batch_size": 32, "validations": 1}
QUICK: dict[str, Callable[[int], object]] = {
    "run": lambda n: lhc.evaluate("digits-narrow", samples=n, placement=LAYERS, **SOME),
    "robustness": lambda n: lhc.robustness("digits-narrow", samples=n, placement=LAYERS, times=[0], chips=2, **SOME),
    "sensitivity": lambda n: lhc.sensitivity("digits-narrow", samples=n, include=FEW, method="measure", **SOME),
    "attribute": lambda n: lhc.attribute("digits-narrow", samples=n, include=LAYERS[:1], **SOME),
    "pareto": lambda n: lhc.pareto("digits-narrow", samples=n, include=FEW, points=2, method="measure", **SOME),
    "partition": partition,
}
COMMANDS = QUICK | {
    "compile": lambda n: lhc.compile("digits-narrow", samples=n, hardware=HARDWARE, objective="macs", max_drop=0.9),
}
TRAINED: dict[str, Callable[[], object]] = {
    "retrain": lambda: lhc.retrain("digits-narrow", placement=LAYERS, **TRAINING, **SOME),
    "partition --retrain": lambda: partition(None, retrain=True, max_drop=1e-3, **TRAINING),
}


@pytest.mark.parametrize("samples", [60, 420], ids=["whole", "split"])
@pytest.mark.parametrize(
    "command", [pytest.param(c, marks=pytest.mark.slow) if c == "compile" else c for c in COMMANDS]
)
def test_no_command_judges_on_calibration_samples(command: str, samples: int, spy: Spy) -> None:
    COMMANDS[command](samples)
    assert not spy.faults(ranks=samples >= 400)


@pytest.mark.slow
@pytest.mark.parametrize("command", TRAINED)
def test_no_training_is_verified_on_calibration_samples(command: str, spy: Spy) -> None:
    """What calibrates may watch the course of a training, and choose the layers in the way; others judge these."""
    TRAINED[command]()
    assert not [fault for fault in spy.faults(ranks=True) if not fault[0].startswith(("validating", "in the way:"))]


@pytest.mark.slow
def test_a_placement_is_run_on_the_samples_that_verified_it_and_no_others(spy: Spy, tmp_path: Path) -> None:
    placed = partition(420, strategy="all-analog")
    outcome = placed.plan.outcome
    assert outcome is not None
    found = lhc.robustness(placed.save(tmp_path / "digits.onnx"), "digits-narrow", samples=420, times=[0], chips=2)
    assert found.chips.samples == outcome.samples == 315
    assert not found.differs
    assert not spy.faults(ranks=True)


def test_calibration_on_samples_that_verify_is_seen(spy: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the block is taken from the samples that are judged."""

    def wrong(state: PreparedNetwork) -> Block:
        samples = state.splits.verify.head(16)
        return Block(0, 16, samples.read(0, 16)[0], None, samples.digest)

    monkeypatch.setattr(PreparedNetwork, "calibration", property(wrong))
    for command, samples in (("run", 60), ("partition", 420)):
        spy.seen.clear()
        COMMANDS[command](samples)
        assert spy.faults(ranks=True)


def test_fewer_samples_than_the_machine_asks_for_are_said(caplog: pytest.LogCaptureFixture) -> None:
    lhc.evaluate("digits-narrow", samples=20, placement=LAYERS, **SOME)
    (text,) = [record.getMessage() for record in caplog.records if "calibrated" in record.getMessage()]
    assert (
        text
        == "digits-narrow: chips are calibrated on 5 samples; the hardware asks for 16, and fewer correct their outputs"
        " less exactly. Samples that judge chips cannot calibrate them too: give 64 in all, or others with `calibrate`"
        " FILE"
    )
    caplog.clear()
    # A command that has no --calibrate does not name it.
    lhc.sensitivity("digits-narrow", samples=28, include=LAYERS[:1], method="fisher", **SOME)
    (text,) = [record.getMessage() for record in caplog.records if "calibrated" in record.getMessage()]
    assert text.endswith(
        "on 7 samples; the hardware asks for 16, and fewer correct their outputs less exactly. Samples that judge chips"
        " cannot calibrate them too: give 64 in all"
    )
    caplog.clear()
    lhc.robustness("digits-narrow", samples=20, placement=LAYERS, times=[0], chips=2, **SOME)
    (text,) = [record.getMessage() for record in caplog.records if "calibrated" in record.getMessage()]
    assert text.endswith(
        "on 5 samples; the hardware asks for 16, and fewer correct their outputs less exactly. Samples that judge chips"
        " cannot calibrate them too: give 64 in all"
    )
    caplog.clear()
    lhc.evaluate("digits-narrow", samples=32, placement=LAYERS, **SOME)  # half of them: told beside results alone
    assert not [record for record in caplog.records if "calibrated" in record.getMessage()]


def test_samples_that_are_given_for_it_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The network is looked at before they are read, when some of the data would calibrate."""
    every = zoo_entry("digits-narrow").task()
    task, others = every.head(20), every.take(slice(20, 40))
    asked: dict[str, Any] = {"data": task, "placement": LAYERS, **SOME}
    (found,) = lhc.evaluate("digits-narrow", calibrate=others.head(16), **asked)
    assert (found.samples, found.calibrated) == (20, 16)
    assert not [record for record in caplog.records if "calibrated" in record.getMessage()]
    (found,) = lhc.evaluate("digits-narrow", calibrate=others.head(6), **asked)
    (text,) = [record.getMessage() for record in caplog.records if "calibrated" in record.getMessage()]
    assert text.endswith(". `calibrate` holds no more: give it 16")


def test_retraining_says_which_samples_calibrate(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody gave any for it: a third of a fifth of the data does."""
    machine = HARDWARE.model_copy(update={"compensation": Compensation(outputs="affine", samples=64)})
    asked = RetrainOptions("digits-narrow", samples=150, placement=LAYERS, hardware=machine)
    with Running(asked) as running:
        assert read_training_inputs(asked, running).state.calibrated_on == 10
    (text,) = [record.getMessage() for record in caplog.records if "chips are calibrated" in record.getMessage()]
    assert text.endswith(
        "on 10 samples; the hardware asks for 64, and fewer correct their outputs less exactly. A third of the samples"
        " that judge watches the training and calibrates chips. Give 192 that judge: as --data beside --train-data,"
        " or as a fifth of --data alone"
    )


def test_placements_at_ages_say_what_they_were_calibrated_on() -> None:
    aged = at_ages(RobustnessOptions("digits-narrow", samples=32, placement=LAYERS, **SOME), [60.0, 0.0])
    assert [(one.t_s, one.calibrated) for one in aged] == [(0.0, 8), (60.0, 8)]


def test_where_nothing_is_analog_all_samples_are_judged(caplog: pytest.LogCaptureFixture) -> None:
    (found,) = lhc.evaluate("digits-narrow", samples=20, **SOME)
    assert (found.samples, found.calibrated) == (20, 0)
    assert not [record for record in caplog.records if "calibrated" in record.getMessage()]


def test_samples_that_do_not_fit_in_memory_together_are_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least one sample for every read stays."""
    monkeypatch.setattr("lhc.runtime.onnxruntime.batched_calls.CALIBRATION_BYTES", 1)
    lhc.evaluate("digits-narrow", samples=200, placement=LAYERS, **SOME)
    (text,) = [record.getMessage() for record in caplog.records if "calibrated" in record.getMessage()]
    assert text.startswith("digits-narrow: chips are calibrated on 2 samples; the hardware asks for 16, ")
    assert text.endswith(". More do not fit in memory together")
