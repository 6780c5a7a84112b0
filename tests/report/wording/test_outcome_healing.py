"""What is said of copies of weights and calibrated chips: on the terminal, in JSON, and in the report."""

import json
from dataclasses import replace

import onnx
import pytest

from lhc.hardware import Faults, Tiles
from lhc.onnx_io import annotate, load_model, read_graph, read_plan
from lhc.pipeline.analysis_and_partition_results import PartitionResult
from lhc.pipeline.inputs.model_source import open_model
from lhc.plan import HarmfulCalibration, Healing, Outcome, Plan
from lhc.report.document.builder import build_report
from lhc.report.document.page_content import machine_facts
from lhc.report.document.report import Report
from lhc.report.exports.formats import parse_report
from lhc.report.exports.json_documents import evaluations_document, inspection_document, placement_document
from lhc.report.exports.markdown import markdown
from lhc.report.tables.command_results import Evaluations
from lhc.report.tables.difference import compare
from lhc.report.wording.model_file import inspection_footer
from lhc.report.wording.outcome import healing_text
from lhc.report.wording.placement import partition_head, statements
from tests.report.made_reports import evaluated, judged, place, transformer

BOTH = Healing(
    draws=3,
    samples=250,
    neither=0.044,
    copies=0.028,
    calibration=0.024,
    both=0.013,
    calibration_samples=200,
    reads=4,
)
SENTENCE = (
    "mean drop on the first 3 of the 10 chips, these samples: without healing 4.40 points, with copies 2.80, with"
    " calibration 2.40, with both 1.30 (no interval)"
)


def healed(healing: Healing | None, copies: int = 3) -> tuple[onnx.ModelProto, Plan]:
    """A transformer whose first analog layer has copies, with made-up drops."""
    proto, plan = judged(*place(transformer(1), lambda index: index % 3 > 0))
    assert plan.outcome is not None
    model = load_model(proto)
    graph = read_graph(model)
    first = next(layer.name for layer in plan.layers if layer.placement == "analog")
    outcome = plan.outcome.model_copy(update={"healing": healing})
    plan = plan.with_copies(graph, {first: copies}).model_copy(update={"outcome": outcome})
    return annotate(model, plan, graph), plan


def report_of(healing: Healing | None = BOTH, copies: int = 3, **compensation: object) -> Report:
    proto, plan = healed(healing, copies)
    machine = plan.hardware
    changed = machine.compensation.model_copy(update=compensation)
    plan = plan.model_copy(update={"hardware": machine.model_copy(update={"compensation": changed})})
    return build_report("m.lhc.onnx", plan, read_graph(load_model(proto)))


def outcome_with(**changes: object) -> Outcome:
    outcome = healed(BOTH)[1].outcome
    assert outcome is not None
    return outcome.model_copy(update=changes)


def test_the_sentence_has_its_unit_once_and_only_what_was_measured() -> None:
    assert healing_text(outcome_with()) == SENTENCE
    alone = BOTH.model_copy(update={"copies": None, "both": None})
    assert healing_text(outcome_with(healing=alone)) == (
        "mean drop on the first 3 of the 10 chips, these samples: without healing 4.40 points, with calibration 2.40"
        " (no interval)"
    )
    few = healing_text(outcome_with(draws=3))
    assert few is not None
    assert few.startswith("mean drop on the 3 chips, these samples: without healing ")
    relative = healing_text(outcome_with(drop_type="relative"))
    assert relative is not None
    assert ": without healing 4.40 % of the digital value, with copies 2.80, " in relative
    assert healing_text(outcome_with(healing=None)) is None


def test_inspect_says_what_healing_brought_between_machine_and_summary() -> None:
    proto, plan = healed(BOTH)
    first, *_, second, _ = inspection_footer(load_model(proto), plan).splitlines()
    assert first.startswith("hardware lionheart")
    assert second == SENTENCE
    assert "healing" not in inspection_footer(load_model(proto), healed(None)[1])


def test_the_annotations_and_the_json_of_a_placed_model_hold_it() -> None:
    opened = open_model(healed(BOTH)[0])
    stored = read_plan(opened.model)
    assert stored is not None
    document = inspection_document(opened, stored)
    assert document["healing"] == BOTH.model_dump()
    (result,) = (entry.value for entry in opened.model.proto.metadata_props if entry.key == "lhc.result")
    assert json.loads(result)["healing"] == BOTH.model_dump()
    none = open_model(healed(None)[0])
    plan = read_plan(none.model)
    assert plan is not None
    assert inspection_document(none, plan)["healing"] is None


def test_the_first_screen_says_what_healing_brought() -> None:
    assert dict(statements(report_of()))["Healing"] == f"{SENTENCE}."
    assert "Healing" not in dict(statements(report_of(None)))
    assert "with both 1.30" in markdown(report_of())


