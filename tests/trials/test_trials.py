"""What came of trials is kept, not repeated, and shown; nothing that failed is hidden."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trials import trials
from tests.trials.trial_commands import COMMANDS as COMMANDS_OF_LHC
from tests.trials.trial_files import TRIALS
from tests.trials.trial_table import BEGIN, END, Outcomes, read_table, rendered, write_table
from tests.trials.trials import main, outcomes

PAGE = Path(__file__).with_name("table.md")
ANALYZED: dict[str, Any] = {
    "status": "ok",
    "macs": 200,
    "eligible": 150,
    "left": {"GRU: more than 64 steps": 1},
    "uncounted": ["Mix"],
}
COMMANDS = ("sensitivity", "fisher", "partition", "run", "compile", "retrain")


def known(**different: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Outcomes of a trial whose commands succeed but for these."""
    good: dict[str, dict[str, Any]] = {name: {"status": "ok"} for name in ("export", *COMMANDS)}
    return good | {"analyze": ANALYZED} | different


def test_the_table_shows_shares_and_every_reason() -> None:
    found: Outcomes = {
        "GRU | dynamo": known(),
        "BERT | QDQ": known(
            run={"status": "refused", "why": "no | way"}, fisher={"status": "refused", "why": "no | way"}
        ),
        "TCN | dynamo": {"export": {"status": "exporter", "why": "ImportError: no timm"}},
        "SSD | dynamo": {
            "export": {"status": "ok"},
            "analyze": {"status": "failed", "why": "/home/me/model.onnx: took more than 9 s"},
        },
    }
    lines = rendered(found).splitlines()

    assert "3 files of 4" in lines[0]
    assert "10 of 12 commands succeed" in lines[0]
    assert "75.0 % of their MACs" in lines[0]
    assert "| GRU | dynamo | 75.0 % [1] [2] | ok | ok | ok | ok | ok | ok |" in lines
    assert "| BERT | QDQ | 75.0 % [1] [2] | ok | refused [3] | ok | refused [3] | ok | ok |" in lines
    assert "| TCN | dynamo | not exported [4] | | | | | | |" in lines
    assert "| SSD | dynamo | fails [5] |" + " not tried |" * 6 in lines
    assert lines[-5:] == [
        "1. digital, GRU: more than 64 steps (1)",
        "2. not counted: Mix",
        "3. no / way",
        "4. ImportError: no timm",
        "5. model.onnx: took more than 9 s",
    ]


def test_the_table_takes_its_place_in_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter", encoding="utf-8")
    write_table({"GRU | dynamo": known()}, page)
    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter")
    assert "| GRU | dynamo |" in text
    assert "old" not in text


def test_what_is_done_is_not_repeated_and_what_died_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "TRIALS", [("A", "x"), ("B", "x")])
    monkeypatch.setattr(trials, "MODULE", "tests.trials.nothing")  # dies at once
    (tmp_path / "trials.jsonl").write_text(
        "".join(json.dumps({"trial": "A | x", "command": name, "status": "ok"}) + "\n" for name in ("export", "run")),
        encoding="utf-8",
    )
    main([str(tmp_path), "--commands", "run"])

    found = outcomes(tmp_path)
    assert found["A | x"]["run"]["status"] == "ok"
    assert found["B | x"]["export"] == {
        "trial": "B | x", "command": "export", "status": "failed", "why": "its process ended with 1",
    }  # fmt: skip


def test_what_nobody_repeated_stays_in_the_table(tmp_path: Path) -> None:
    """With its notes, whatever their numbers become."""
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}", encoding="utf-8")
    bad = {"status": "refused", "why": "a < b | " + "long " * 60}
    beside = {"status": "ok", "parity": {"MatMul: rounds": 2}, "outputs": 1, "of": 3}
    first: dict[str, dict[str, dict[str, Any]]] = {
        "GRU | dynamo": known(run=bad, partition=beside),
        "TCN | dynamo": {"export": {"status": "exporter", "why": "no timm"}},
        "SSD | dynamo": {},
        "ViT | dynamo": known(analyze={**ANALYZED, "macs": 0}),
    }
    del first["GRU | dynamo"]["retrain"]
    write_table(first, page)
    before = page.read_text("utf-8")
    nothing: Outcomes = {trial: {} for trial in first}
    write_table(nothing, page)
    assert page.read_text("utf-8") == before

    write_table({**nothing, "GRU | dynamo": {"export": {"status": "ok"}, "run": {"status": "ok"}}}, page)
    found = read_table(page)["GRU | dynamo"]
    assert found["run"] == {"status": "ok", "notes": []}
    assert len(found["partition"]["notes"]) == 2
    assert found["analyze"]["eligible"] == 0.75
    assert "retrain" not in found
    assert "long" not in page.read_text("utf-8")


def test_what_the_page_has_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}", encoding="utf-8")
    write_table({"A | x": known(), "B | x": {"export": {"status": "ok"}, "analyze": ANALYZED}}, page)
    monkeypatch.setattr(trials, "TRIALS", [("A", "x"), ("B", "x")])
    monkeypatch.setattr(trials, "MODULE", "tests.trials.nothing")  # dies at once
    main([str(tmp_path), "--commands", "analyze,run", "--lacking", str(page)])
    assert outcomes(tmp_path).keys() == {"B | x"}


def test_the_page_has_every_trial() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    assert [tuple(row.split(" | ")[:2]) for row in rows[1:]] == [(f"| {network}", way) for network, way in TRIALS]


@pytest.mark.slow
@pytest.mark.analog
@pytest.mark.parametrize("exporter", ["TorchScript", "dynamo"])
def test_a_network_of_torch_goes_the_whole_way(exporter: str, tmp_path: Path) -> None:
    main([str(tmp_path), "--only", f"TCN | {exporter}"])
    found = outcomes(tmp_path)[f"TCN | {exporter}"]
    assert {name: (one["status"], one.get("why")) for name, one in found.items()} == dict.fromkeys(found, ("ok", None))
    assert set(found) == {"export", *COMMANDS_OF_LHC}
