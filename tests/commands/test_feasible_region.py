"""Which numbers of the machine hold the budget, on a tiny network."""

import csv
import json
from dataclasses import replace
from io import StringIO
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import lhc
from lhc.commands.feasible_region import on_machines
from lhc.errors import NotFiniteError, UsageError
from lhc.hardware import Hardware
from lhc.hardware.description.overrides import Override
from lhc.measure import Budget, PlacementEvaluator
from lhc.options.by_command import RegionOptions
from lhc.pipeline.inputs.varied_fields import with_values
from lhc.pipeline.steps.explain.feasible_region import point_verdict
from lhc.plan import Outcome
from lhc.report.exports.formats import read_report
from lhc.report.wording.feasible_region import boundary_lines
from lhc.results import Evaluation, PointVerdict, RegionLine
from tests.conftest import Cli
from tests.networks import drawn, parsed
from tests.report.made_reports import made_region

pytestmark = pytest.mark.analog

TWO = ("devices.programming_noise_scale=0.25..4", "adc.bits=4..8")
NETWORK = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 24] x) => (float[N, 10] y)
    {h = MatMul(x, a) r = Relu(h) y = MatMul(r, b)}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A placed network of two products and its samples."""
    folder = tmp_path_factory.mktemp("region")
    np.savez(folder / "data.npz", x=np.random.default_rng(1).normal(size=(80, 24)).astype(np.float32))
    network = parsed(NETWORK, drawn({"a": (24, 32), "b": (32, 10)}))
    placed = lhc.partition(
        network, data=folder / "data.npz", metric="nmse", strategy="all-analog", max_drop=0.02, draws=6, max_draws=6,
        objective="macs", explain=False, confidence=0.8,
    )  # fmt: skip
    placed.save(folder / "placed.lhc.onnx")
    return folder


def asked(folder: Path, *vary: str, **more: object) -> RegionOptions:
    options = {"data": folder / "data.npz", "max_drop": 0.02, "vary": vary, **more}
    return RegionOptions(str(folder / "placed.lhc.onnx"), **options)  # type: ignore[arg-type]


def evaluations(found: lhc.RegionResult) -> list[Evaluation]:
    return [point.evaluation for point in found.points if point.evaluation is not None]


@pytest.mark.slow
def test_the_boundary_is_that_of_the_whole_grid(folder: Path, tmp_path: Path) -> None:
    options = asked(folder, *TWO, work_dir=tmp_path)
    found = lhc.feasible_region.of(options)
    assert found.complete
    assert found.steady
    assert [field.more_is_better for field in found.fields] == [False, True]
    machine = Hardware.load("lionheart")
    grid = list(product(*(field.values for field in found.fields)))
    every = dict(zip(grid, on_machines(options, (with_values(machine, found.fields, at) for at in grid)), strict=True))
    assert {point.values: point.evaluation for point in found.points}.items() <= every.items()
    budget = Budget(0.02, confidence=found.example.confidence)
    verdicts = {at: point_verdict(one, budget) for at, one in every.items()}
    assert set(verdicts.values()) == {"shown", "not shown", "broken"}
    for line in found.lines:
        held = [scale for scale, bits in grid if bits == line.at and verdicts[scale, bits] == "shown"]
        assert line.held == max(held, default=None)
    for at, verdict in verdicts.items():
        # A wide interval of a machine by itself may not show what follows from a better one that breaks the budget.
        assert found.verdict(*at) in (verdict, "not shown", "broken" if every[at].drop > 0.02 else verdict)
    assert sum(found.verdict(*at) == verdict for at, verdict in verdicts.items()) >= 0.9 * len(grid)
    assert len(found.points) <= 16 < len(grid)


def test_at_the_machines_own_numbers_it_is_the_verification(folder: Path) -> None:
    outcome = read_outcome(folder)
    found = lhc.feasible_region.of(asked(folder, "adc.bits=4,8", max_drop=None))
    (own,) = (point for point in found.points if point.values == (8,))
    assert found.fields[0].own == 8
    assert own.evaluation is not None
    assert own.evaluation.deciding(found.generalized) == outcome.interval
    assert (own.evaluation.draws, own.evaluation.seed) == (outcome.draws, outcome.seed)
    assert (own.verdict == "shown") == outcome.within_budget


def read_outcome(folder: Path) -> Outcome:
    plan = lhc.inspect(str(folder / "placed.lhc.onnx"))
    assert plan is not None
    assert plan.outcome is not None
    return plan.outcome


def test_the_time_of_inference_is_a_number_too(folder: Path) -> None:
    told: set[str] = set()
    found = lhc.feasible_region.of(
        asked(folder, "t_inference_s=0,1h,10y", max_drop=0.004, progress=lambda what, done, total: told.add(what))
    )
    assert {point.values[0] for point in found.points} == {one.t_s for one in evaluations(found)}
    assert found.fields[0].more_is_better is False
    assert any("t_inference_s 10 years" in what for what in told), "as the table says it"
    other = lhc.feasible_region.of(asked(folder, "adc.bits=4,8", t_inference="1h"))
    assert {one.t_s for one in evaluations(other)} == {3600.0}


def test_a_placement_that_is_searched_anew_has_to_have_as_many_macs_on_tiles(folder: Path) -> None:
    found = lhc.feasible_region.of(asked(folder, "adc.bits=2,8", search_anew=True, max_drop=0.05, draws=3))
    by_bits = {point.values[0]: point for point in found.points}
    assert (by_bits[8].verdict, by_bits[8].analog_mac_fraction) == ("shown", 1.0)
    assert (by_bits[2].verdict, by_bits[2].analog_mac_fraction < 1) == ("not shown", True)
    assert "has as large a share of MACs on tiles as the given one" in found.summary
    assert "MACs analog" in found.as_table().headers


def test_values_that_are_not_finite_break_every_budget(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluated(self: PlacementEvaluator, *given: object, **more: object) -> Evaluation:
        if self.hardware.adc.bits == 4:
            raise NotFiniteError("NaN")
        return evaluate(self, *given, **more)  # type: ignore[arg-type]

    evaluate = PlacementEvaluator.evaluate
    monkeypatch.setattr(PlacementEvaluator, "evaluate", evaluated)
    found = lhc.feasible_region.of(asked(folder, "adc.bits=4,8", max_drop=0.05))
    assert [(point.verdict, point.evaluation is None) for point in found.points] == [("broken", True), ("shown", False)]
    assert found.as_table().rows[0][1:4] == ["NaN", "-", "-"]
    assert found.verdict(3.0) == "broken"


def test_layers_keep_the_numbers_of_their_overrides(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = Hardware.load("lionheart").model_copy(update={"overrides": (Override(layers="*", adc={"bits": 8}),)})
    found = lhc.feasible_region.of(asked(folder, "adc.bits=4,8", hardware=own))
    assert "layers * keep the adc.bits of their override" in caplog.text
    assert len({one.drop for one in evaluations(found)}) == 1


def test_a_share_of_the_chips_is_counted_at_every_machine(folder: Path) -> None:
    found = lhc.feasible_region.of(asked(folder, "adc.bits=4,8", yield_share="70%", confidence=0.8))
    assert {one.draws for one in evaluations(found)} == {21}, "with seven a few could not fail"
    assert "and by 70 % of the chips one by one" in found.as_table().headers[-1]
    with pytest.raises(UsageError, match=r"--draws 6: --yield 0\.7 takes 7 chips"):
        lhc.feasible_region.of(asked(folder, "adc.bits=4,8", yield_share="70%", confidence=0.8, draws=6))


@pytest.mark.slow
def test_the_command_prints_every_form_and_writes_a_report(folder: Path, cli: Cli, tmp_path: Path) -> None:
    common = ["robustness", folder / "placed.lhc.onnx", "--data", folder / "data.npz", "--max-drop", "0.02", "-q"]
    common += [word for text in TWO for word in ("--vary", text)] + ["--work-dir", tmp_path]
    table = cli(*common, "--report", tmp_path / "report.html")
    assert table.exit_code == 0, table.stderr
    assert "at adc.bits 8: holds with devices.programming_noise_scale" in table.stdout
    rows = list(csv.DictReader(StringIO(cli(*common, "--format", "csv").stdout)))
    document = json.loads(cli(*common, "--json").stdout)
    assert [float(row["adc.bits"]) for row in rows] == [point["values"][1] for point in document["points"]]
    assert {row["holds a mean rise of 0.02"] for row in rows} == {"shown", "not shown", "broken"}
    assert [line["at"] for line in document["lines"]] == [4, 5, 6, 7, 8]
    page = (tmp_path / "report.html").read_text()
    assert "What the machine must be" in page
    assert "<title>devices.programming_noise_scale 0.25, adc.bits 8: shown, rise" in page, "points of the picture"
    cli(*common, "--report", tmp_path / "report.json")
    region = read_report(tmp_path / "report.json").region
    assert region is not None
    assert len(region.points) == len(rows)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--vary", "adc.bit=4..8"], "nearest: adc.bits"),
        (["--vary", "adc.bits=4..8", "--chips", "5"], "--chips is for the spread over chips"),
        (["--vary", "adc.bits=4..8", "--t-inference", "0,1h"], "one time is looked at"),
        (["--replace"], "--replace goes with --vary"),
        (["--vary", "adc.bits=4..8", "--vary", "adc.noise=0..1", "--vary", "dac.bits=4..8"], "one or two fields"),
    ],
    ids=lambda one: "" if isinstance(one, str) else " ".join(one),
)
def test_what_cannot_be_varied_is_refused(folder: Path, cli: Cli, words: list[str], why: str) -> None:
    done = cli("robustness", folder / "placed.lhc.onnx", "--data", folder / "data.npz", "-q", *words)
    assert done.exit_code == 2
    assert why in done.stderr


def test_without_fields_there_is_no_region(folder: Path) -> None:
    with pytest.raises(UsageError, match="name a field of the hardware and its values"):
        lhc.feasible_region(str(folder / "placed.lhc.onnx"))


@pytest.mark.parametrize("verdict", ["broken", "not shown"])
def test_the_first_machine_that_does_not_hold_is_called_what_it_is(verdict: PointVerdict) -> None:
    region = made_region()
    first = replace(region.points[0], values=(1.0, 8.0), verdict="shown")
    beyond = replace(region.points[1], values=(2.0, 8.0), verdict=verdict)
    lines = (RegionLine(8.0, 1.0, 2.0),)
    (told,) = boundary_lines(replace(region, points=(first, beyond), lines=lines))
    assert told == f"at adc.bits 8: holds with adc.noise up to 1; {verdict} at 2"
