"""Do a sweep on a SLURM cluster: dask-jobqueue starts workers as jobs, ``lhc sweep`` gives each its runs.

    pip install dask-jobqueue
    python 08_slurm_sweep.py sweep.toml --jobs 16 --partition PARTITION

Run it where jobs are submitted, in a folder that all machines see, with the Python that has lhc. Finished rows are kept
in the cache of this machine, so the same command goes on after any end. ``--show`` prints the job script alone.
"""

import argparse
import subprocess
import sys
from importlib import import_module
from typing import Any

PROLOGUE = (
    "export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1",
    "export LHC_CACHE=$HOME/lhc-caches/$SLURM_JOB_ID",
)
"""One thread a worker; each job has a cache of its own, since machines cannot share a database on a network disk."""


def slurm_cluster(partition: str | None = None, memory: str = "4GB", walltime: str = "04:00:00") -> Any:  # noqa: ANN401
    """A cluster whose jobs are one worker with one thread each; none is submitted yet."""
    try:
        jobqueue: Any = import_module("dask_jobqueue")
    except ImportError:
        sys.exit("workers are started by dask-jobqueue: pip install dask-jobqueue")
    return jobqueue.SLURMCluster(
        queue=partition, cores=1, processes=1, memory=memory, walltime=walltime, job_script_prologue=list(PROLOGUE)
    )


def swept(cluster: Any, sweep: str, *options: str) -> int:  # noqa: ANN401
    """Exit code of ``lhc sweep`` on the workers of any Dask cluster, once there is one."""
    distributed: Any = import_module("distributed")
    with distributed.Client(cluster) as client:
        client.wait_for_workers(1)
    command = [sys.executable, "-m", "lhc", "sweep", sweep, "--scheduler", cluster.scheduler_address, *options]
    return subprocess.run(command, check=False).returncode


def main() -> None:
    """Submit the jobs, do the sweep, and end the jobs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", help="the TOML file of the sweep")
    parser.add_argument("--jobs", type=int, default=4, help="workers to ask SLURM for")
    parser.add_argument("--partition", help="of SLURM; its default one if not given")
    parser.add_argument("--memory", default="4GB", help="of a job")
    parser.add_argument("--walltime", default="04:00:00", help="of a job")
    parser.add_argument("--show", action="store_true", help="print the job script and submit nothing")
    asked = parser.parse_args()
    with slurm_cluster(asked.partition, asked.memory, asked.walltime) as cluster:
        if asked.show:
            print(cluster.job_script())
            return
        cluster.scale(jobs=asked.jobs)
        code = swept(cluster, asked.sweep)
    sys.exit(code)


if __name__ == "__main__":
    main()
