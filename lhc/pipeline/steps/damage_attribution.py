"""Where the damage of single layers comes from: one effect of the machine is switched off at a time.

The share of an effect is the damage with everything less the damage without that effect, on the same samples and chips;
seeds belong to purposes (`lhc.seeds`), so what is left on draws the same numbers. Effects interact (noise that pushes
outputs into saturation, quantising that drowns in noise), so shares need not add up to the damage.

Where chips are calibrated, all of this is what calibration leaves; what it takes away is one more figure. Another is
what a calibration would take away besides if it saw the very read noise of inference. No machine can do that, and no
other measurement does: it says how optimistic an emulation is that freezes read noise.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from lhc.errors import OutOfTimeError
from lhc.hardware import EFFECTS, Effect, effects_of, fixed_devices, without
from lhc.measure.evaluator import Bench
from lhc.measure.measurement import finite
from lhc.plan import Sensitivity
from lhc.results import Attribution, LayerAttribution
from lhc.samples.metrics import Scores
from lhc.stats import CONFIDENCE, clipped, summarize

__all__ = ["measure_attribution"]

log = logging.getLogger("lhc")


def measure_attribution(bench: Bench, names: Sequence[str], confidence: float = CONFIDENCE) -> Attribution:
    """Attribute the damage of every named layer; layers that share their weights are analog together.

    When the time that the user gave is over, the layers measured by then are returned.

    Args:
        bench: samples, metric (damage is in its unit), hardware, draws.
    """
    effects = effects_of(bench.hardware)
    if fixed := fixed_devices(bench.hardware):
        log.warning("effects of %s cannot be switched off: what they do is in the rest", ", ".join(fixed))
    benches: dict[Effect | None, Bench] = {effect: _bench(bench, [effect]) for effect in effects}
    benches[None] = bench
    perfect = _bench(bench, EFFECTS)
    healing = _calibrations(bench)
    groups, least = bench.graph.tied(names), bench.metric.least_damage(bench.baseline)
    layers: dict[str, LayerAttribution] = {}
    for number, group in enumerate(groups):
        placement, what = frozenset(group), f"attribution {number + 1}/{len(groups)} {group[0]}"
        try:
            drops = {effect: _drops(one, placement, f"{what} {effect or ''}") for effect, one in benches.items()}
            rest = _drops(perfect, placement, f"{what} rest")
            healed = {
                name: sign * (_drops(one, placement, f"{what} {name}") - drops[None])
                for name, (one, sign) in healing.items()
            }
        except OutOfTimeError:
            if not layers:
                raise
            log.warning("--timeout: %d of %d layers were attributed; run again to go on", len(layers), len(names))
            break
        found = LayerAttribution(
            damage=_figure(bench, drops[None], confidence, least),
            effects={effect: _figure(bench, drops[None] - drops[effect], confidence) for effect in effects},
            rest=_figure(bench, rest, confidence, least),
            **{name: _figure(bench, values, confidence) for name, values in healed.items()},
        )
        layers.update(dict.fromkeys(group, found))
    return Attribution(
        metric=bench.metric.name,
        layers={name: layers[name] for name in names if name in layers},
        samples=bench.samples,
        documents=bench.task.document_count,
        draws=bench.draws,
        seed=bench.seed,
        t_s=bench.t_s,
        confidence=confidence,
        calibrated=bench.calibration.samples if bench.calibration is not None and bench.setting.calibrates else 0,
    )


def _calibrations(bench: Bench) -> dict[str, tuple[Bench, int]]:
    """Benches whose chips are calibrated otherwise, and whether their damage counts more or less than the bench's."""
    if not bench.setting.calibrates:
        return {}
    found = {"calibration": (replace(bench, calibration=None), 1)}
    if bench.hardware.compensation.calibrated_at(bench.t_s) == bench.t_s:
        found["frozen"] = (replace(bench, frozen=True), -1)
    return found


def _bench(bench: Bench, off: Iterable[Effect]) -> Bench:
    return replace(bench, hardware=without(bench.hardware, off))


def _drops(bench: Bench, placement: frozenset[str], what: str) -> Scores:
    return finite(bench.measure(placement, range(bench.draws), what)).drops


def _figure(bench: Bench, values: Scores, confidence: float, least: float = -np.inf) -> Sensitivity:
    """Of damages, none of which is below ``least``, or of their differences."""
    found = summarize(np.asarray(values), confidence)
    interval = clipped(found.interval, min(least, found.mean), np.inf)
    return Sensitivity(metric=bench.metric.name, mean=found.mean, std=found.std, interval=interval, draws=found.draws)
