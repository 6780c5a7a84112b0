"""Sensitivity by measuring: the damage of each layer when it alone is analog.

With a wanted half-width, a layer is measured until its interval is within that share of its mean: draws grow by about
a half at each look, up to the most that is allowed, and the chance of error is divided over the looks.
"""

import logging
from collections.abc import Mapping, Sequence

from lhc.errors import NotFiniteError, OutOfTimeError
from lhc.graph import LayerGraph
from lhc.measure.measurement import Evaluator, evaluation, looked_at
from lhc.plan import Sensitivity
from lhc.results import Evaluation, SensitivityTable
from lhc.samples.metrics import Array, Metric, get_metric, shows_classes
from lhc.samples.targets import are_answers
from lhc.stats import CONFIDENCE, one_sided, summarize, two_sided
from lhc.support.number_formatting import counted

__all__ = ["measure_sensitivity", "ranking_metric"]

log = logging.getLogger("lhc")


def ranking_metric(metric: Metric | None, output: Array, targets: Array | None = None) -> Metric:
    """Metric that layers are ranked by: KL where the output holds scores of classes, else normalised MSE.

    Where it holds answers, as labels show, by their agreement with the digital network's: class numbers have no error.

    A single layer's accuracy drop is below what a few hundred samples resolve; both of these nearly add up over
    layers.

    Args:
        metric: judges placements; where it does not say what the output holds, or is None, targets and values do.
    """
    if targets is not None and are_answers(output, targets) and (metric is None or metric.classes is not False):
        return get_metric("agreement")
    can_hold = output.ndim >= 2 and output.shape[-1] > 1 and output.dtype.kind == "f"
    told = None if metric is None else metric.classes
    has_classes = shows_classes(output, targets) if told is None else told
    return get_metric("kl" if can_hold and has_classes else "nmse")


def measure_sensitivity(
    evaluator: Evaluator,
    graph: LayerGraph,
    names: Sequence[str],
    confidence: float = CONFIDENCE,
    half_width: float | None = None,
) -> SensitivityTable:
    """Measure every named layer; layers that share their weights are analog together and share the figure.

    When the time that the user gave is over, the layers measured by then make up the table. A layer with which the
    network answers NaN has no figure; the table names it beside, and a warning says so.

    Args:
        evaluator: samples, metric (damage is in its unit), draws.
        graph: to find layers that share weights.
        half_width: stop a layer once its interval reaches no farther than this share of its mean.

    Raises:
        OutOfTimeError: the time was over before there was any figure.
    """
    groups = graph.tied(names)
    first = range(evaluator.draws if half_width is None else _looks(evaluator.draws)[0])
    evaluator.expect([(frozenset(group), first) for group in groups])
    measured: dict[str, Sensitivity] = {}
    broken: dict[str, str] = {}
    for number, group in enumerate(groups):
        what = f"sensitivity {number + 1}/{len(groups)} {group[0]}"
        try:
            found = _measure(evaluator, frozenset(group), confidence, half_width, what)
        except OutOfTimeError:
            if not measured:
                raise
            log.warning("--timeout: %d of %d layers were measured; run again to go on", len(measured), len(names))
            break
        except NotFiniteError as error:
            broken.update(dict.fromkeys(group, str(error)))
            continue
        figure = Sensitivity(
            metric=found.metric,
            mean=found.drop,
            std=summarize(found.drops).std,
            interval=found.drop_interval,
            draws=found.draws,
        )
        measured.update(dict.fromkeys(group, figure))
    if broken and measured:
        told = (
            "no sensitivity of %s, e.g. %r: with one of them alone on tiles, the network answers NaN or infinite values"
        )
        log.warning(told, counted(len(broken), "layer"), next(iter(broken)))
    if half_width is not None:
        _warn_of_wide(measured, half_width, evaluator.draws)
    return SensitivityTable(
        metric=evaluator.metric.name,
        layers={name: measured[name] for name in names if name in measured},
        samples=evaluator.samples,
        draws=evaluator.draws,
        seed=evaluator.seed,
        t_s=evaluator.t_s,
        confidence=confidence,
        not_finite={name: broken[name] for name in names if name in broken},
    )


def _warn_of_wide(measured: Mapping[str, Sensitivity], half_width: float, draws: int) -> None:
    wide = sum(not _narrow(one.interval, one.mean, half_width) for one in measured.values())
    if wide:
        told = "%d of %d layers did not reach a half-width of %g within %d draws; --draws allows more"
        log.warning(told, wide, len(measured), half_width, draws)


def _looks(most: int) -> list[int]:
    looks = [min(3, most)]
    while looks[-1] < most:
        looks.append(min(most, looks[-1] + max(2, looks[-1] // 2)))
    return looks


def _measure(
    evaluator: Evaluator, placement: frozenset[str], confidence: float, half_width: float | None, what: str
) -> Evaluation:
    try:
        return _measured(evaluator, placement, confidence, half_width, what)
    except NotFiniteError as error:
        raise NotFiniteError(f"with {', '.join(map(repr, sorted(placement)))} alone on tiles, {error}") from error


def _measured(
    evaluator: Evaluator, placement: frozenset[str], confidence: float, half_width: float | None, what: str
) -> Evaluation:
    if half_width is None:
        return evaluation(evaluator.measure(placement, range(evaluator.draws), what), evaluator, False, confidence)
    looks = _looks(evaluator.draws)
    level = two_sided(one_sided(confidence) / len(looks))
    for measured in looked_at(evaluator, placement, looks, what):
        found = evaluation(measured, evaluator, False, level)
        if _narrow(found.drop_interval, found.drop, half_width):
            break
    return found


def _narrow(interval: tuple[float, float] | None, mean: float, half_width: float) -> bool:
    return interval is not None and interval[1] - mean <= half_width * abs(mean)
