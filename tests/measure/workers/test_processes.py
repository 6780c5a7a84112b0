"""Workers give the bytes of one process, end with their parent, whatever ends it, and leave no folder behind."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from lhc.errors import UsageError, WorkerError
from lhc.hardware import Hardware
from lhc.measure import Budget, PlacementEvaluator, Running, measure_sensitivity
from lhc.measure.budget_test import sequential_test
from lhc.measure.evaluation_context import calibration_block
from lhc.measure.preflight_checks import tile_errors
from lhc.measure.sensitivity.fisher_prediction import fisher_sensitivity
from lhc.measure.workers.processes import ProcessWorkers, check_cores
from lhc.onnx_io import read_graph
from lhc.options.shared import Execution
from lhc.runtime.environment_fingerprint import environment
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from tests.measure.two_layers import two_layers

pytestmark = [pytest.mark.analog, pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")]
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked at in /proc")

SECONDS = 60
LAYERS = ["first", "second"]
PARENT = """
import sys
import time
from lhc.measure.workers.processes import ProcessWorkers
from lhc.runtime.environment_fingerprint import environment

if __name__ == "__main__":
    workers = ProcessWorkers(2)
    print(*[pool.submit(pow, 2, 2).result() for pool in workers._pools for _ in range(2)], flush=True)
    print(*[pid for pool in workers._pools for pid in pool._processes], flush=True)
    print(environment()["instructions"], "torch" in sys.modules, flush=True)
    time.sleep(600)
"""

PARTITION = """
import sys
import lhc

if __name__ == "__main__":
    lhc.partition("digits-narrow", jobs=2, work_dir="work")
    assert "torch" not in sys.modules
"""

# Without a guard: the worker processes load it, and would do the same.
UNGUARDED = """
import lhc

try:
    CALL
except lhc.LhcError as error:
    print(error)
"""

# As tqdm does below torch.export: it makes a lock and keeps it.
WITH_A_LOCK = """
from lhc.measure.workers.processes import end_processes, started_process

if __name__ == "__main__":
    pool, _ = started_process()
    pool.submit(exec, "import multiprocessing, sys; sys.kept = multiprocessing.RLock()").result()
    end_processes([pool])
"""


def make_evaluator(
    running: Running, told: Callable[[str, int, int], None] = lambda what, done, total: None
) -> PlacementEvaluator:
    rng = np.random.default_rng(0)
    loaded = two_layers(rng)
    task = Task({"x": rng.normal(size=(700, 12)).astype(np.float32)}, None, get_metric("kl"))
    return PlacementEvaluator(
        loaded,
        read_graph(loaded),
        Hardware.load("lionheart"),
        task.take(np.arange(600)),
        draws=5,
        t_s=86400.0,
        calibration=calibration_block(task.take(np.arange(600, 700))),
        progress=told,
        running=running,
    )


def found(here: PlacementEvaluator) -> list[bytes]:
    """What checking, predicting, measuring and testing give; a test of some looks."""
    errors = tile_errors(here, LAYERS, 8)
    verdict = sequential_test(here, frozenset(LAYERS), Budget(0.185), range(100, 120), 0.05, "testing")
    assert 5 < verdict.evaluation.draws < 20
    tables = fisher_sensitivity(here, here.graph, LAYERS).table, measure_sensitivity(here, here.graph, LAYERS)
    figures = [[(s.mean, s.std, s.by_weights) for s in table.layers.values()] for table in tables]
    return [np.array(verdict.evaluation.drops).tobytes(), repr((errors, figures)).encode()]


@pytest.fixture(scope="module")
def one_process() -> list[bytes]:
    """The same of one process."""
    with Running() as alone:
        return found(make_evaluator(alone))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def of_session(session: int) -> list[int]:
    """Living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def wait_until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.mark.slow
def test_the_bytes_are_those_of_one_process_with_what_is_begun_before_it_is_asked_for(one_process: list[bytes]) -> None:
    with Running(Execution(jobs=3)) as shared:
        assert found(make_evaluator(shared)) == one_process


