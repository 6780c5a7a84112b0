"""The table of results: what is a row, when two rows contradict each other, and that README says what it says."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results
from benchmarks.results import Row, disagreements, page, rows
from lhc.models import zoo_names

ROOT = Path(__file__).resolve().parents[1]
FILE: dict[str, list[dict[str, Any]]] = json.loads((ROOT / "docs" / "results.json").read_text("utf-8"))
STORED = FILE["rows"]
KNOWN: dict[str, Any] = {
    "title": "digits lionheart 1 as they come", "network": "digits", "machine": "lionheart", "max_drop": 0.01,
    "tiles_allowed": "as they come", "retrain": False, "metric": "accuracy", "digital": 0.9832,
    "digital_side": {"precision": "int8", "drop": 0.0001}, "mapped": 0.98, "drop": 0.0032,
    "chip_interval": [0.001, 0.005], "sample_interval": [-0.01, 0.02], "confidence": 0.99,
    "within_budget": True, "held_out": True, "samples": 597, "chips": 10, "analog_layers": 20, "layers": 24,
    "analog_mac_fraction": 0.968, "tiles": 28, "energy_ratio": 4.36, "latency_ratio": 4.44, "retrained": False,
    "cpu_s": 61.2, "wall_s": 70.0, "command": "lhc partition digits", "commit": "abc1234", "changed": False,
    "date": "2026-11-30",
}  # fmt: skip


def test_rows_are_told_apart_and_begin_with_every_small_network() -> None:
    titles = [row.title for row in rows()]

    assert len(set(titles)) == len(titles)
    assert titles[0] == KNOWN["title"]
    assert {row.network for row in rows()} <= set(zoo_names())
    assert set(results.TASKS) == set(results.UNITS)
    first = rows()[: len(results.UNITS) - len(results.LARGE)]
    assert {row.network for row in first} == set(results.UNITS) - set(results.LARGE)


def test_a_row_is_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_tiles", lambda network, machine: 14)
    row = Row("resnet8", "hermes", 0.5, "twice", retrain=True)

    assert " ".join(row.command()) == (
        "partition resnet8 --hardware hermes --max-drop 0.005 --objective macs --max-tiles 28 --samples 5000 --retrain"
        " --train-data build/resnet8-training-images.npz --augment crop-flip --label-share 0.5"
    )


def test_trained_rows_are_of_the_tiles_that_training_has_to_do_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_tiles", lambda network, machine: {"resnet8": 14, "resnet20": 36}[network])

    trained = {row.title: row.settings()["max-tiles"] for row in rows() if row.retrain}

    assert trained == {"resnet8 lionheart 1 twice, trained": 28, "resnet20 lionheart 1 once, trained": 36}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, []),
        ({"chip_interval": [0.004, 0.009]}, []),
        ({"chip_interval": [0.006, 0.009]}, ["mean drop"]),
        ({"within_budget": False}, ["within the budget"]),
        ({"digital": 0.99}, ["digital"]),
        ({"analog_mac_fraction": 0.9}, ["MACs analog"]),
    ],
    ids=["same", "intervals-meet", "intervals-apart", "verdict", "digital", "share"],
)
def test_a_row_made_anew_is_compared_within_its_intervals(changed: dict[str, Any], told: list[str]) -> None:
    found = disagreements({**KNOWN, **changed}, KNOWN)

    assert [next(name for name in told if line.startswith(name)) for line in found] == told


def test_a_page_shows_a_row_with_its_units() -> None:
    text = page([KNOWN], [], [])

    assert (
        "| digits | written digits | lionheart | 1.00 | as they come | 98.3 % | 96.8 % | 0.32 [0.10, 0.50] | 4.4x"
        in text
    )
    assert (
        "| digits | lionheart | as they come | 1.00 | 20 of 24 | 28 | 10 | 597 | -1.00 to 2.00 | int8, 0.01 | 4.4x"
        in text
    )
    assert "| digits | lhc partition digits | 61 s | abc1234 | 2026-11-30 |" in text


def test_a_row_that_reused_results_says_that_its_time_is_of_the_rest() -> None:
    assert "| digits | lhc partition digits | 61 s more | abc" in page([{**KNOWN, "reused": True}], [], [])


@pytest.mark.slow
def test_rows_of_a_network_share_what_they_measure(tmp_path: Path) -> None:
    rows = [Row("digits"), Row("digits", points=2), Row("digits", "hermes")]

    first, second, other = (results.record(row, tmp_path) for row in rows)

    assert [one["reused"] for one in (first, second, other)] == [False, True, True]
    assert second["cpu_s"] < first["cpu_s"] / 2


def test_a_page_shows_at_a_glance_what_one_machine_reaches_at_one_point() -> None:
    other = [{**KNOWN, "machine": "hermes"}, {**KNOWN, "max_drop": 0.02, "analog_mac_fraction": 0.5}]
    twice = {**KNOWN, "tiles_allowed": "twice", "within_budget": False}
    four = {**KNOWN, "tiles_allowed": "four times", "energy_ratio": 1 / 1.5}
    trained = {**KNOWN, "tiles_allowed": "once", "retrain": True, "analog_layers": 0}

    text = page([*other, trained, twice, four, {**KNOWN, "note": "other chips lose more."}], [], [])

    assert "\n\ndigits, as they come: other chips lose more.\n" in text
    cells = (
        "digits | written digits | 98.3 % | 1.00 | 96.8 %: 0.32 [0.10, 0.50], 4.4x less energy |"
        " 96.8 %: 0.32 [0.10, 0.50], 4.4x less energy (not held); four times, 96.8 %: 0.32 [0.10, 0.50], 1.5x more"
        " energy | once, all digital: 0.32 [0.10, 0.50]"
    )
    assert f"| {cells} |" in text


def test_a_long_note_is_wrapped() -> None:
    text = page([{**KNOWN, "note": "its interval is too narrow, " * 9}], [], [])

    (first, *others) = [line for line in text.splitlines() if "too narrow" in line]
    assert others
    assert len(first) <= 120


def test_a_page_shows_the_course_of_a_training() -> None:
    trained = {**KNOWN, "retrain": True, "course": [[0, 0.045], [1500, 0.0062]]}

    text = page([KNOWN, trained], [], [])

    assert "| digits | lionheart | as they come and training | 1.00 | 0: 4.50, 1,500: 0.62 |" in text
    assert "Course of trainings" not in page([KNOWN, {**KNOWN, "course": []}], [], [])


def test_a_page_says_what_else_was_measured_for_guides() -> None:
    one = {"what": "speed", "pages": ["README", "healing"], "command": "lhc run x", "commit": "abc", "date": "today"}
    quoted = {"what": "quoted figures", "pages": ["README"], "row": KNOWN["title"]}

    text = page([KNOWN], [], [one, quoted])

    assert "| README, [healing](healing.md) | speed | `lhc run x` | abc | today |" in text
    assert "quoted figures" not in text


def test_a_page_begins_with_how_many_runs_hold() -> None:
    missed, digital = {**KNOWN, "within_budget": False}, {**KNOWN, "analog_layers": 0}

    def head(*rows: dict[str, Any]) -> str:
        return page(list(rows), [], []).partition("## ")[0]

    passed = "runs put layers on tiles and passed the test of their budget, on the\nsamples at hand**;"
    assert f"**1 of 1 {passed} 0 stay all digital, and none misses its budget." in head(KNOWN)
    assert f"**1 of 3 {passed} 1 stay all digital, and 1 misses its budget." in head(KNOWN, missed, digital)
    seen, dear = {**KNOWN, "held_out": False}, {**KNOWN, "held_out": True, "energy_ratio": 0.5}
    narrow = {**KNOWN, "held_out": True, "sample_interval": [0.0, 0.009]}
    told = " ".join(head(seen, seen, dear, narrow, {**dear, "analog_layers": 0}).split())
    assert "Of the 4, 2 were tested on samples that the search had not seen, 1 hold their budget for other" in told
    assert "samples too, and 1 take more energy than all digital." in told


def test_a_finished_row_is_not_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[str] = []

    def record(row: Row, work_dir: Path | None) -> dict[str, Any]:
        made.append(row.title)
        if row.points == 2:
            raise RuntimeError("error: no data")
        return {**KNOWN, "title": row.title}

    monkeypatch.setattr(results, "record", record)
    for name in ("RESULTS", "PAGE"):
        monkeypatch.setattr(results, name, tmp_path / name)

    for _ in range(2):
        assert results.main(["--only", "^digits lionheart . as they"]) == 0

    assert made.count(KNOWN["title"]) == 1
    assert made.count("digits lionheart 2 as they come") == 2  # what was refused is tried again
    assert [one["title"] for one in json.loads((tmp_path / "RESULTS").read_text())["rows"]] == [KNOWN["title"]]
    assert results.main(["--only", "^digits lionheart 1 as they", "--again"]) == 0
    assert made.count(KNOWN["title"]) == 2


def test_the_page_is_that_of_the_stored_rows() -> None:
    published = json.loads((ROOT / "docs" / "published.json").read_text("utf-8"))

    assert (ROOT / "docs" / "results.md").read_text("utf-8") == page(STORED, published, FILE["measurements"])


@pytest.mark.parametrize(
    ("found", "code", "told"),
    [
        ({}, 0, "as in the table"),
        ({"within_budget": False}, 1, "within the budget: False, the table has True"),
        (RuntimeError("error: the extra zoo is not installed"), 1, "error: the extra zoo is not installed"),
    ],
    ids=["same", "contradicts", "refused"],
)
def test_quick_rows_are_compared_with_the_table(
    found: dict[str, Any] | RuntimeError, code: int, told: str,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    table = [{**KNOWN, "network": network, "title": Row(network).title} for network in results.QUICK]
    (tmp_path / "results.json").write_text(json.dumps({"rows": table, "measurements": []}))
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results.json")

    def record(row: Row, work_dir: Path | None = None) -> dict[str, Any]:
        if isinstance(found, RuntimeError):
            raise found
        return {**KNOWN, **found}

    monkeypatch.setattr(results, "record", record)

    assert results.main(["--quick"]) == code

    shown = capsys.readouterr()
    assert told in shown.out + shown.err


def readme_figures(one: dict[str, Any]) -> list[str]:
    """Sentences of README about the first command, with the table's figures."""
    points = [f"{100 * value:.2f}" for value in (one["drop"], *one["chip_interval"], *one["sample_interval"])]
    share = f"{100 * one['analog_mac_fraction']:.1f} %"
    return [
        f"{one['analog_layers']} of {one['layers']} layers run on {one['tiles']} analog tiles of 256x255, with {share}",
        f"Mean drop {points[0]} points, {100 * one['max_drop']:.2f} points allowed",
        f"{points[1]} to {points[2]} points for these samples",
        f"{points[3]} to {points[4]} points for other samples",
        f"digital accuracy {100 * one['digital']:.2f} %",
        f"in {one['digital_side']['precision']}: mean drop {100 * one['digital_side']['drop']:.2f} points",
        f"mapped {100 * one['mapped']:.2f} % on {one['samples']} samples",
        f"analog {one['analog_layers']}/{one['layers']} layers, {share} of MACs, {one['tiles']} tiles of 256x255",
        f"energy {one['energy_ratio']:.1f} times less, latency {one['latency_ratio']:.1f} times less than all digital",
        f"drop {points[0]} points [{points[1]}, {points[2]}] <= {100 * one['max_drop']:.2f} points",
    ]


def test_readme_says_what_the_table_says() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (one,) = [one for one in STORED if one["title"] == KNOWN["title"]]

    assert [figure for figure in readme_figures(one) if figure not in readme] == [], (
        "README.md and docs/results.json differ: make the row anew by python benchmarks/results.py --only"
        " '^digits lionheart 1 as' --again, then write its figures into README.md"
    )


def test_a_stale_figure_of_readme_is_found() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (one,) = [one for one in STORED if one["title"] == KNOWN["title"]]

    assert any(figure not in readme for figure in readme_figures({**one, "tiles": one["tiles"] + 1}))


def test_rows_of_the_table_that_are_quick_are_there() -> None:
    assert {Row(network).title for network in results.QUICK} <= {one["title"] for one in STORED}
    assert all(len(one["commit"]) >= 7 for one in STORED)
