"""Figures of a placement that a row of a sweep holds."""

from lhc.pipeline.analysis_and_partition_results import PartitionResult
from lhc.plan.recurrent_steps import folded_rows
from lhc.results import RunFigures

__all__ = ["run_figures"]


def run_figures(result: PartitionResult) -> RunFigures:
    """The figures of a result of `lhc.partition`."""
    plan, outcome, cost, digital = result.plan, result.plan.outcome, result.cost, result.digital_cost
    rows = folded_rows(plan.layers)  # as the table of ``lhc partition`` counts them
    assert outcome is not None, "every partition is judged"
    return RunFigures(
        hardware=plan.hardware.name,
        metric=outcome.metric,
        percent=outcome.percent,
        digital=outcome.baseline,
        precision=None if plan.digital is None else plan.digital.text,
        precision_drop=outcome.digital_drop,
        mapped=outcome.value,
        drop=outcome.drop,
        drop_type=outcome.drop_type,
        interval=outcome.interval,
        chip_interval=outcome.chip_interval,
        sample_interval=outcome.sample_interval,
        confidence=outcome.confidence,
        max_drop=outcome.max_drop,
        within_budget=outcome.within_budget,
        held_out=outcome.held_out,
        samples=outcome.samples,
        chips=outcome.draws,
        seed=outcome.seed,
        t_s=outcome.t_s,
        analog_layers=sum(row.placement == "analog" for row in rows),
        layers=len(rows),
        analog_mac_fraction=plan.analog_mac_fraction,
        tiles=plan.tiles(result.facts),
        energy_j=None if cost is None else cost.total.energy_j,
        latency_s=None if cost is None else cost.total.latency_s,
        digital_energy_j=None if digital is None else digital.total.energy_j,
        digital_latency_s=None if digital is None else digital.total.latency_s,
        retrained=outcome.retrained is not None,
        course=()
        if outcome.retrained is None
        else tuple((point.step, point.drop) for point in outcome.retrained.curve),
    )
