"""``lhc sweep`` writes one table, replaces nothing of the user's, and ends by what became of the runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.sweep_with_a_killed_worker import small_sweep
from tests.conftest import Cli

FILES = ["sweep.csv", "sweep.json", "sweep.md", "sweep.svg"]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep of four runs in the current folder, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LHC_CACHE", str(tmp_path / "cache"))
    small_sweep(tmp_path, 4)
    return Path("sweep.toml")


@pytest.mark.slow
@pytest.mark.analog
def test_one_table_and_plots(cli: Cli, sweep: Path) -> None:
    forecast = json.loads(cli("sweep", sweep, "--dry-run", "--json").stdout)
    assert (forecast["runs"], forecast["kept"], len(forecast["kinds"])) == (4, 0, 2)
    assert not Path("sweep-results").exists()

    done = cli("sweep", sweep, "--quiet")

    assert done.exit_code == 0, done.stderr
    assert sorted(path.name for path in Path("sweep-results").iterdir()) == FILES
    document = json.loads(Path("sweep-results", "sweep.json").read_text())
    assert len(document["rows"]) == 4
    assert json.loads(cli("sweep", sweep, "--json").stdout) == document  # nothing was run, and its own files replaced
    assert json.loads(cli("sweep", sweep, "--dry-run", "--json").stdout)["kept"] == 4
    header, *rows = Path("sweep-results", "sweep.csv").read_text().splitlines()
    assert header.startswith("hardware,max-drop,metric,")
    assert len(rows) == 4


def test_a_dry_run_of_runs_that_cannot_start_gives_code_2(cli: Cli, sweep: Path) -> None:
    sweep.write_text('model = "perceptron.onnx"\ndata = "nowhere.npz"\nmax-drop = [1, 2]\n')

    done = cli("sweep", sweep, "--dry-run")

    assert done.exit_code == 2
    assert "nowhere.npz" in done.stdout
    assert "no run can start" in done.stderr


@pytest.mark.slow
@pytest.mark.analog
def test_a_failed_run_gives_code_3(cli: Cli, sweep: Path) -> None:
    sweep.write_text('model = "perceptron.onnx"\ndata = "nowhere.npz"\n')

    done = cli("sweep", sweep)

    assert done.exit_code == 3
    assert "nowhere.npz" in done.stdout
    assert "runs that failed are rows with their error" in done.stderr
    assert not Path("sweep-results", "sweep.svg").exists()


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ({"sweep.csv": "mine"}, "was not written by a sweep named 'sweep'"),
        ({"sweep.json": '{"sweep": "another"}'}, "was not written by a sweep named 'sweep'"),
        (None, "is no folder"),
    ],
    ids=["a-file", "another-sweep", "no-folder"],
)
def test_nothing_of_the_users_is_replaced(cli: Cli, sweep: Path, held: dict[str, str] | None, told: str) -> None:
    where = Path("sweep-results")
    if held is None:
        where.write_text("")
    else:
        where.mkdir()
        for name, text in held.items():
            (where / name).write_text(text)

    done = cli("sweep", sweep)

    assert done.exit_code == 2
    assert told in done.stderr
    assert held is None or {path.name: path.read_text() for path in where.iterdir()} == held


@pytest.mark.parametrize("arguments", [["--help"], ["sweep", "--help"]], ids=["help", "help-of-sweep"])
def test_help_loads_nothing_that_sweeps_need(arguments: list[str]) -> None:
    heavy = {"dask", "distributed", "lhc.commands.sweep", "lhc.measure", "matplotlib", "numpy", "onnx"}
    code = f"import atexit, sys; atexit.register(lambda: print(*{heavy} & set(sys.modules), file=sys.stderr))"
    code += "; from lhc.cli import main; main()"

    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)

    assert done.stderr.strip() == ""
