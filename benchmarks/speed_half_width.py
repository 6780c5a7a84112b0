"""Sensitivities of ResNet20 to a half-width of 20 %: lhc against LionHeart's protocol.

lhc measures every layer until its 90 % interval over chips reaches no farther than 20 % of its mean, on 256 images.
LionHeart's published code runs 10 repetitions of 5,000 images for every layer, whatever the spread. Its cost is that of
a loop over aihwkit's `convert_to_analog`, timed on fewer images and multiplied: time is linear in images. Conversion
and programming are counted once per repetition and layer.

``LHC_DATA=FOLDER OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/speed_half_width.py``
"""

from collections.abc import Sequence

import torch

from benchmarks.aihwkit_sensitivity import layer_names, log_probabilities
from benchmarks.timing import Spent, analog_copy, images, options, resnet20, timed, write
from lhc.hardware import Hardware
from lhc.measure import PlacementEvaluator, measure_sensitivity
from lhc.onnx_io import load_model, read_graph
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

__all__ = ["main"]

REPETITIONS = 10
PROTOCOL_IMAGES = 5000


def protocol(x: torch.Tensor, batch: int) -> Spent:
    """Time of LionHeart's protocol, from one repetition of every layer on these images."""
    _, network = resnet20()
    total = 0.0
    wall = 0.0
    for layer in layer_names(network):
        with timed() as programming:
            analog = analog_copy(network, [layer])
        with timed() as running:
            log_probabilities(analog, x, batch)
        factor = PROTOCOL_IMAGES / len(x)
        total += programming[0].cpu_s + running[0].cpu_s * factor
        wall += programming[0].wall_s + running[0].wall_s * factor
    return Spent(total, wall).times(REPETITIONS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Time both."""
    assert __doc__
    parser = options(__doc__, count=256)
    parser.add_argument("--half-width", type=float, default=0.2, help="share of the mean")
    parser.add_argument("--draws", type=int, default=100, help="most programmings of a layer")
    parser.add_argument("--peer-images", type=int, default=50, help="images from which the peer's time is extrapolated")
    parser.add_argument("--batch", type=int, default=10, help="images a call of aihwkit")
    chosen = parser.parse_args(arguments)
    x = images(max(chosen.images, chosen.peer_images))
    proto, _ = resnet20()
    model = load_model(proto)
    graph = read_graph(model)
    task = Task({graph.inputs[0]: x[: chosen.images]}, None, get_metric("kl"))
    names = [layer.name for layer in graph.candidates]
    hardware = Hardware.load("lionheart")
    measure_sensitivity(
        PlacementEvaluator(model, graph, hardware, task.head(8), draws=2, t_s=86400.0), graph, names[:1]
    )
    with timed() as ours:
        evaluator = PlacementEvaluator(model, graph, hardware, task, draws=chosen.draws, t_s=86400.0)
        table = measure_sensitivity(evaluator, graph, names, half_width=chosen.half_width)
    rows = table.layers.values()
    widths = [(r.interval[1] - r.interval[0]) / (2 * r.mean) for r in rows if r.interval is not None]
    reached = sum(width <= chosen.half_width for width in widths)
    draws = [row.draws for row in rows]
    theirs = protocol(torch.from_numpy(x[: chosen.peer_images]), chosen.batch)
    faster = theirs.cpu_s / ours[0].cpu_s
    print(f"lhc, {len(task)} images: {ours[0]}; {reached} of {len(names)} layers within {chosen.half_width:.0%}")
    print(f"draws per layer: {min(draws)} to {max(draws)}, {sum(draws)} in all")
    print(f"LionHeart's protocol, extrapolated from {chosen.peer_images} images: {theirs}; ratio {faster:.1f}")
    write(chosen.output, {"lhc": ours[0], "draws": draws, "reached": reached, "protocol": theirs, "faster": faster})


if __name__ == "__main__":
    main()
