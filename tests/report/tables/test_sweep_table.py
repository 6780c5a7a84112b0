"""The table of a sweep, its files and plots, and the forecast: what is shown of rows with figures and with errors."""

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lhc.errors import UsageError
from lhc.report.charts.sweep_charts import sweep_svg
from lhc.report.exports.sweep_files import save_sweep
from lhc.report.tables.sweep_table import ForecastKind, SweepForecast, SweepResult
from lhc.results import RunFigures, SweepRow

FIGURES = RunFigures(
    hardware="lionheart", metric="accuracy", percent=True, digital=0.98, precision="int8", precision_drop=0.0001,
    mapped=0.97, drop=0.01, drop_type="absolute", interval=(0.005, 0.015), chip_interval=(0.005, 0.015),
    sample_interval=(-0.01, 0.03), confidence=0.99, max_drop=0.02, within_budget=True, held_out=True, samples=500,
    chips=10, seed=0, t_s=86400.0, analog_layers=3, layers=4, analog_mac_fraction=0.9, tiles=5, energy_j=1e-6,
    latency_s=2e-6, digital_energy_j=4e-6, digital_latency_s=3e-6, retrained=False,
)  # fmt: skip


def row(model: str = "digits", budget: float = 0.02, seed: int = 0, **more: object) -> SweepRow:
    settings = {"model": model, "max-drop": str(budget), "seed": str(seed)}
    figures = replace(FIGURES, max_drop=budget, within_budget=budget > 0.015, seed=seed)
    return SweepRow(settings, f"lhc partition {model}", replace(figures, **more))  # type: ignore[arg-type]


FAILED = SweepRow(
    {"model": "gone.onnx", "max-drop": "0.02", "seed": "0"}, "lhc partition gone.onnx", None, "no such file"
)
RESULT = SweepResult("mine", (row(), row(budget=0.01), row(seed=1), FAILED))


def test_a_row_shows_what_differs_and_its_figures() -> None:
    header, rule, first, second, *_ = RESULT.table().splitlines()

    assert header.split()[:3] == ["model", "max-drop", "seed"]
    assert set(rule) <= {"-", " "}
    for text in ("98.00 %", "1.00", "0.50 to 1.50", "2.00", "points", "yes", "90.0 %", "int8, 0.01", "1.5", "4.0"):
        assert text in first
    assert " no " in second
    assert RESULT.table().splitlines()[-1].endswith("no such file")
    csv = RESULT.table("csv").splitlines()
    assert csv[0].startswith("model,max-drop,seed,metric,digital (%)")
    assert len(csv) == 5


def test_a_network_that_costs_nothing_has_no_gain() -> None:
    free = row(energy_j=0.0, latency_s=0.0, digital_energy_j=0.0, digital_latency_s=0.0)
    assert free.figures is not None
    assert (free.figures.energy_ratio, free.figures.latency_ratio) == (None, None)
    assert len(SweepResult("mine", (free,)).table().splitlines()) == 3


def test_what_became_of_the_runs_is_said() -> None:
    lines = RESULT.summary.splitlines()

    assert lines[0] == "4 runs: within the budget 2, not 1, 1 failed"
    assert lines[1] == "failed (1): no such file"
    assert "estimates of the cost model" in lines[2]
    assert "3 not begun in time" in replace(RESULT, left_out=3).summary
    several = SweepResult("mine", tuple(replace(FAILED, error=f"error {number}") for number in range(5)))
    assert several.summary.splitlines()[-1] == "and 2 other errors"


def test_errors_of_a_metric_are_in_its_own_unit() -> None:
    table = SweepResult("mine", (row(metric="nmse", percent=False, drop=0.25, interval=None, max_drop=0.5),)).table(
        "csv"
    )

    assert "nmse" in table.splitlines()[0] or "nmse" in table.splitlines()[1]
    assert ",0.25," in table.splitlines()[1]


def test_files_hold_the_same_rows_and_no_time_of_their_making(tmp_path: Path) -> None:
    again = replace(RESULT, rows=tuple(replace(one, seconds=3.0) for one in RESULT.rows), earlier=2)
    for result, name in ((RESULT, "first"), (again, "second")):
        written = save_sweep(result, tmp_path / name)
        assert [path.name for path in written] == ["sweep.csv", "sweep.md", "sweep.json", "sweep.svg"]
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()
    document = json.loads((tmp_path / "first" / "sweep.json").read_text())
    assert document["rows"][0]["figures"]["energy_ratio"] == 4
    assert [one["error"] for one in document["rows"]] == [None, None, None, "no such file"]
    assert (tmp_path / "first" / "sweep.md").read_text().startswith("| model |")


def test_a_folder_of_another_sweep_is_left_alone(tmp_path: Path) -> None:
    save_sweep(RESULT, tmp_path)
    other = replace(RESULT, name="other", rows=(FAILED,))

    with pytest.raises(UsageError, match="was not written by a sweep named 'other'"):
        save_sweep(other, tmp_path)
    save_sweep(RESULT, tmp_path)
    save_sweep(other, tmp_path, force=True)
    assert not (tmp_path / "sweep.svg").exists(), "plots of the earlier rows"


