"""What a notebook gets; pandas and IPython are stood in for, since neither is a dependency."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import lhc
from lhc.errors import MissingDependencyError
from lhc.options.shared import silent
from lhc.pipeline.command_duration import Effort, EffortStep
from lhc.plan import Sensitivity
from lhc.results import SensitivityTable
from lhc.samples.metrics import METRICS
from lhc.support.notebook import data_frame, in_notebook
from lhc.support.tables import FORMATS, Table

TABLE = Table(["layer", "MACs"], [["a", "1,000"]], (1,))


class Display:
    """Stands for IPython.display: keeps what is shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def Pretty(self, text: str) -> str:  # noqa: N802 - IPython's name
        return text

    def display(self, text: str, display_id: bool) -> "Display":
        assert display_id
        self.shown.append(text)
        return self

    def update(self, text: str) -> None:
        self.shown.append(text)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Display:
    found = Display()
    ipython: Any = ModuleType("IPython")
    ipython.get_ipython = object
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    monkeypatch.setitem(sys.modules, "IPython.display", found)
    return found


def test_a_script_is_no_notebook() -> None:
    assert not in_notebook()


@pytest.mark.analog
def test_a_notebook_shows_progress_unless_told_otherwise(notebook: Display) -> None:
    chosen = {"samples": 20, "draws": 2, "method": "measure"}
    lhc.sensitivity("digits-narrow", include=["linear"], progress=silent, **chosen)  # type: ignore[arg-type]
    assert notebook.shown == []
    lhc.sensitivity("digits-narrow", include=["linear"], **chosen)  # type: ignore[arg-type]
    assert notebook.shown
    assert any("/" in text for text in notebook.shown)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match="pip install pandas"):
        data_frame(TABLE)


def test_a_frame_holds_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas: Any = ModuleType("pandas")
    pandas.read_csv = lambda file: file.read()
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    assert data_frame(TABLE) == "layer,MACs\na,1000"
    assert lhc.analyze("digits-narrow").to_pandas().splitlines()[1].startswith("conv1,Conv,")


def test_sensitivities_are_drawn_the_most_sensitive_on_top() -> None:
    layers = {
        "a": Sensitivity(metric="kl", mean=0.1, std=0.0, interval=(0.05, 0.15)),
        "b": Sensitivity(metric="kl", mean=0.3, std=0.0, interval=None),
    }
    table = SensitivityTable("kl", layers, 10, 2, 0, 0.0, 0.9)
    axes = Figure().add_subplot()
    assert table.plot(axes) is axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    drawn = [(np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()) for line in axes.lines]
    assert drawn == [([0.05, 0.15], [0, 0]), ([0.1], [0]), ([0.3], [1])]
    assert axes.get_xlabel() == "damage when analog alone (kl), 90 % intervals"
    assert repr(table) == "<SensitivityTable: 2 layers in kl, most sensitive ('b',)>"


@pytest.mark.parametrize("by_weights", [None, 0.01])
def test_sensitivities_are_a_table_in_every_format(by_weights: float | None) -> None:
    one = Sensitivity(
        metric="agreement", mean=0.1, std=0.0, interval=None, by_weights=by_weights, by_outputs=by_weights
    )
    table = SensitivityTable("agreement", {"a": one}, 10, 2, 0, 0.0, 0.9).as_table()
    assert max(table.right) < len(table.headers)
    for form in FORMATS:
        assert "agreement" in table.render(form)


def test_sensitivities_are_of_one_copy_and_beside_it_of_those_that_layers_have() -> None:
    """Ranks are those with one copy."""
    one = Sensitivity(metric="kl", mean=0.1, std=0.0, interval=None)
    less, several = (one.model_copy(update={"mean": mean}) for mean in (0.05, 0.001))
    copied = {"a": several.model_copy(update={"copies": 28, "interval": (0.0005, 0.0015)})}
    table = SensitivityTable("kl", {"a": one, "b": less}, 10, 2, 0, 0.0, 0.9, with_copies=copied).as_table()
    shown = [[row[table.headers.index(name)] for row in table.rows] for name in ("kl", "rank", "copies")]
    assert shown == [["0.1", "0.05"], ["1", "2"], ["28", "1"]]
    assert [row[table.headers.index("kl with copies")] for row in table.rows] == ["0.001 [0.0005, 0.0015]", "-"]
    assert "copies" not in SensitivityTable("kl", {"a": one}, 10, 2, 0, 0.0, 0.9).as_table().headers


def test_results_are_short_where_they_are_shown() -> None:
    assert repr(lhc.analyze("digits-narrow")).startswith("<Analysis: ")
    assert len(repr(lhc.analyze("digits-narrow"))) < 200
    plan = lhc.analyze("digits-narrow").plan
    assert repr(plan) == str(plan) == "<Plan: 0 of 14 products analog on lionheart>"
    assert repr(lhc.Hardware.load("ideal")) == "<Hardware ideal: tiles of 256x255>"
    task = lhc.Task({"x": np.zeros((3, 2))}, np.zeros(3, int), METRICS["accuracy"])
    assert repr(task) == "<Task: 3 samples of x, labels, accuracy>"
    assert repr(Effort(1, 2, 3, (EffortStep("testing", 4, 1, 65.0),))) == "<Effort: 4 units of work, about 65 s>"


@pytest.mark.analog
def test_a_compiled_model_is_short_where_it_is_shown() -> None:
    found = repr(lhc.compile("digits-narrow", all_analog=True))
    assert found.startswith("<CompiledModel: digits-narrow, chip 0 of seed 0 after 1 day, output noise ")
    assert len(found) < 200
