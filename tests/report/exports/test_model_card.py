"""The model card: its front matter as a hub reads it, and what its text leaves out."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from lhc.report.document.report import Report
from lhc.report.exports.model_card import model_card
from tests.report.made_reports import box_outcome


def read(text: str) -> tuple[dict[str, Any], str]:
    """Front matter and body."""
    before, front, body = text.split("---\n", 2)
    assert before == ""
    return yaml.safe_load(front), body


def test_the_model_index_has_the_metric_of_every_measurement(full: Report) -> None:
    front, _ = read(model_card(full))
    (entry,) = front["model-index"]
    assert entry["name"] == "full.lhc.onnx"
    verified, aged = entry["results"]
    assert [(one["type"], one["value"]) for one in verified["metrics"]] == [("accuracy", 0.9), ("accuracy", 0.888)]
    assert verified["metrics"][1]["name"] == "accuracy, on tiles, mean of 10 chips, 1 day after the first read"
    assert [one["value"] for one in aged["metrics"]] == [0.89, 0.886, 0.882, 0.878]
    for result in (verified, aged):
        assert result["task"]["type"] == result["dataset"]["type"] == "other", "lhc does not know them"


def test_further_outputs_have_metrics_of_their_own(full: Report) -> None:
    assert full.plan.outcome is not None
    box = box_outcome(0.02, (0.01, 0.03))
    outcome = full.plan.outcome.model_copy(update={"further": (box,)})
    report = full.model_copy(update={"plan": full.plan.model_copy(update={"outcome": outcome})})
    metrics = read(model_card(report))[0]["model-index"][0]["results"][0]["metrics"]
    assert [(one["type"], one["value"]) for one in metrics[2:]] == [("nmse", 0.0), ("nmse", 0.02)]


def test_huggingface_hub_reads_it(full: Report) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard(model_card(full))
    assert card.data.library_name == "onnx"
    assert "analog-in-memory-computing" in card.data.tags
    assert [one.metric_value for one in card.data.eval_results] == [0.9, 0.888, 0.89, 0.886, 0.882, 0.878]


def test_a_changed_model_has_no_metrics_and_the_warning(full: Report) -> None:
    front, body = read(model_card(full.model_copy(update={"warnings": ("full.onnx has changed since.",)})))
    assert "model-index" not in front
    assert "> full.onnx has changed since." in body


def test_it_says_how_it_was_measured_and_that_no_chip_was(full: Report) -> None:
    _, body = read(model_card(full))
    assert "emulation of lionheart" in body
    assert "no chip was measured" in body
    for heading in ("Reasons", "Over time", "Data and statistics", "Machine, versions, commands"):
        assert f"\n## {heading}\n" in body
    assert "| analog | budget: within the budget together | 17 | 61.8 % |" in body


def test_commands_are_those_that_the_model_carries(full: Report) -> None:
    """What was typed names folders of the user's; what the model carries does not."""
    assert "my data" in " ".join(full.commands)
    assert "my data" not in model_card(full)
    plan = full.plan.model_copy(update={"command": "lhc partition full.onnx --data data.npz"})
    assert "```\nlhc partition full.onnx --data data.npz\n```" in model_card(full.model_copy(update={"plan": plan}))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda plan: {"outcome": None}, id="not judged"),
        pytest.param(lambda plan: {"outcome": None, "layers": ()}, id="nothing to place"),
    ],
)
def test_without_a_measurement_there_is_no_result(full: Report, change: Callable[[object], dict[str, object]]) -> None:
    report = full.model_copy(
        update={"plan": full.plan.model_copy(update=change(full.plan)), "times": (), "costs": None}
    )
    front, body = read(model_card(report.model_copy(update={"robustness": None, "infeasibility": None, "front": None})))
    assert "model-index" not in front
    assert body.startswith("\n# full.lhc.onnx on lionheart: ")
