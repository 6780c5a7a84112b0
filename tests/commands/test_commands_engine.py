"""``--engine fast16``: said wherever its numbers are, and never mixed with those of the engine fast."""

import logging
from pathlib import Path

import pytest

import lhc
from lhc.errors import UsageError
from lhc.hardware import Dac, Hardware
from lhc.report.json_documents import evaluations_document, partition_document, sensitivity_document
from lhc.report.placement_lines import partition_head
from lhc.runtime import HybridSession

pytestmark = pytest.mark.analog

ASKED = {"samples": 300, "draws": 2, "max_drop": "20%", "explain": False}


@pytest.mark.parametrize("engine", ["fast", "fast16"])
def test_the_engine_is_said_beside_its_numbers(engine: str, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with caplog.at_level(logging.WARNING, "lhc"):
        result = lhc.partition("digits-narrow", strategy="all-analog", engine=engine, **ASKED)  # type: ignore[arg-type]
    other = engine == "fast16"
    assert ("rounds programmed weights to 16 bits" in caplog.text) == other
    assert ("computed by the engine fast16" in partition_head(result)) == other
    assert partition_document(result)["engine"] == engine
    result.save(tmp_path / "placed.onnx")
    plan = HybridSession(tmp_path / "placed.onnx").plan
    assert plan is not None
    assert plan.outcome is not None
    assert plan.outcome.engine == engine


def test_tables_name_it() -> None:
    found = lhc.evaluate("digits-narrow", all_analog=True, samples=40, draws=2, engine="fast16")
    assert evaluations_document(found)["engine"] == "fast16"
    table = lhc.sensitivity("digits-narrow", samples=40, draws=2, engine="fast16", method="measure")
    assert sensitivity_document(table)["engine"] == "fast16"


def test_kept_results_of_one_engine_are_not_those_of_the_other(tmp_path: Path) -> None:
    def values(engine: str, work_dir: Path | None) -> tuple[float, ...]:
        asked = {"all_analog": True, "samples": 60, "draws": 3, "metric": "kl", "work_dir": work_dir}
        return lhc.evaluate("digits-narrow", engine=engine, **asked)[0].values  # type: ignore[arg-type]

    fast, fast16 = (values(engine, tmp_path) for engine in ("fast", "fast16"))
    assert fast != fast16
    assert [values(engine, tmp_path) for engine in ("fast", "fast16")] == [fast, fast16]
    assert [values(engine, None) for engine in ("fast", "fast16")] == [fast, fast16]


def test_a_machine_that_it_cannot_stand_for_is_refused_before_anything_is_measured() -> None:
    machine = Hardware.load("lionheart").model_copy(update={"dac": Dac(bits=12)})
    with pytest.raises(UsageError, match=r"its DAC has 12 bits.*choose the engine fast"):
        lhc.partition("digits-narrow", hardware=machine, engine="fast16", samples=40, draws=2)
