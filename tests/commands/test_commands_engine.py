"""``--engine``: said wherever its numbers are, and never mixed with those of another engine."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

import lhc
from lhc.errors import UsageError
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_plan
from lhc.report.document.builder import build_report
from lhc.report.exports.json_documents import evaluations_document, partition_document, sensitivity_document
from lhc.report.wording.placement import partition_head, statements
from lhc.runtime import HybridSession
from lhc.runtime.engines.registry import ENGINES
from tests.runtime.pretended_gpu import pretended_gpu

pytestmark = pytest.mark.analog

ASKED = {"samples": 60, "draws": 2, "max_drop": "100%", "explain": False}
LIONHEART = Hardware.load("lionheart")
CAUTION = "the engine aihwkit computes products, as asked for, on the processor"


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["auto", "aihwkit"])
def test_the_engine_is_said_beside_its_numbers(asked: str, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with caplog.at_level(logging.WARNING, "lhc"):
        result = lhc.partition("digits-narrow", strategy="all-analog", engine=asked, **ASKED)  # type: ignore[arg-type]
    engine = "fast" if asked == "auto" else "aihwkit"
    assert (CAUTION in caplog.text) == (engine == "aihwkit")
    assert ("computed by the engine aihwkit" in partition_head(result)) == (engine == "aihwkit")
    assert partition_document(result)["engine"] == engine
    result.save(tmp_path / "placed.onnx")
    plan = HybridSession(tmp_path / "placed.onnx").plan
    assert plan is not None
    assert plan.outcome is not None
    assert plan.outcome.engine == engine


def test_tables_name_it() -> None:
    found = lhc.evaluate("digits-narrow", all_analog=True, samples=40, draws=2, engine="aihwkit")
    document = evaluations_document(found)
    assert (document["engine"], document["engine_reason"]) == ("aihwkit", "as asked for")
    table = lhc.sensitivity("digits-narrow", samples=40, draws=2, engine="aihwkit", method="measure")
    document = sensitivity_document(table)
    assert (document["engine"], document["engine_reason"]) == ("aihwkit", "as asked for")


@pytest.mark.slow
def test_why_a_machine_needs_the_engine_aihwkit_is_written_down(tmp_path: Path) -> None:
    reason = (
        "since the machine has ADCs whose capacitors differ (adc.capacitor_mismatch), which the engine fast leaves out"
    )
    adc = LIONHEART.adc.model_copy(update={"kind": "sar", "capacitor_mismatch": 0.01})
    machine = LIONHEART.with_fields({"adc": adc})
    result = lhc.partition("digits-narrow", hardware=machine, strategy="all-analog", **ASKED)  # type: ignore[arg-type]
    document = partition_document(result)
    assert (document["engine"], document["engine_reason"], document["conformance"]) == ("aihwkit", reason, None)
    assert f"\nemulation: aihwkit computed every product, {reason}" in partition_head(result)
    stored = read_plan(load_model(result.save(tmp_path / "placed.onnx")))
    assert stored is not None
    assert stored.outcome is not None
    assert stored.outcome.engine_reason == reason
    report = build_report("digits-narrow", result.plan, result.facts)
    assert dict(statements(report))["Emulation"] == f"Emulation: aihwkit computed every product, {reason}."


@pytest.mark.slow
def test_the_engine_names_the_gpu_that_it_computes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = {"all_analog": True, "samples": 40, "draws": 2}
    fast = lhc.evaluate("digits-narrow", **asked)[0]  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING, "lhc"), pretended_gpu(monkeypatch) as computed:
        found = lhc.evaluate("digits-narrow", engine="aihwkit", **asked)[0]  # type: ignore[arg-type]
    assert "computes products, as asked for, on GPU X; lhc was tested without a GPU" in caplog.text
    assert computed["matmul"] > 0
    assert found.values == fast.values


@pytest.mark.slow
def test_kept_results_of_one_engine_are_not_those_of_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = {"fast": 0, "aihwkit": 0}
    for name, engine in ENGINES.items():
        monkeypatch.setattr(type(engine), "matrix", _counting(name, type(engine).matrix, computed))

    def values(engine: Literal["auto", "fast", "aihwkit"], work_dir: Path | None) -> tuple[float, ...]:
        asked = {"all_analog": True, "samples": 60, "draws": 3, "metric": "kl", "work_dir": work_dir}
        return lhc.evaluate("digits-narrow", engine=engine, **asked)[0].values  # type: ignore[arg-type]

    engines: tuple[Literal["fast"], Literal["aihwkit"]] = ("fast", "aihwkit")
    first = [values(engine, tmp_path) for engine in engines]
    assert computed["fast"] > 0
    assert computed["aihwkit"] > 0
    counted = dict(computed)
    assert [values(engine, tmp_path) for engine in engines] == first
    assert values("auto", tmp_path) == first[0]
    # Nothing was measured again; each of the two runs by fast was checked once more, every layer on one chip.
    assert computed == counted | {"fast": counted["fast"] + 2 * 14}
    assert [values(engine, None) for engine in engines] == first


def _counting(name: str, matrix: Callable[..., Any], computed: dict[str, int]) -> Callable[..., Any]:
    def counted(*args: object) -> object:
        computed[name] += 1
        return matrix(*args)

    return counted


@pytest.mark.parametrize("name", ["fast16", "quick"])
def test_an_engine_that_there_is_not_is_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match=rf"^`engine` '{name}': choose auto, fast, aihwkit$"):
        lhc.partition("digits-narrow", engine=name)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=rf"^unknown engine '{name}': choose auto, fast, aihwkit$"):
        HybridSession("digits-narrow.onnx", engine=name)  # type: ignore[arg-type]
