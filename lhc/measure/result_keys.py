"""Finished units in the result cache: under what they are kept, and what they depend on."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from lhc.measure.evaluation_context import WorkContext
from lhc.measure.work_unit import Job
from lhc.runtime.environment_fingerprint import environment
from lhc.samples.metrics import Array
from lhc.samples.sample_axis import SampleLayout
from lhc.samples.task import Task
from lhc.samples.user_metric import score_digest
from lhc.store import Facts, JsonValue, ResultCache

__all__ = ["ResultLookup"]


@dataclass(frozen=True, eq=False)
class ResultLookup:
    """The results of one evaluator in the cache; without a cache, nothing is kept.

    Attributes:
        context: what all units of the evaluator share.
    """

    cache: ResultCache | None
    context: WorkContext
    task: Task

    def get(self, job: Job, draw: int, where: slice) -> Array | None:
        """Kept scores of a chip on some samples, if there are any."""
        return self.find(self._shared(job), self._unit(job, draw, where))

    def put(self, job: Job, draw: int, where: slice, result: Array) -> None:
        """Keep a result."""
        self.keep(self._shared(job), self._unit(job, draw, where), result)

    def find(self, shared: Facts, facts: Facts) -> Array | None:
        """A result of this evaluator, if there is one: ``shared`` are facts of many results, ``facts`` its own."""
        return None if self.cache is None else self.cache.get(self._facts, shared, facts)

    def keep(self, shared: Facts, facts: Facts, result: Array) -> None:
        """Keep a result of this evaluator, by facts as those of `find`."""
        if self.cache is not None:
            self.cache.put(result, self._facts, shared, facts)

    def _shared(self, job: Job) -> Facts:
        """Facts that results of a job share: of the network without tiles the digital arithmetic alone.

        Machines with one arithmetic, and all seeds, share what they measure of it. The network as given has none.
        """
        if job.placement:
            return self.placed(job.placement)
        return {} if job.as_given else self._arithmetic(job.raised)

    def placed(self, placement: Collection[str]) -> Facts:
        """Facts that results with these analog layers share."""
        context = self.context
        ranges: Facts = {name: list(r) for name, r in sorted(context.ranges.items()) if name in placement}
        return {
            "hardware": context.hardware.model_dump(mode="json", exclude={"costs"}),  # they move no output
            **({"device_code": code} if (code := context.hardware.user_code) else {}),
            "seed": context.seed,
            "placement": sorted(placement),
            "ranges": ranges,
            **self._healing(placement),
            **self._arithmetic(None),
        }

    def _healing(self, placement: Collection[str]) -> Facts:
        """The copies of weights, and the samples that chips are calibrated on."""
        copies = self.context.copies.of(placement)
        samples = self.context.calibration if self.context.calibrates else None
        found: dict[str, JsonValue] = {"copies": dict(copies)} if copies else {}
        if samples is not None:
            found["calibration"] = samples.digest
        if self.context.frozen:
            found["frozen"] = True
        if self.context.engine == "aihwkit":
            found["engine"] = self.context.engine
            found["gpu"] = self._gpu
        return found

    def samples(self, where: slice) -> Facts:
        """Facts that tell results on these samples from those on others."""
        return {
            "first": where.start,
            "samples": where.stop - where.start,
            "data": self.task.block_digest(where.start, where.stop),
        }

    @cached_property
    def _gpu(self) -> str | None:
        """GPU that PyTorch sums products on, in an order of its own."""
        from lhc.runtime.torch_settings import gpu_name

        return gpu_name()

    @cached_property
    def _facts(self) -> Facts:
        context, metric = self.context, self.context.metric
        return {
            "model": context.model.identity,
            "metric": {
                "name": metric.name,
                "higher_is_better": metric.higher_is_better,
                "by_targets": context.by_targets,
                "code": score_digest(metric.score),
                "class_axis": context.class_axis,
            },
            "output": context.output,
            **({"layout": repr(context.layout)} if context.layout != SampleLayout() else {}),
            "environment": environment(),
        }

    def _arithmetic(self, raised: frozenset[str] | None) -> Facts:
        digital = self.context.arithmetic(raised)
        return {} if digital is None else {"digital": digital.model_dump(mode="json")}

    def _unit(self, job: Job, draw: int, where: slice) -> Facts:
        chip: Facts = {"draw": draw, "t_s": job.t_s} if job.placement else {}
        return {**chip, **self.samples(where), "outputs": job.outputs}
