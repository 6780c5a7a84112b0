"""Finished units in the log of results: under what they are kept, and what they depend on."""

import inspect
from functools import cached_property

from lhc.measure.scoring import Job, Setting
from lhc.metrics import Array, Metric
from lhc.runtime.environment import environment
from lhc.store import Facts, ResultLog, fingerprint
from lhc.task import Task

__all__ = ["KeptResults"]


class KeptResults:
    """The results of one bench in the log; without a log, nothing is kept."""

    def __init__(self, log: ResultLog | None, setting: Setting, task: Task) -> None:
        """Look nothing up yet.

        Args:
            log: where results are.
            setting: what all units of the bench share.
            task: the samples.
        """
        self._log = log
        self._setting = setting
        self._task = task

    def get(self, job: Job, draw: int, where: slice) -> Array | None:
        """What a chip was found to give on some samples, if it was."""
        if self._log is None:
            return None
        return self._log.get(fingerprint(self._unit(job, draw, where), self._context(self._log, job)))

    def put(self, job: Job, draw: int, where: slice, result: Array) -> None:
        """Keep a result."""
        if self._log is not None:
            facts, context = self._unit(job, draw, where), self._context(self._log, job)
            self._log.put(fingerprint(facts, context), result, facts, context)

    def _context(self, log: ResultLog, job: Job) -> str:
        ranges: Facts = {name: list(r) for name, r in sorted(self._setting.ranges.items()) if name in job.placement}
        placed: Facts = {"placement": sorted(job.placement), "ranges": ranges}
        return log.context(placed, within=log.context(self._facts))

    @cached_property
    def _facts(self) -> Facts:
        setting = self._setting
        metric = setting.metric
        return {
            "model": setting.model.source,
            "hardware": setting.hardware.model_dump(mode="json"),
            "metric": {
                "name": metric.name,
                "higher_is_better": metric.higher_is_better,
                "by_targets": setting.by_targets,
                "code": _code(metric),
            },
            "output": setting.output,
            "seed": setting.seed,
            "environment": environment(),
        }

    def _unit(self, job: Job, draw: int, where: slice) -> Facts:
        chip: Facts = {"draw": draw, "t_s": job.t_s} if job.placement else {}
        return {
            **chip,
            "first": where.start,
            "samples": where.stop - where.start,
            "data": self._task.block_digest(where.start, where.stop),
            "outputs": job.outputs,
        }


def _code(metric: Metric) -> str | None:
    """The source of a metric, so that a changed one is measured again."""
    try:
        return inspect.getsource(metric.score)
    except (OSError, TypeError):
        return None
