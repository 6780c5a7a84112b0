"""What is written down, and said, of the emulation of a placement."""

from pathlib import Path

import pytest
from pydantic import ValidationError

import lhc
from lhc.onnx_io import load_model, read_plan
from lhc.plan import Conformance, LayerConformance
from lhc.report.exports.json_documents import evaluations_document, partition_document
from lhc.report.wording.outcome import agreement_text
from lhc.report.wording.placement import partition_head

pytestmark = pytest.mark.analog

ASKED = {"samples": 60, "draws": 2, "max_drop": 0.9, "strategy": "all-analog", "explain": False}


def test_a_placement_carries_the_evidence_of_its_emulation(tmp_path: Path) -> None:
    result = lhc.partition("digits-narrow", **ASKED)  # type: ignore[arg-type]
    found = result.plan.conformance
    assert found is not None
    assert {layer.name for layer in found.layers} == result.plan.analog
    assert found.wrong == ()
    stored = read_plan(load_model(result.save(tmp_path / "placed.onnx")))
    assert stored is not None
    assert stored.conformance == found
    document = partition_document(result)["conformance"]
    assert isinstance(document, dict)
    assert document["outputs"] == found.outputs
    counts = f"{len(found.layers)} layers, {found.outputs:,} outputs"
    assert f"emulation checked against aihwkit: {counts}, " in partition_head(result)


@pytest.mark.slow
def test_where_aihwkit_computed_all_it_is_said() -> None:
    result = lhc.partition("digits-narrow", engine="aihwkit", **ASKED)  # type: ignore[arg-type]
    assert result.plan.conformance is None
    assert "emulation: aihwkit computed every product" in partition_head(result)


def _layer(**fields: object) -> LayerConformance:
    known = {"name": "a", "outputs": 1000, "apart": 0, "further": 0, "greatest": 0.0, "column": 0.0}
    return LayerConformance.model_validate(known | fields)


@pytest.mark.parametrize(
    ("fields", "conforms"),
    [
        ({}, True),
        ({"apart": 5, "greatest": 1.0}, True),
        ({"apart": 6, "greatest": 1.0}, False),
        ({"apart": 5, "further": 5, "greatest": 3.0}, False),
        ({"apart": 5, "greatest": 0.3, "column": 0.9}, False),
    ],
    ids=["equal", "few next codes", "many next codes", "further", "a column"],
)
def test_more_than_edges_explain_is_an_error(fields: dict[str, object], conforms: bool) -> None:
    layer = _layer(**fields)
    assert layer.conforms == conforms
    assert (Conformance(layers=(layer,)).wrong == ()) == conforms


def test_an_error_is_not_hidden() -> None:
    result = lhc.partition("digits-narrow", **ASKED)  # type: ignore[arg-type]
    wrong = Conformance(layers=(_layer(name="conv1", apart=100, greatest=2.5),))
    plan = result.plan.model_copy(update={"conformance": wrong})
    head = partition_head(type(result)(plan, result.facts, result.model))
    assert (
        "error: the emulation does not agree with aihwkit in 1 layer: 10 % of 1,000 outputs of 'conv1' differ" in head
    )


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValidationError, match="5 of 4 of 1000 outputs"):
        _layer(apart=4, further=5)


def test_a_run_of_a_placement_is_checked_too() -> None:
    asked = {"all_analog": True, "samples": 40, "draws": 2}
    found = lhc.evaluate("digits-narrow", **asked)  # type: ignore[arg-type]
    assert found.conformance is not None
    assert found.conformance.wrong == ()
    document = evaluations_document(found)["conformance"]
    assert isinstance(document, dict)
    assert document["conforms"] is True
    assert "emulation checked against aihwkit: " in found.summary
    defined = lhc.evaluate("digits-narrow", engine="aihwkit", **asked)  # type: ignore[arg-type]
    assert defined.conformance is None
    assert "emulation: aihwkit computed every product" in defined.summary


@pytest.mark.parametrize(
    ("apart", "further", "told"),
    [
        (0, 0, "none an ADC step apart"),
        (2, 0, "0.2 % one ADC step apart, none more"),
        (3, 1, "0.2 % one ADC step apart, 0.1 % more, of vectors that one of both reads again"),
        (1, 1, "none one ADC step apart, 0.1 % more, of vectors that one of both reads again"),
    ],
)
def test_what_is_apart_is_told_with_its_cause(apart: int, further: int, told: str) -> None:
    found = Conformance(layers=(_layer(apart=apart, further=further, greatest=2.0),))
    assert agreement_text(found, "fast", None) == f"emulation checked against aihwkit: 1 layer, 1,000 outputs, {told}"
