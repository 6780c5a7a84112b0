"""The notebooks of the documentation run from the first cell to the last, and are stored with small outputs."""

from pathlib import Path
from typing import Any

import pytest

nbformat: Any = pytest.importorskip("nbformat", reason="notebooks are run by nbclient")
nbclient: Any = pytest.importorskip("nbclient", reason="notebooks are run by nbclient")

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
LARGEST = 50_000
"""Bytes of a notebook with its outputs."""


def outputs(notebook: Any) -> list[list[str]]:  # noqa: ANN401
    """Kinds of what every cell of code shows, but for progress and warnings."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = ([one for one in cell.outputs if one.get("name") != "stderr"] for cell in cells)
    return [[one.output_type for one in found if one.output_type != "display_data"] for found in shown]


def test_there_are_two() -> None:
    assert NAMES == ["first-hour", "resnet20"]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_stored_and_small(name: str) -> None:
    path = FOLDER / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < LARGEST
    assert any(outputs(notebook))
    assert not any("error" in kinds for kinds in outputs(notebook))


@pytest.mark.analog
@pytest.mark.slow
@pytest.mark.parametrize("name", ["first-hour", "resnet20"])
def test_every_cell_runs(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if name == "resnet20":
        request.getfixturevalue("lhc_data")
    stored = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    run = nbformat.from_dict(stored)
    client = nbclient.NotebookClient(
        run, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    assert outputs(run) == outputs(stored)
