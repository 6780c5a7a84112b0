"""Work that is estimated, interrupted, out of time and taken up again."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lhc.cli.framework.app import app
from lhc.onnx_io import load_model, read_plan

pytestmark = pytest.mark.analog

SMALL = ("--samples", 20, "--draws", 3)


def lhc(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def written(folder: Path) -> int:
    """How many results were ever put in the cache of a folder."""
    (path,) = folder.glob("*.sqlite3")
    with closing(sqlite3.connect(path)) as connection:
        (count,) = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'results'").fetchone()
    return int(count)


@contextmanager
def interrupting(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    def report(what: str, done: int, total: int) -> None:
        if what.startswith("sensitivity 2"):
            raise KeyboardInterrupt

    yield report


def test_ctrl_c_saves_and_says_how_to_go_on(
    model_file: Path, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("sensitivity", model_file, "--data", data_file, *SMALL, "--json", "--work-dir")
    unbroken = lhc(*command, tmp_path / "unbroken")
    with monkeypatch.context() as patch:
        patch.setattr("lhc.cli.framework.progress.reporter", interrupting)
        broken = lhc(*command, tmp_path / "broken")
    assert broken.exit_code == 130
    assert broken.stdout == ""
    assert "the same command goes on where it stopped" in broken.stderr
    left = json.loads(lhc(*command, tmp_path / "broken", "--dry-run").stdout)
    assert 0 < left["kept"] < left["units"]
    resumed = lhc(*command, tmp_path / "broken")
    assert resumed.exit_code == 0
    assert resumed.stdout == unbroken.stdout


def test_results_are_kept_in_the_cache_unless_told_otherwise(
    model_file: Path, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LHC_CACHE", str(tmp_path / "cache"))
    command = ("sensitivity", model_file, "--data", data_file, *SMALL, "--json")
    first = lhc(*command)
    count = written(tmp_path / "cache")
    assert count > 3
    estimated = json.loads(lhc(*command, "--dry-run").stdout)
    assert estimated["kept"] == estimated["units"] == 6, "one unit a layer, and one with its copies"
    assert estimated["seconds"] == 0
    assert lhc(*command).stdout == first.stdout
    assert written(tmp_path / "cache") == count, "nothing was measured again"
    assert lhc(*command, "--fresh").stdout == first.stdout
    assert written(tmp_path / "cache") == 2 * count, "everything was"
    assert lhc(*command, "--work-dir", tmp_path / "other").stdout == first.stdout
    assert written(tmp_path / "other") == count


def test_time_that_is_over_at_once(model_file: Path, data_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    options = ("--data", data_file, "--work-dir", tmp_path / "log", *SMALL)
    measured = lhc("sensitivity", model_file, *options, "--timeout", 1e-9)
    assert measured.exit_code == 1
    assert measured.stderr.startswith("error: --timeout: the time is over")
    placed = lhc("partition", model_file, "--objective", "macs", *options, "--timeout", 1e-9, "-o", out)
    assert placed.exit_code == 0, "digital holds any budget"
    assert "note: --timeout" in placed.stderr
    plan = read_plan(load_model(out))
    assert plan is not None
    assert plan.analog == frozenset()
    assert "--timeout 1e-09" in plan.command, "without it the result would be another"
    later = lhc("partition", model_file, "--objective", "macs", *options, "--max-drop", "100%", "-o", out)
    assert later.exit_code == 0
    assert read_plan(load_model(out)).analog  # type: ignore[union-attr]
    assert "--timeout" not in read_plan(load_model(out)).command  # type: ignore[union-attr]


@pytest.mark.parametrize("command", ["sensitivity", "partition", "run"])
def test_a_dry_run_measures_nothing_and_writes_nothing(
    command: str, model_file: Path, data_file: Path, tmp_path: Path
) -> None:
    before = set(tmp_path.iterdir())
    more = ("--all-analog",) if command == "run" else ()
    options = (command, model_file, "--data", data_file, "--work-dir", tmp_path / "log", *SMALL, *more, "--dry-run")
    told = lhc(*options)
    assert told.exit_code == 0, told.stderr
    assert "3 layers, 20 samples, 3 draws" in told.stdout.splitlines()[-1]
    document = json.loads(lhc(*options, "--json").stdout)
    assert document["dry_run"] is True
    assert document["units"] == sum(step["units"] for step in document["steps"]) > 0
    assert document["kept"] == 0
    assert document["seconds"] > 0
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("strategy", "judged"),
    [("sensitivity", 7), ("milp", 7), ("lionheart", 3), ("random", 3), ("exhaustive", 7), ("all-analog", 0)],
)
def test_a_dry_run_asks_each_strategy_how_much_it_judges(
    strategy: str, judged: int, model_file: Path, data_file: Path, tmp_path: Path
) -> None:
    """Three layers are seven placements with something analog."""
    options = ("--data", data_file, "--work-dir", tmp_path, *SMALL, "--strategy", strategy, "--dry-run", "--json")
    steps = json.loads(lhc("partition", model_file, "--objective", "macs", *options).stdout)["steps"]
    found = [step["what"] for step in steps if step["what"].startswith("searching")]
    assert found == ([f"searching, at most {judged} placements"] if judged else [])


@pytest.mark.slow
def test_a_search_of_which_one_placement_is_kept_still_takes_its_time(
    model_file: Path, data_file: Path, tmp_path: Path
) -> None:
    options = ("--data", data_file, "--work-dir", tmp_path, *SMALL, "--strategy", "exhaustive", "--objective", "macs")
    assert lhc("partition", model_file, *options, "-o", tmp_path / "placed.onnx").exit_code in (0, 1)
    found = json.loads(lhc("partition", model_file, *options, "--dry-run", "--json").stdout)
    (searching,) = [step for step in found["steps"] if step["what"].startswith("searching")]
    assert found["kept"] > 0
    assert searching["kept"] == 0
    assert searching["seconds"] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--jobs", 0), "--jobs must be at least 1"),
        (("--memory", "much"), "write a size such as 2GiB"),
        (("--memory", "1KiB"), "--memory must be at least 1 MiB"),
        (("--timeout", 0), "--timeout must be above 0 s"),
        (("--jobs", 2, "--scheduler", "tcp://here:1"), "--jobs is for processes of this machine"),
        (("--method", "guess"), "--method 'guess': choose auto, measure, fisher"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_options_that_make_no_sense(
    options: tuple[object, ...], words: str, model_file: Path, data_file: Path, tmp_path: Path
) -> None:
    result = lhc("sensitivity", model_file, "--data", data_file, "--work-dir", tmp_path / "log", *options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""


IN_A_CALLBACK = """
import signal, sys, time, weakref
from lhc.cli.framework import app

signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it

def waiting():
    thing = type("Thing", (), {})()
    seen = weakref.ref(thing, lambda _: (signal.raise_signal(signal.SIGINT), len("a step in which it is raised")))
    del thing
    time.sleep(60)

app.main = waiting
from lhc.cli import main
main()
"""


def test_ctrl_c_while_python_runs_a_callback_is_not_lost() -> None:
    """Python ignores what is raised there, so a run would have gone on to its end."""
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CALLBACK], capture_output=True, text=True, check=False, timeout=50
    )
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
