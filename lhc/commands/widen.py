"""A network whose columns are written several times, in columns of tiles that are free anyway."""

from lhc.options.by_command import WidenOptions
from lhc.options.declaration.option_fields import part
from lhc.options.declaration.python_signature import keywords
from lhc.passes import Select, qualified_plan
from lhc.pipeline.inputs.hardware_choice import check_machine, named_hardware
from lhc.pipeline.inputs.model_source import loaded_model
from lhc.pipeline.rewrites.choose_column_copies import WidenedModel, widened_model


@keywords(WidenOptions)
def widen(options: WidenOptions) -> WidenedModel:
    """Write columns of products several times, where their tiles have free columns, and take the mean of the copies.

    Every copy has devices and a converter of its own, so that errors of a column average out. What is written is an
    ordinary network, which computes the same; it is placed as any other. A layer that stays digital then multiplies as
    often as it was written: name those that go onto tiles.

    Raises:
        UsageError: a pattern that no layer matches.
    """
    opened = loaded_model(options)
    graph, machine = opened.example_graph(), named_hardware(options)
    check_machine(machine, graph)
    plan = qualified_plan(graph, machine, opened.model.source)
    chosen = [row.name for row in part(options, Select).run(graph, plan).plan.layers if row.may_be_analog]
    return widened_model(opened.model, graph, machine, chosen, options.most)
