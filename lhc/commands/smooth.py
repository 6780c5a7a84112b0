"""A network whose outliers of activations are moved into its weights, for the tiles of a machine."""

from lhc.errors import ModelError
from lhc.onnx_io.rewrites.channel_scales import scalable_inputs
from lhc.options.by_command import SmoothOptions
from lhc.options.declaration.python_signature import keywords
from lhc.pipeline.inputs.hardware_choice import check_machine, machine_of
from lhc.pipeline.inputs.model_source import loaded_model
from lhc.pipeline.rewrites.choose_channel_scales import (
    SmoothedModel,
    chosen_factors,
    greatest_difference,
    input_vectors,
    smoothed_model,
)
from lhc.pipeline.rewrites.rewritten_network import data_file, store_in


@keywords(SmoothOptions)
def smooth(options: SmoothOptions) -> SmoothedModel:
    """Move outliers of activations into weights, where products on the hardware's tiles gain by it.

    The network computes the same as before. Channels can be scaled behind a normalisation, and behind a gate that a
    product by stored weights gives.

    Raises:
        UsageError: a time that the devices are not known for.
        ModelError: no input of its products can be scaled.
    """
    opened = loaded_model(options)
    task = opened.chosen(options)
    opened = opened.seen(task)
    model, graph = opened.model, opened.graph(None, task)
    machine = machine_of(options)
    check_machine(machine, graph)
    t_s = machine.t_inference_s if options.t_s is None else options.t_s
    machine.check_time(t_s)
    inputs = scalable_inputs(model, graph)
    if not inputs:
        raise ModelError(
            f"{model.label}: no input of its products can be scaled: none comes from a stored gain, or from a product"
            " that nothing else reads"
        )
    vectors, samples = input_vectors(model, [one.tensor for one in inputs], task, options.progress)
    chosen = []
    for number, one in enumerate(inputs):
        options.progress("scaling inputs", number, len(inputs))
        chosen.append(chosen_factors(model, graph, one, vectors[one.tensor], machine, options.seed, t_s))
    options.progress("scaling inputs", len(inputs), len(inputs))
    data = data_file(model)
    smoothed = smoothed_model(model, graph, inputs, chosen, store_in(data))
    difference, told = greatest_difference(model, smoothed, task), tuple(one.told for one in chosen)
    return SmoothedModel(
        model=smoothed, source=model, inputs=told, samples=samples, hardware=machine, difference=difference, data=data
    )
