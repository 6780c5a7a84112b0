"""Check the emulation of a placement, and write down in its plan what was found."""

from dataclasses import dataclass, replace
from typing import ClassVar

from lhc.measure.conformance_check import SAMPLES, conformance_on, placement_conformance
from lhc.measure.work_context import Block, WorkContext, calibration_block
from lhc.options.by_command import PlacingFirst
from lhc.options.declaration.value_parsing import Engine
from lhc.pipeline.inputs.model_source import opened_of
from lhc.pipeline.inputs.placement_source import NetworkPlacement
from lhc.pipeline.pipeline_state import StateT
from lhc.plan import Conformance, Plan
from lhc.support.version import VERSION

__all__ = ["CheckEmulation", "CheckedEmulation", "checked_emulation"]


@dataclass(frozen=True)
class CheckEmulation:
    """Compare the engine ``fast`` with ``aihwkit`` on every analog layer; nothing where ``aihwkit`` computed all."""

    name: ClassVar[str] = "check-emulation"
    requires: ClassVar[frozenset[str]] = frozenset({"outcome"})
    ensures: ClassVar[frozenset[str]] = frozenset({"conformance"})

    def apply(self, state: StateT) -> StateT:
        """The state whose plan says how engines agree."""
        if state.engine != "fast" or not state.plan.analog:
            return state
        evaluator = state.evaluator(state.splits.judged.head(SAMPLES), limited=False)
        found = placement_conformance(evaluator, state.plan.analog)
        return replace(state, plan=state.plan.model_copy(update={"conformance": found}))


@dataclass(frozen=True)
class CheckedEmulation:
    """How the emulation of a network that is placed already agrees with its definition.

    Attributes:
        conformance: None where nothing was compared: by the engine ``aihwkit``, or without samples.
        engine: that the machine takes.
        engine_reason: why that one; None where it is the default one.
        carried: the figure is that of the plan, which was written for this network by this version of lhc.
    """

    conformance: Conformance | None = None
    engine: Engine = "fast"
    engine_reason: str | None = None
    carried: bool = False

    def put_into(self, plan: Plan) -> Plan:
        """The plan with this figure."""
        return plan.model_copy(update={"conformance": self.conformance})


def checked_emulation(placed: NetworkPlacement, options: PlacingFirst) -> CheckedEmulation:
    """The figure that the plan carries, or a new one where that is of another network or version, or missing.

    Args:
        options: say which samples there are, and which chip is looked at.
    """
    plan = placed.plan
    if not plan.analog:
        return CheckedEmulation()
    from lhc.runtime.engines.registry import choose_engine

    choice = choose_engine("auto", plan.hardware, plan.analog)
    if plan.conformance is not None and (plan.source, plan.lhc_version) == (placed.model.source, VERSION):
        return CheckedEmulation(plan.conformance, choice.name, choice.why, carried=True)
    samples = _first_samples(options) if choice.name == "fast" else None
    if samples is None:
        return CheckedEmulation(None, choice.name, choice.why)
    t_s = plan.hardware.t_inference_s if options.t_s is None else options.t_s
    context = WorkContext.unscored(placed.model, placed.graph, plan, options.seed)
    return CheckedEmulation(conformance_on(samples, context, plan.analog, t_s), choice.name, choice.why)


def _first_samples(options: PlacingFirst) -> Block | None:
    """Some samples; None where there are none."""
    opened = opened_of(options)
    if options.data is None and opened.entry is None:
        return None
    return calibration_block(opened.chosen(options).head(SAMPLES))
