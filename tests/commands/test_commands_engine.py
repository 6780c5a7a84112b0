"""``--engine``: said wherever its numbers are, and never mixed with those of another engine."""

import logging
from pathlib import Path

import pytest

import lhc
from lhc.errors import UsageError
from lhc.hardware import Dac, Hardware
from lhc.report.json_documents import evaluations_document, partition_document, sensitivity_document
from lhc.report.placement_lines import partition_head
from lhc.runtime import HybridSession
from tests.runtime.pretended_gpu import pretended_gpu

pytestmark = pytest.mark.analog

ASKED = {"samples": 300, "draws": 2, "max_drop": "20%", "explain": False}


CAUTIONS = {
    "fast16": "rounds programmed weights to 16 bits",
    "torch": "PyTorch has no GPU here and computes on the CPU",
}


@pytest.mark.parametrize("engine", ["fast", *CAUTIONS])
def test_the_engine_is_said_beside_its_numbers(engine: str, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with caplog.at_level(logging.WARNING, "lhc"):
        result = lhc.partition("digits-narrow", strategy="all-analog", engine=engine, **ASKED)  # type: ignore[arg-type]
    assert [name for name, text in CAUTIONS.items() if text in caplog.text] == ([] if engine == "fast" else [engine])
    assert (f"computed by the engine {engine}" in partition_head(result)) == (engine != "fast")
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


def test_the_engine_torch_names_the_gpu_that_it_computes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = {"all_analog": True, "samples": 40, "draws": 2}
    fast = lhc.evaluate("digits-narrow", **asked)[0]  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING, "lhc"), pretended_gpu(monkeypatch) as computed:
        found = lhc.evaluate("digits-narrow", engine="torch", **asked)[0]  # type: ignore[arg-type]
    assert "computes products on GPU X; lhc was tested without a GPU" in caplog.text
    assert computed["matmul"] > 0
    assert found.values == fast.values


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
