"""Write down in the plan how the placement did, and what the decision rests on."""

from dataclasses import dataclass, replace
from typing import ClassVar

from lhc.measure import Budget
from lhc.measure.measurement import drop_scale
from lhc.options.declaration.option_fields import part
from lhc.options.shared import CopiesOptions
from lhc.passes import SearchOptions, damage_of, kept_limits
from lhc.pipeline.pipeline_state import BudgetedNetwork, PreparedNetwork, RecordedNetwork, Verification, VerifiedNetwork
from lhc.pipeline.steps.verify.earlier_budget_tests import with_earlier
from lhc.pipeline.steps.verify.fixed_sequence_test import Verified
from lhc.plan import Estimate, Outcome, OutputOutcome, TestedPlacement
from lhc.results import Calibration, Evaluation, Verdict
from lhc.samples.sample_axis import network_axis
from lhc.stats import one_sided


@dataclass(frozen=True)
class Record:
    """Put the outcome into the plan."""

    name: ClassVar[str] = "record"
    requires: ClassVar[frozenset[str]] = frozenset({"verified"})
    ensures: ClassVar[frozenset[str]] = frozenset({"outcome"})

    def apply(self, state: VerifiedNetwork) -> RecordedNetwork:
        """The state whose plan is the one that is kept, with its outcome."""
        found, searched = state.found, state.searched
        follows = state.follow is not None
        # Whoever edits a plan may have seen how it did on these samples.
        held_out = state.splits.held_out and not follows
        outcome = outcome_of(
            found.verdict, state.budget, state, held_out, "plan" if follows else searched.strategy.name
        )
        note = "whoever wrote the plan may have looked at them" if follows else None
        first = found.chips.start if len(found.chips) else None
        outcome = outcome.model_copy(
            update={
                **_provenance(state, found, searched.options),
                "samples_note": note,
                "first_draw": first,
                "digital_drop": _digital_drop(state),
            }
        )
        outcome = with_earlier(outcome, one_sided(state.budget.confidence), state.earlier)
        plan = found.plan.with_arithmetic(found.plan.digital)
        return state.advanced(RecordedNetwork, plan=plan.model_copy(update={"outcome": outcome}))


def _digital_drop(state: VerifiedNetwork) -> float | None:
    """Drop of the first output that the arithmetic of digital products alone brings, on the samples that verify."""
    if state.plan.digital is None:
        return None
    evaluator = replace(state, further=()).judging_evaluator(state.splits.verify, limited=False)
    scale = drop_scale(evaluator.baseline, state.budget.relative)
    return float(evaluator.measure(frozenset(), range(1)).drops[0]) * scale


def outcome_of(verdict: Verdict, budget: Budget, state: PreparedNetwork, held_out: bool, strategy: str) -> Outcome:
    """Outcome of a verification, for the plan."""
    joint = verdict.evaluation
    found = joint.outputs[0] if joint.outputs else joint
    within = sum(drop <= budget.max_drop for drop in joint.drops)
    scored = state.options.scored or state.graph.outputs[0]
    axis = None if state.task.metric.classes is False else state.task.class_axis
    return Outcome(
        metric=found.metric,
        higher_is_better=state.task.metric.higher_is_better,
        output=scored,
        class_axis=None if axis is None else network_axis(axis, state.task.layout.of_output(scored)),
        sample_axes={name or scored: place for name, place in state.options.sample_axes.items()},
        further=_of_outputs(state, joint, budget),
        metric_note=state.metric_note,
        percent=found.percent,
        baseline=found.baseline,
        value=found.mean,
        drop=found.drop,
        interval=budget.interval(found),
        chip_interval=found.drop_interval,
        sample_interval=found.sample_interval,
        generalized=budget.generalize,
        confidence=found.confidence,
        one_chip=state.plan.hardware.faults.one_chip,
        chips_within=within / found.draws,
        yield_share=budget.share,
        yield_shown=verdict.yield_shown,
        max_drop=budget.max_drop,
        drop_type=budget.drop_type,
        within_budget=verdict.accepted,
        held_out=held_out,
        samples=found.samples,
        documents=found.documents,
        draws=found.draws,
        seed=state.options.seed,
        t_s=state.t_s,
        engine=state.engine,
        engine_reason=state.engine_reason,
        strategy=strategy,
        data=state.task.digest,
        harmful_calibration=state.harmful,
    )


def _of_outputs(state: PreparedNetwork, joint: Evaluation, budget: Budget) -> tuple[OutputOutcome, ...]:
    """How the outputs did that were judged beside the first."""
    return tuple(
        OutputOutcome(
            output=one.name,
            metric=found.metric,
            higher_is_better=found.higher_is_better,
            percent=found.percent,
            max_drop=one.max_drop,
            baseline=found.baseline,
            value=found.mean,
            drop=found.drop,
            interval=interval,
            within_budget=interval is not None and interval[1] <= one.max_drop,
        )
        for one, found in zip(state.further, joint.outputs[1:], strict=True)
        for interval in (budget.interval(found),)
    )


def _provenance(state: BudgetedNetwork, kept: Verification, options: SearchOptions) -> dict[str, object]:
    """Provenance of an outcome: how the search went."""
    return {
        "objective": options.goal.objective,
        "limits": options.goal.limits,
        "limits_kept": kept_limits(state.graph, kept.plan, options.goal),
        "groups": tuple(tuple(sorted(group)) for group in options.together),
        "copies": part(state.options, CopiesOptions).copies,
        "evaluations": len(kept.judged),
        "tested": tuple(_tested(state, one) for one in kept.tested),
        "estimate": _estimate(state, kept, options),
    }


def _tested(state: BudgetedNetwork, one: Verified) -> TestedPlacement:
    """Record of a test."""
    joint = one.verdict.evaluation
    found = joint.outputs[0] if joint.outputs else joint  # whether it holds is told by all outputs together
    return TestedPlacement(
        layers=state.layers_in(one.placement),
        analog_mac_fraction=state.plan.mac_fraction_of(one.placement),
        drop=found.drop,
        interval=state.budget.interval(found),
        draws=found.draws,
        within_budget=one.verdict.accepted,
    )


def _estimate(state: PreparedNetwork, kept: Verification, options: SearchOptions) -> Estimate | None:
    """Estimate of the placement from sensitivities, by how these did for all that the search judged.

    Nothing where that did no damage: a factor of 0 or less says nothing of other placements.
    """
    figure = next((s for layer in kept.plan.layers if (s := layer.sensitivity) is not None), None)
    damages = [damage_of(state.graph, state.plan, names, options.copies.of(names)) for names in kept.judged]
    calibration = Calibration.of(damages, [verdict.evaluation.drop for verdict in kept.judged.values()])
    if figure is None or calibration is None or calibration.factor <= 0:
        return None
    damage = damage_of(state.graph, kept.plan, kept.plan.analog)
    return Estimate(
        metric=figure.metric,
        damage=damage,
        predicted_drop=calibration.factor * damage,
        factor=calibration.factor,
        spread=calibration.spread,
        placements=calibration.placements,
    )
