"""``lhc.attribute``: the damage of every layer by effect of the machine."""

from dataclasses import replace

from lhc.commands.sensitivity import preparing
from lhc.measure import Running
from lhc.onnx_io import read_plan
from lhc.options.by_command import AttributeOptions
from lhc.options.declaration.python_signature import keywords
from lhc.pipeline.inputs.hardware_choice import machine_of
from lhc.pipeline.inputs.model_source import loaded_model
from lhc.pipeline.steps.explain.damage_attribution import measure_attribution
from lhc.pipeline.steps.prepare import read, read_as_judged
from lhc.plan.recurrent_steps import folded_titles
from lhc.report.tables.command_results import AttributionResult
from lhc.samples.metrics import METRICS


@keywords(AttributeOptions)
def attribute(options: AttributeOptions) -> AttributionResult:
    """Causes of the damage of every eligible layer, by effect of the machine.

    Hardware, time and output are those of the annotations by default, where the model has any. On that machine layers
    have the copies of the placement. They are measured in ``metric``, by default in what they are ranked by under the
    annotations'.
    """
    opened = loaded_model(options)
    plan = read_plan(opened.model)
    opened = opened if plan is None else opened.with_control(plan.control).split_as(plan)
    outcome = None if plan is None else plan.outcome
    stored = plan if options.hardware is None else None
    t_inference = options.t_s
    if t_inference is None and stored is not None and stored.outcome is not None:
        t_inference = stored.outcome.t_s
    asked = options if outcome is None else read_as_judged(options, outcome)
    machine = machine_of(options, plan)
    placed = plan if plan is not None and plan.hardware.infers_as(machine) else None
    with Running(options) as running:
        state = read(asked, running, t_inference, opened=opened, ranks=True, machine=machine)
        state = preparing(options, placed).apply(state)
        judged_by = None if outcome is None else METRICS.get(outcome.metric)
        task = state.splits.judged if options.metric is not None else state.ranking_task(judged_by)
        found = measure_attribution(state.evaluator(task), state.measurable, options.confidence)
    return AttributionResult(**vars(replace(found, titles=folded_titles(state.plan))))