def test_plots_have_a_column_a_network_and_a_mark_a_run() -> None:
    root = ElementTree.fromstring(sweep_svg(replace(RESULT, rows=(*RESULT.rows, row("other"), row("other", 0.01)))))

    texts = ["".join(one.itertext()) for one in root.iter() if one.tag.endswith("text")]
    assert {"digits", "other", "energy per sample (µJ)", "MACs analog (%)", "mean drop (points)"} <= set(texts)
    assert "budget (points)" in texts
    titles = [one.text or "" for one in root.iter() if one.tag.endswith("title")]
    assert sum(": 90" in title for title in titles) == 5
    assert "digits, max-drop 0.02, seed 0: 1" in titles


@pytest.mark.parametrize(
    ("rows", "label"),
    [
        ((row(), row(t_s=31536000.0)), "days after the first read"),
        (tuple(SweepRow({"model": "a", "hardware": name}, "", FIGURES) for name in "xy"), "hardware"),
        ((replace(row(energy_j=None)),), "hardware"),
    ],
    ids=["time", "machine", "one-run-without-costs"],
)  # fmt: skip
def test_the_horizontal_axis_is_what_was_swept(rows: tuple[SweepRow, ...], label: str) -> None:
    text = sweep_svg(SweepResult("mine", rows))

    assert f">{label}</text>" in text
    assert ("energy" in text) == (rows[0].figures is not None and rows[0].figures.energy_j is not None)


def _texts_and_titles(rows: tuple[SweepRow, ...]) -> tuple[list[str], list[str]]:
    root = ElementTree.fromstring(sweep_svg(SweepResult("mine", rows)))
    found: tuple[list[str], list[str]] = ([], [])
    for one in root.iter():
        if one.tag.endswith(("text", "title")):
            found[one.tag.endswith("title")].append("".join(one.itertext()))
    return found


def test_settings_whose_names_are_cut_have_places_of_their_own() -> None:
    names = [f"machines/of-the-second-series/{ending}/machine.yaml" for ending in ("a", "b")]
    texts, _ = _texts_and_titles(tuple(SweepRow({"model": "a", "hardware": name}, "", FIGURES) for name in names))
    ticks = [text for text in texts if "…" in text]
    assert len(ticks) == len(set(ticks)) == 2


def test_the_legend_has_what_any_network_was_swept_over() -> None:
    """One colour each, though the first network was swept over other settings."""

    def rows(model: str, machines: str) -> list[SweepRow]:
        found = [row(model, budget) for budget in (0.01, 0.02) for _ in machines]
        names = [name for _ in range(2) for name in machines]
        return [
            replace(one, settings={**one.settings, "hardware": name}) for one, name in zip(found, names, strict=True)
        ]

    svg = sweep_svg(SweepResult("mine", (*rows("first", "xy"), *rows("second", "yz"))))
    texts, _ = _texts_and_titles((*rows("first", "xy"), *rows("second", "yz")))
    assert [text for text in texts if text.startswith("hardware")] == ["hardware x", "hardware y", "hardware z"]
    assert all(colour in svg for colour in ("#4e79a7", "#f28e2b", "#59a14f"))


def test_drops_and_budgets_of_several_units_are_not_mixed() -> None:
    kinds = (("absolute", 0.02), ("absolute", 0.04), ("relative", 0.02), ("relative", 0.04))
    rows = tuple(
        replace(found, settings={**found.settings, "drop-type": kind})
        for kind, budget in kinds
        for found in [row(budget=budget, drop_type=kind, drop=0.03)]
    )
    texts, titles = _texts_and_titles(rows)
    assert {"mean drop (points)", "mean drop (% of the digital value)", "max-drop 0.02"} <= set(texts)
    assert not any(text.startswith("budget") for text in texts)
    assert sum(title.endswith(": 3") for title in titles) == 4, "every drop is in one panel"


def test_a_line_goes_from_the_least_budget_to_the_greatest() -> None:
    """In whatever order they were swept."""
    svg = sweep_svg(SweepResult("mine", tuple(row(budget=budget) for budget in (0.04, 0.01, 0.02))))
    paths = [one.attrib["d"] for one in ElementTree.fromstring(svg).iter() if one.tag.endswith("path")]
    lines = [[float(x) for x in re.findall(r"[ML] ([\d.]+)", path)] for path in paths if path.count("L") == 2]
    assert any(len(line) == 3 for line in lines)
    assert all(line == sorted(line) for line in lines if len(line) == 3)


def test_a_forecast_adds_its_kinds_up() -> None:
    found = SweepForecast((ForecastKind("digits", 10, 4, 2.0), ForecastKind("gone", 3, 0, None, "no such file")), 2)

    assert (found.runs, found.kept, found.seconds) == (13, 4, 6.0)
    assert found.summary == (
        "13 runs, 4 of them finished before; about 6 s in 2 processes, without reading, checks and reports, and"
        " without 3 runs that cannot be estimated"
    )
    assert "no such file" in found.table()
    assert found.document()["kinds"] == [
        {"what": "digits", "runs": 10, "kept": 4, "seconds": 2.0, "error": None},
        {"what": "gone", "runs": 3, "kept": 0, "seconds": None, "error": "no such file"},
    ]