def test_a_worker_that_dies_ends_the_command_and_loses_nothing(tmp_path: Path, one_process: list[bytes]) -> None:
    def kill_one(what: str, done: int, total: int) -> None:
        if what.startswith("testing, ") and done:
            assert isinstance(running.workers, ProcessWorkers)
            for pid in running.workers._pools[1]._processes:
                with suppress(ProcessLookupError):  # killed by the call before this one
                    os.kill(pid, signal.SIGKILL)

    execution = Execution(jobs=2, work_dir=tmp_path)
    with Running(execution) as running, pytest.raises(WorkerError, match="a worker process is gone"):
        found(make_evaluator(running, kill_one))
    with Running(Execution(work_dir=tmp_path)) as again:
        assert found(make_evaluator(again)) == one_process


def test_the_file_of_a_model_goes_with_the_last_that_needs_it() -> None:
    """A command has many evaluators, and the file of each is as large as the model."""
    workers = ProcessWorkers(1)
    try:
        with Running() as alone:
            contexts = [make_evaluator(alone).context for _ in range(2)]
            (path,) = {workers._name(context) for context in contexts}
            contexts.pop()
            gc.collect()
            assert path.exists()
            contexts.pop()
            gc.collect()
            assert not path.exists()
    finally:
        workers.close()


@pytest.mark.slow
def test_an_idle_worker_gives_back_its_semaphores(tmp_path: Path) -> None:
    """Python warns of those that nobody gave back."""
    (tmp_path / "with_a_lock.py").write_text(WITH_A_LOCK)
    ended = subprocess.run([sys.executable, "with_a_lock.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stderr == ""


@pytest.mark.slow
def test_a_process_that_has_others_compute_loads_no_pytorch(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARTITION)
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, check=True)


@on_linux
@pytest.mark.parametrize(
    "begun",
    [pytest.param(False, id="while workers start"), pytest.param(True, id="at work", marks=pytest.mark.slow)],
)
def test_ctrl_c_leaves_nothing(begun: bool, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    command = (
        f"-m lhc partition digits-narrow --jobs 2 --draws 50 --work-dir {tmp_path / 'work'} -o {tmp_path / 'o.onnx'}"
    )
    process = subprocess.Popen(
        [sys.executable, *command.split()],
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What a shell starts in the background ignores Ctrl-C, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    if begun:
        wait_until(lambda: bool(list((tmp_path / "tmp").glob("lhc-*/*"))), "no unit is given out")
    else:
        wait_until(lambda: len(of_session(process.pid)) > 2, "no worker starts")
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    wait_until(lambda: of_session(process.pid) == [], "processes are left")
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.slow
@on_linux
def test_workers_and_their_folder_go_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    own = os.environ | {"TMPDIR": str(temporary)}
    parent = subprocess.Popen([sys.executable, str(script)], env=own, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "4 4 4 4\n"
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    assert all(map(alive, children))
    assert list(temporary.glob("lhc-*"))
    assert parent.stdout.readline() == f"{environment()['instructions']} False\n", "workers know it"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    gone = lambda: not any(map(alive, children)) and not list(temporary.glob("lhc-*"))  # noqa: E731
    wait_until(gone, "workers outlive their parent")


@pytest.mark.parametrize(("processes", "told"), [(2, False), (3, True)])
def test_more_processes_than_cores_are_warned_of(
    processes: int, told: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)

    check_cores(processes)

    assert ("--jobs 3: lhc can use 2 cores here; more processes take more memory" in caplog.text) == told


def test_far_more_processes_than_cores_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    with pytest.raises(UsageError, match="--jobs 400: lhc can use 2 cores here; give at most 8"):
        ProcessWorkers(400)


@pytest.mark.parametrize(
    "call",
    [
        'lhc.evaluate("digits-narrow", samples=4, draws=2, all_analog=True, jobs=2)',
        'print(lhc.sweep({"model": "digits-narrow"}).rows[0].error)',
    ],
    ids=["units", "runs"],
)
def test_a_script_that_its_workers_cannot_load_is_told_to_guard_its_calls(call: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED.replace("CALL", call))

    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=10 * SECONDS
    )

    assert "a script makes its calls under if __name__ == '__main__':" in done.stdout