def test_calibration_that_does_harm_is_told_with_both_figures() -> None:
    harm = HarmfulCalibration(calibrated=0.05051, uncalibrated=0.04094, chips=2, samples=100)
    proto, plan = healed(None)
    outcome = outcome_with(healing=None, harmful_calibration=harm)
    plan = plan.model_copy(update={"outcome": outcome})
    graph = read_graph(load_model(proto))
    told = dict(statements(build_report("m.lhc.onnx", plan, graph)))["Calibration"]
    assert told.startswith("Chips are not calibrated, since that does harm here")
    assert "0.05051 calibrated and 0.04094 as they are" in told
    result = PartitionResult(plan, graph, load_model(proto))
    assert harm.text in partition_head(result, details=True)
    assert harm.text not in partition_head(result)
    assert placement_document(result)["harmful_calibration"] == harm.model_dump()
    stored = read_plan(load_model(annotate(load_model(proto), plan, graph)))
    assert stored is not None
    assert stored.outcome == outcome


def test_the_report_says_what_is_corrected_and_what_that_asks_of_the_machine() -> None:
    facts = dict(machine_facts(report_of()))
    assert facts["copies"] == "tiles hold the weights of 1 of 5 analog layers more than once, up to 3 times"
    assert facts["calibration"] == (
        "gain and offset of every column of every chip, on 200 samples without labels over 4 reads, with every"
        " read-out of drift compensation, so at the time of inference"
    )
    # Six tokens, five layers of four inputs each, and two more copies of one.
    assert facts["asks of the machine"] == (
        "168 rows of tiles driven per sample, 120 without copies; a forward pass of 200 samples for every calibration"
        " of a chip"
    )


def test_the_report_says_which_faults_chips_have() -> None:
    report = report_of()
    assert report.plan is not None
    assert "faults of chips" not in dict(machine_facts(report))
    faults = {"faults": Faults(stuck_low=0.01, column_offset=0.2, remap=True)}
    plan = report.plan.model_copy(update={"hardware": report.plan.hardware.model_copy(update=faults)})
    said = dict(machine_facts(report.model_copy(update={"plan": plan})))["faults of chips"]
    assert said == "stuck low 0.01, column offset 0.2, weights mapped around 100 % of the stuck cells"


@pytest.mark.parametrize(
    ("when", "time_s", "said"),
    [
        ("programming", None, "once, at the first read"),
        ("age", 3600.0, "once, 1 hour after the first read"),
        ("period", 31536000.0, "at the first read and every 1 year after it"),
    ],
)
def test_the_report_says_when_chips_are_calibrated(when: str, time_s: float | None, said: str) -> None:
    facts = dict(machine_facts(report_of(when=when, time_s=time_s, outputs="offset")))
    assert facts["calibration"].startswith("offset of every column")
    assert facts["calibration"].endswith(said)


def test_a_machine_without_healing_has_no_such_facts() -> None:
    facts = dict(machine_facts(report_of(None, copies=1, outputs="none")))
    assert not facts.keys() & {"copies", "calibration", "asks of the machine"}
    chips = BOTH.model_copy(update={"calibration": None, "both": None, "calibration_samples": 0, "reads": 0})
    assert "calibration" not in dict(machine_facts(report_of(chips))), "there were no samples for it"


def test_rows_that_are_driven_stay_in_the_document_and_are_absent_without_copies() -> None:
    report = report_of()
    assert report.driven_rows is not None
    assert parse_report(report.to_json().encode(), "here") == report
    assert report_of(copies=1).driven_rows is None


def test_diff_says_that_healing_brought_something_else() -> None:
    one, other = healed(BOTH)[1], healed(BOTH.model_copy(update={"both": 0.009}))[1]
    (line, _) = compare(one, other).lines()
    assert line == "mean drops by healing: with both 1.3 -> 0.9 points"


def test_the_json_of_a_run_says_how_many_samples_calibrated_its_chips() -> None:
    assert evaluations_document(Evaluations([replace(evaluated(0.89), calibrated=256)]))["calibrated"] == 256
    assert evaluations_document(Evaluations([evaluated(0.89)]))["calibrated"] == 0


def test_the_report_says_that_tiles_differ_and_which_chip_it_is() -> None:
    report = report_of()
    assert report.plan is not None
    machine = report.plan.hardware.model_copy(
        update={"faults": Faults(map=("", ""), remap=True), "tiles": Tiles(count=2)}
    )
    machine = machine.with_tiles({"conv": (1,)}, "sensitivity")
    plan = report.plan.model_copy(update={"hardware": machine})
    said = dict(machine_facts(report.model_copy(update={"plan": plan})))["faults of chips"]
    assert said == (
        "0 stuck cells of one chip's map: every programming is one of that chip, weights mapped around 100 % of the"
        " stuck cells, tiles: the least sensitive layers lie on the worst tiles"
    )
