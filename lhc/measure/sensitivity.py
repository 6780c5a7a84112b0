"""How much damage each layer does when it alone is analog."""

from collections.abc import Sequence

from lhc.measure.bench import Bench
from lhc.plan import Sensitivity
from lhc.results import SensitivityTable
from lhc.stats import summarize
from lhc.task import Array, Metric, get_metric

__all__ = ["measure_sensitivity", "ranking_metric"]


def ranking_metric(output: Array) -> Metric:
    """What layers are ranked by: KL over the last axis where it can hold classes, else normalised MSE.

    A single layer's accuracy drop is below what a few hundred samples resolve; both of these nearly add up over
    layers.
    """
    has_classes = output.ndim >= 2 and output.shape[-1] > 1 and output.dtype.kind == "f"
    return get_metric("kl" if has_classes else "nmse")


def measure_sensitivity(bench: Bench, names: Sequence[str]) -> SensitivityTable:
    """Measure every named layer; layers that share their weights are analog together and share the figure.

    Args:
        bench: samples, metric (damage is in its unit), draws.
        names: layers, in file order.
    """
    groups = bench.graph.tied(names)
    measured: dict[str, Sensitivity] = {}
    for number, group in enumerate(groups):
        evaluation = bench.evaluate(frozenset(group), what=f"sensitivity {number + 1}/{len(groups)} {group[0]}")
        summary = summarize(evaluation.drops, bench.confidence)
        figure = Sensitivity(metric=bench.metric.name, mean=summary.mean, std=summary.std, interval=summary.interval)
        measured.update(dict.fromkeys(group, figure))
    return SensitivityTable(
        metric=bench.metric.name,
        layers={name: measured[name] for name in names},
        samples=len(bench.task),
        draws=bench.draws,
        seed=bench.seed,
        t_s=bench.t_s,
    )
