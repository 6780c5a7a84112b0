"""Damage attribution: the effects of a machine are switched off one at a time.

The share of an effect is the damage with everything less the damage without that effect, on the same samples and chips;
seeds belong to purposes (`lhc.seeds`), so what is left on draws the same numbers. Effects interact (noise that pushes
outputs into saturation, quantising that drowns in noise), so shares need not add up to the damage. Digital products
compute as in the file here: what their number format takes is not an effect of tiles.

Where chips are calibrated, all of this is what calibration leaves; what it takes away is one more figure. Another is
what a calibration would take away besides if it saw the very read noise of inference. No machine can do that, and no
other measurement does: it says how optimistic an emulation is that freezes read noise.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from lhc.errors import OutOfTimeError
from lhc.hardware import EFFECTS, Effect, effects_of, fixed_devices, without
from lhc.measure.evaluator import PlacementEvaluator
from lhc.measure.measurement import Measurement, finite
from lhc.plan import Sensitivity
from lhc.results import Attribution, LayerAttribution
from lhc.samples.metrics import Scores
from lhc.stats import CONFIDENCE, clipped, summarize

log = logging.getLogger("lhc")


def measure_attribution(
    evaluator: PlacementEvaluator, names: Sequence[str], confidence: float = CONFIDENCE
) -> Attribution:
    """Attribute the damage of every named layer; layers that share their weights are analog together.

    When the time that the user gave is over, the layers measured by then are returned.

    Args:
        evaluator: samples, metric (damage is in its unit), hardware, draws.
    """
    evaluator = replace(evaluator, digital=None)
    effects = effects_of(evaluator.hardware)
    if fixed := fixed_devices(evaluator.hardware):
        log.warning("effects of %s cannot be switched off: what they do is in the rest", ", ".join(fixed))
    evaluators = {effect: _evaluator(evaluator, [effect]) for effect in effects}
    perfect = _evaluator(evaluator, EFFECTS)
    healing = _calibrations(evaluator)
    groups, least = evaluator.graph.tied(names), evaluator.metric.least_damage(evaluator.baseline)
    layers: dict[str, LayerAttribution] = {}
    for number, group in enumerate(groups):
        placement, what = frozenset(group), f"attribution {number + 1}/{len(groups)} {group[0]}"
        try:
            whole = _measured(evaluator, placement, what)
            drops = {one: _measured(evaluators[one], placement, f"{what} {one}").drops for one in effects}
            rest = _measured(perfect, placement, f"{what} rest").drops
            healed = {
                name: sign * (_measured(one, placement, f"{what} {name}").drops - whole.drops)
                for name, (one, sign) in healing.items()
            }
        except OutOfTimeError:
            if not layers:
                raise
            log.warning("--timeout: %d of %d layers were attributed; run again to go on", len(layers), len(names))
            break
        figure = partial(_figure, evaluator.metric.name, confidence, whole.step)
        found = LayerAttribution(
            damage=figure(whole.drops, least),
            effects={effect: figure(whole.drops - drops[effect]) for effect in effects},
            rest=figure(rest, least),
            **{name: figure(values) for name, values in healed.items()},
        )
        layers.update(dict.fromkeys(group, found))
    return Attribution(
        metric=evaluator.metric.name,
        layers={name: layers[name] for name in names if name in layers},
        samples=evaluator.samples,
        documents=evaluator.task.document_count,
        draws=evaluator.draws,
        seed=evaluator.seed,
        t_s=evaluator.t_s,
        confidence=confidence,
        calibrated=evaluator.calibration.samples
        if evaluator.calibration is not None and evaluator.context.calibrates
        else 0,
    )


def _calibrations(evaluator: PlacementEvaluator) -> dict[str, tuple[PlacementEvaluator, int]]:
    """Evaluators with chips calibrated otherwise, and whether their damage counts more or less than the given one's."""
    if not evaluator.context.calibrates:
        return {}
    found = {"calibration": (replace(evaluator, calibration=None), 1)}
    if evaluator.hardware.compensation.calibrated_at(evaluator.t_s) == evaluator.t_s:
        found["frozen"] = (replace(evaluator, frozen=True), -1)
    return found


def _evaluator(evaluator: PlacementEvaluator, off: Iterable[Effect]) -> PlacementEvaluator:
    return replace(evaluator, hardware=without(evaluator.hardware, off))


def _measured(evaluator: PlacementEvaluator, placement: frozenset[str], what: str) -> Measurement:
    return finite(evaluator.measure(placement, range(evaluator.draws), what))


def _figure(metric: str, confidence: float, step: float, values: Scores, least: float = -np.inf) -> Sensitivity:
    """Sensitivity from damages, none below ``least``, or from their differences.

    Args:
        step: least change of a value, as in `over_draws`.
    """
    found = summarize(values, confidence, step)
    interval = clipped(found.interval, min(least, found.mean), np.inf)
    return Sensitivity(metric=metric, mean=found.mean, std=found.std, interval=interval, draws=found.draws)
