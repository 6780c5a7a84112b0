"""How the time of lhc's sensitivities grows with samples, draws and layers.

Residual networks of 20, 32 and 56 layers for CIFAR-10 with random weights (their answers mean nothing; their time does
not depend on them). Measuring every layer alone takes a suffix per layer, so the time per draw and sample grows with
the layers times the network's work; the last column divides by both.

``LHC_DATA=FOLDER OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/speed_scaling.py``
"""

from collections.abc import Sequence

import torch

from benchmarks.timing import Images, Spent, best, images, options, plain_session, run_batches, timed, write
from lhc.hardware import Hardware
from lhc.measure import PlacementEvaluator, measure_sensitivity
from lhc.models.export import export_onnx
from lhc.models.residual_networks import ResidualNet, fold_batch_norms
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

__all__ = ["main"]


def network(blocks: int) -> OnnxModel:
    """A residual network of 6 · blocks + 2 layers with seeded random weights."""
    torch.manual_seed(0)
    module = fold_batch_norms(ResidualNet(channels=3, widths=(16, 32, 64), blocks=blocks, classes=10))
    return load_model(export_onnx(module, torch.zeros(2, 3, 32, 32)))


def measure(model: OnnxModel, x: Images, draws: int) -> tuple[Spent, int]:
    """Time of all layers' sensitivities, and how many layers there are."""
    graph = read_graph(model)
    task = Task({graph.inputs[0]: x}, None, get_metric("kl"))
    names = [layer.name for layer in graph.candidates]
    evaluator = PlacementEvaluator(model, graph, Hardware.load("lionheart"), task, draws=draws, t_s=86400.0)
    with timed() as spent:
        measure_sensitivity(evaluator, graph, names)
    return spent[0], len(names)


def main(arguments: Sequence[str] | None = None) -> None:
    """Vary one at a time."""
    assert __doc__
    parser = options(__doc__, count=64)
    parser.add_argument("--draws", type=int, default=2)
    chosen = parser.parse_args(arguments)
    x = images(4 * chosen.images)
    base, figures = network(3), {}
    measure(base, x[:8], 2)  # compiles what numba compiles
    print("layers  images  draws  CPU s    CPU ms per image, draw, layer and digital ms")
    cases = [(base, n * chosen.images, chosen.draws) for n in (1, 2, 4)]
    cases += [(base, chosen.images, n * chosen.draws) for n in (2, 4)]
    cases += [(network(blocks), chosen.images, chosen.draws) for blocks in (5, 9)]
    for model, count, draws in cases:
        spent, layers = measure(model, x[:count], draws)
        session, some = plain_session(model.proto), x[: chosen.images]
        digital = best(lambda s=session, x=some: run_batches(s, x, 64), chosen.repeats).cpu_s / chosen.images
        share = spent.cpu_s / (count * draws * layers * digital)
        print(f"{layers:6}  {count:6}  {draws:5}  {spent.cpu_s:6.2f}  {share:.3f}", flush=True)
        figures[f"{layers} layers, {count} images, {draws} draws"] = {"lhc": spent, "per unit": share}
    write(chosen.output, figures)


if __name__ == "__main__":
    main()
