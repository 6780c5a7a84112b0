"""A Dask scheduler and two worker processes on this machine give the bytes of a single process."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import lhc
from lhc.errors import LhcError, MissingDependencyError, UsageError, WorkerError
from lhc.hardware import Hardware
from lhc.measure import PlacementEvaluator, Running
from lhc.measure.workers import dask_cluster as cluster
from lhc.onnx_io import read_graph
from lhc.options.shared import Execution
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from tests.measure.two_layers import two_layers

distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install distributed")

pytestmark = [pytest.mark.analog, pytest.mark.filterwarnings("default")]

START_SECONDS = 60
PLACEMENT = frozenset({"first"})

Start = Callable[..., "subprocess.Popen[bytes]"]


def make_evaluator(
    execution: Execution, told: Callable[[], None] = lambda: None
) -> tuple[PlacementEvaluator, ExitStack]:
    rng = np.random.default_rng(0)
    loaded = two_layers(rng)
    x = rng.normal(size=(600, 12)).astype(np.float32)
    stack = ExitStack()
    running = stack.enter_context(Running(execution))
    task = Task({"x": x}, None, get_metric("kl"))
    progress = lambda what, done, total: told() if done and what == "measuring" else None  # noqa: E731
    graph, hardware = read_graph(loaded), Hardware.load("lionheart")
    return PlacementEvaluator(
        loaded, graph, hardware, task, draws=32, t_s=86400.0, progress=progress, running=running
    ), stack


def measured(execution: Execution, told: Callable[[], None] = lambda: None) -> bytes:
    here, stack = make_evaluator(execution, told)
    with stack:
        return here.measure(PLACEMENT, range(32)).drops.tobytes()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Dask's commands; none is left behind."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*arguments: str) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "PYTHONPATH": str(Path(lhc.__file__).parents[1])}
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments, "--no-dashboard"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
    for process in started:
        process.wait()


@pytest.fixture
def scheduler(start: Start, tmp_path: Path) -> str:
    """Address of a scheduler without workers."""
    start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", "scheduler.json")
    end = time.monotonic() + START_SECONDS
    while not (tmp_path / "scheduler.json").exists():
        assert time.monotonic() < end, "the scheduler does not start"
        time.sleep(0.1)
    with distributed.Client(scheduler_file=str(tmp_path / "scheduler.json"), set_as_default=False) as client:
        address: str = client.scheduler.address
    return address


def start_workers(start: Start, scheduler: str, count: int, *options: str) -> "list[subprocess.Popen[bytes]]":
    arguments = ("worker", scheduler, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1", *options)
    started = [start(*arguments) for _ in range(count)]
    with distributed.Client(scheduler, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=START_SECONDS)
    return started


@pytest.mark.slow
def test_same_bytes_and_a_killed_worker(start: Start, scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.measure.workers.dask_cluster.LOOK_SECONDS", 1)
    workers = start_workers(start, scheduler, 2)
    expected = measured(Execution())
    assert measured(Execution(scheduler=scheduler)) == expected
    finished: list[int] = []

    def kill_one() -> None:
        finished.append(1)
        if len(finished) == 1:
            os.kill(workers[0].pid, signal.SIGKILL)

    assert measured(Execution(scheduler=scheduler), kill_one) == expected
    assert workers[0].wait() == -signal.SIGKILL
    assert len(finished) == 64, "32 chips, two blocks, each once"


@pytest.mark.slow
def test_all_workers_killed(start: Start, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.measure.workers.dask_cluster.LOOK_SECONDS", 1)
    workers = start_workers(start, scheduler, 1)
    with pytest.raises(LhcError, match="no workers left; what was finished is kept"):
        measured(Execution(scheduler=scheduler, work_dir=tmp_path / "log"), workers[0].kill)
    start_workers(start, scheduler, 1)
    finished: list[int] = []
    again = measured(Execution(scheduler=scheduler, work_dir=tmp_path / "log"), lambda: finished.append(1))
    assert again == measured(Execution())
    assert len(finished) < 16, "what was finished is not measured again"


@pytest.mark.slow
def test_a_worker_with_another_version_is_refused(start: Start, scheduler: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no workers; start some with dask worker"):
        measured(Execution(scheduler=scheduler))
    (tmp_path / "other.py").write_text("from lhc.support import version\nversion.VERSION = '9.9'\n")
    good, bad = start_workers(start, scheduler, 1), start_workers(start, scheduler, 2, "--preload", "other.py")
    assert len(good) == 1
    assert len(bad) == 2
    with pytest.raises(UsageError, match=r"worker tcp://127.* has lhc 9\.9 .*Install the same versions"):
        measured(Execution(scheduler=scheduler))


def test_a_wrong_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.measure.workers.dask_cluster.CONNECT_SECONDS", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://127.0.0.1:9", "tcp://127.0.0.1:what"):
        with pytest.raises(UsageError, match=r"no Dask scheduler answers there .* start one with dask scheduler"):
            Running(Execution(scheduler=address))


def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.measure.workers.dask_cluster.CONNECT_SECONDS", 1)
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(UsageError, match="no answer of the Dask scheduler"),
    ):
        Running(Execution(scheduler=f"tcp://127.0.0.1:{mute.getsockname()[1]}"))


def test_a_scheduler_that_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.measure.workers.dask_cluster.SILENCE_SECONDS", 0.1)
    over = threading.Event()
    with pytest.raises(WorkerError, match="no answer of the Dask scheduler"):
        cluster._answer(over.wait)
    over.set()
    assert cluster._answer(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        cluster._answer(lambda: 1 / 0)


def test_tls_without_certificates_is_explained() -> None:
    with pytest.raises(UsageError, match=r"for tls:// name the certificates in Dask's configuration"):
        Running(Execution(scheduler="tls://127.0.0.1:9"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"pip install distributed"):
        Running(Execution(scheduler="tcp://127.0.0.1:9"))
