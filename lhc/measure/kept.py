"""Finished units in the result cache: under what they are kept, and what they depend on."""

from collections.abc import Collection
from functools import cached_property

from lhc.measure.scorer import Job, Setting
from lhc.runtime.environment import environment
from lhc.samples.metrics import Array
from lhc.samples.task import Task
from lhc.store import Facts, ResultCache
from lhc.support.functions import code_of

__all__ = ["KeptResults"]


class KeptResults:
    """The results of one bench in the cache; without a cache, nothing is kept."""

    def __init__(self, cache: ResultCache | None, setting: Setting, task: Task) -> None:
        """Look nothing up yet.

        Args:
            cache: where results are.
            setting: what all units of the bench share.
            task: the samples.
        """
        self._cache = cache
        self._setting = setting
        self._task = task

    def get(self, job: Job, draw: int, where: slice) -> Array | None:
        """What a chip was found to give on some samples, if it was."""
        return self.find(self.placed(job.placement), self._unit(job, draw, where))

    def put(self, job: Job, draw: int, where: slice, result: Array) -> None:
        """Keep a result."""
        self.keep(self.placed(job.placement), self._unit(job, draw, where), result)

    def find(self, shared: Facts, facts: Facts) -> Array | None:
        """A result of this bench, if there is one.

        Args:
            shared: what it has in common with many others.
            facts: what tells it from them.
        """
        return None if self._cache is None else self._cache.get(self._facts, shared, facts)

    def keep(self, shared: Facts, facts: Facts, result: Array) -> None:
        """Keep a result of this bench; arguments as those of `find`."""
        if self._cache is not None:
            self._cache.put(result, self._facts, shared, facts)

    def placed(self, placement: Collection[str]) -> Facts:
        """What results with these analog layers have in common."""
        ranges: Facts = {name: list(r) for name, r in sorted(self._setting.ranges.items()) if name in placement}
        return {"placement": sorted(placement), "ranges": ranges, **self._healing(placement)}

    def _healing(self, placement: Collection[str]) -> Facts:
        """The copies of weights, and the samples that chips are calibrated on."""
        copies: Facts = dict(self._setting.copies.of(placement))
        samples = self._setting.calibration if self._setting.calibrates else None
        return ({"copies": copies} if copies else {}) | ({} if samples is None else {"calibration": samples.digest})

    def samples(self, where: slice) -> Facts:
        """What tells results on these samples from those on others."""
        return {
            "first": where.start,
            "samples": where.stop - where.start,
            "data": self._task.block_digest(where.start, where.stop),
        }

    @cached_property
    def _facts(self) -> Facts:
        setting = self._setting
        metric = setting.metric
        return {
            "model": setting.model.source,
            "hardware": setting.hardware.model_dump(mode="json", exclude={"costs"}),  # they move no output
            "metric": {
                "name": metric.name,
                "higher_is_better": metric.higher_is_better,
                "by_targets": setting.by_targets,
                "code": code_of(metric.score),
            },
            "output": setting.output,
            "seed": setting.seed,
            "environment": environment(),
        }

    def _unit(self, job: Job, draw: int, where: slice) -> Facts:
        chip: Facts = {"draw": draw, "t_s": job.t_s} if job.placement else {}
        return {**chip, **self.samples(where), "outputs": job.outputs}
