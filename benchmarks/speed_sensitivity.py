"""Sensitivity of all 20 layers of ResNet20: lhc against a loop over aihwkit's `convert_to_analog`.

For every layer and draw the loop converts the network with that one layer analog, programs it, lets it drift to one
day, and runs it on all images; the digital network is run once. lhc does the same with as many images and draws. Both
give the KL divergence of the outputs, and both times hold everything from the loaded network on, programming too.
The loop's time is linear in draws (all but one pass of the digital network), so a few stand for all: half of them are
timed before lhc, half after.

``LHC_DATA=FOLDER OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/speed_sensitivity.py``
"""

from collections.abc import Sequence

import torch
from torch import nn

from benchmarks.aihwkit_sensitivity import kl, layer_names, log_probabilities
from benchmarks.timing import Spent, analog_copy, images, options, resnet20, timed, write
from lhc.hardware import Hardware
from lhc.measure import PlacementEvaluator, measure_sensitivity
from lhc.onnx_io import load_model, read_graph
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

__all__ = ["main"]


def peer(network: nn.Module, x: torch.Tensor, draws: Sequence[int], batch: int) -> tuple[Spent, list[float]]:
    """Time of some draws of all layers by aihwkit alone, and the KL of every layer and draw."""
    digital = log_probabilities(network, x, batch)
    with timed() as spent:
        found = [
            kl(digital, log_probabilities(analog_copy(network, [layer], draw), x, batch))
            for layer in layer_names(network)
            for draw in draws
        ]
    return spent[0], found


def main(arguments: Sequence[str] | None = None) -> None:
    """Time both in turn."""
    assert __doc__
    parser = options(__doc__, count=250)
    parser.add_argument("--draws", type=int, default=4, help="programmings of every layer")
    parser.add_argument("--peer-draws", type=int, default=2, help="of which the loop over aihwkit is timed on so many")
    parser.add_argument("--batch", type=int, default=10, help="images a call of aihwkit; see speed_all_analog.py")
    chosen = parser.parse_args(arguments)
    x = images(chosen.images)
    proto, network = resnet20()
    model = load_model(proto)
    graph = read_graph(model)
    task = Task({graph.inputs[0]: x}, None, get_metric("kl"))
    names = [layer.name for layer in graph.candidates]
    warm = PlacementEvaluator(model, graph, Hardware.load("lionheart"), task.head(8), draws=2, t_s=86400.0)
    measure_sensitivity(warm, graph, names[:1])  # compiles what numba compiles
    evaluator = PlacementEvaluator(model, graph, warm.hardware, task, draws=chosen.draws, t_s=86400.0)
    tensor, draws = torch.from_numpy(x), range(chosen.peer_draws)
    half = -(-len(draws) // 2)
    before = peer(network, tensor, draws[:half], chosen.batch)
    with timed() as ours:
        table = measure_sensitivity(evaluator, graph, names)
    after = peer(network, tensor, draws[half:], chosen.batch)
    theirs = Spent(before[0].cpu_s + after[0].cpu_s, before[0].wall_s + after[0].wall_s).times(
        chosen.draws / len(draws)
    )
    total = sum(before[1] + after[1]) / len(draws)
    faster = theirs.cpu_s / ours[0].cpu_s
    print(f"{len(names)} layers, {len(x)} images, {chosen.draws} draws")
    print(f"aihwkit loop, from {len(draws)} draws: {theirs}; sum of KL {total:.3f}")
    print(f"lhc: {ours[0]}; sum of KL {sum(s.mean for s in table.layers.values()):.3f}; {faster:.2f} times as fast")
    figures = {"images": len(x), "draws": chosen.draws, "aihwkit": theirs, "lhc": ours[0], "faster": faster}
    write(chosen.output, figures)


if __name__ == "__main__":
    main()
