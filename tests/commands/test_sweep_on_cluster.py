"""A sweep on Dask workers, and the recipe for SLURM, whose job script is read and whose cluster is a local one here."""

import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Protocol

import pytest

import lhc
from benchmarks.sweep_with_a_killed_worker import small_sweep
from lhc.store import CacheContents

distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install distributed")

pytestmark = [pytest.mark.analog, pytest.mark.filterwarnings("default")]


class Cluster(Protocol):
    """A cluster of Dask's."""

    scheduler_address: str


ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    """The example that does a sweep on SLURM."""
    spec = importlib.util.spec_from_file_location("slurm_sweep", ROOT / "examples" / "08_slurm_sweep.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Two workers of this machine, each with the cache of its own machine."""
    monkeypatch.setenv("LHC_CACHE", str(tmp_path / "theirs"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as found:
        yield found


@pytest.mark.slow
def test_the_recipe_gives_the_rows_of_processes(recipe: ModuleType, cluster: Cluster, tmp_path: Path) -> None:
    path = small_sweep(tmp_path, 4)
    expected = lhc.sweep(path)

    assert recipe.swept(cluster, str(path), "-o", str(tmp_path / "out"), "--work-dir", str(tmp_path / "mine")) == 0

    kept = lhc.sweep(path, work_dir=tmp_path / "mine")
    assert kept.earlier == 4
    assert [row.figures for row in kept.rows] == [row.figures for row in expected.rows]
    info = lhc.cache("info", work_dir=tmp_path / "theirs")
    assert isinstance(info, CacheContents)
    assert info.results > 0
    assert dict(info.documents) == {}


@pytest.mark.slow
def test_a_killed_worker_loses_no_run(cluster: Cluster, tmp_path: Path) -> None:
    path = small_sweep(tmp_path, 8)
    killed: list[int] = []

    def kill_one(what: str, done: int, total: int) -> None:
        if what == "runs" and done == 2 and not killed:
            with distributed.Client(cluster, set_as_default=False) as client:
                killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    result = lhc.sweep(path, scheduler=cluster.scheduler_address, progress=kill_one)

    assert killed
    assert result.failed == ()
    assert len(result.rows) == 8


def test_the_job_script_asks_for_one_thread_and_a_cache_of_its_own(recipe: ModuleType) -> None:
    jobqueue = pytest.importorskip("dask_jobqueue", reason="pip install dask-jobqueue")
    assert jobqueue.__version__

    with recipe.slurm_cluster("long", "8GB", "02:00:00") as cluster:
        lines = cluster.job_script().splitlines()

    assert lines[0] == "#!/usr/bin/env bash"
    for asked in ("-p long", "-n 1", "--cpus-per-task=1", "--mem=8G", "-t 02:00:00"):
        assert f"#SBATCH {asked}" in lines
    assert "export LHC_CACHE=$HOME/lhc-caches/$SLURM_JOB_ID" in lines
    started = next(line for line in lines if "--nthreads" in line)
    assert "--nthreads 1" in started
    assert lines.index(started) > lines.index("export LHC_CACHE=$HOME/lhc-caches/$SLURM_JOB_ID")
