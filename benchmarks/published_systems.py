"""Three systems that describe themselves completely: their published figures, and lhc's from their descriptions.

    PYTHONPATH=. python benchmarks/published_systems.py
    PYTHONPATH=. python benchmarks/published_systems.py 3D-CiM-LLM-Inference-Simulator

Descriptions are benchmarks/systems/*.yaml. With the folder of IBM's simulator (github.com/IBM/
3D-CiM-LLM-Inference-Simulator, commit 0bef55f; it needs torch, tqdm and matplotlib), its figures are computed again,
beside those noted here.
"""

import contextlib
import io
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from benchmarks.published_costs import analog_layers
from benchmarks.published_networks import Builder, resnet
from lhc.costs import SystemFigures, cost_of, system_figures
from lhc.costs.placement_cost import SystemCost
from lhc.graph import Elements, Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import AlpineCosts, DianaCosts, Hardware
from lhc.support.tables import Table

__all__ = ["Figure", "decoder", "diana", "figures", "isaac", "threedcim"]

SYSTEMS = Path(__file__).parent / "systems"
TOKENS = 8


@dataclass(frozen=True)
class Figure:
    """A published figure beside lhc's.

    Attributes:
        system, what: of which, and of what.
        unit: of both numbers.
        published, found: theirs and ours.
        whole: whether the system describes all that the figure rests on; else docs/costs.md says what is missing.
    """

    system: str
    what: str
    unit: str
    published: float
    found: float
    whole: bool = True

    @property
    def ratio(self) -> float:
        """Ours over theirs."""
        return self.found / self.published


SIMULATED = {"latency": 633.0, "energy": 3367.983, "serial": 1413.0, "period": 800.0, "sequence": 1333.0}
"""Of one decoder, by IBM's simulator with its defaults: ns and nJ of a token, ns of a token where one tile holds all
matrices, ns between sequences of eight tokens, and ns of such a sequence."""


def layer(name: str, rows: int, cols: int, positions: int, source: str) -> Layer:
    """A product by a matrix, with as many products a sample."""
    weight = WeightRef(f"{name}.w", 1, (rows, cols), "float32", name)
    return Layer(name, "MatMul", (source, weight.name), (name,), weight, MatrixShape(rows, cols, 1, positions))


def decoder(tokens: int, size: int = 512, hidden: int = 2048) -> LayerGraph:
    """One decoder without attention's products: three products in one, four in all, normalised after each half."""
    layers = [
        layer("qkv", size, 3 * size, tokens, "x"),
        layer("out", size, size, tokens, "qkv"),
        Layer("add1", "Add", ("out", "x"), ("add1",)),
        Layer("norm1", "LayerNormalization", ("add1",), ("norm1",)),
        layer("ffn1", size, hidden, tokens, "norm1"),
        Layer("relu", "Relu", ("ffn1",), ("relu",)),
        layer("ffn2", hidden, size, tokens, "relu"),
        Layer("add2", "Add", ("ffn2", "norm1"), ("add2",)),
        Layer("norm2", "LayerNormalization", ("add2",), ("norm2",)),
    ]
    return LayerGraph(layers, ["x"], ["norm2"])


def placed(graph: LayerGraph, hardware: Hardware) -> tuple[SystemCost, SystemFigures]:
    """All analog: cost of a sample, and what the machine makes of it."""
    tiles = {c.name: hardware.tiles_for(c.matrix.rows, c.matrix.cols) for c in graph.candidates if c.matrix}
    cost = cost_of(graph, frozenset(tiles), hardware)
    return cost, system_figures(graph, hardware, cost, tiles)


def threedcim() -> list[Figure]:
    """One decoder of 512 on IBM's 3D-CiM."""
    machine = Hardware.load(SYSTEMS / "3d-cim.yaml")
    costs = machine.costs
    assert isinstance(costs, AlpineCosts)
    one_tile = costs.model_copy(update={"tile": costs.tile.model_copy(update={"schedule": "serial"})})
    token, each = placed(decoder(1), machine)
    serial, _ = placed(decoder(1), machine.model_copy(update={"costs": one_tile}))
    _, many = placed(decoder(TOKENS), machine)
    streamed = token.latency_s + (TOKENS - 1) * each.throughput.period_s
    found = {
        "latency": ("latency of a token", "ns", 1e9 * token.latency_s),
        "energy": ("energy of a token", "nJ", 1e9 * token.energy_j),
        "serial": ("latency, all matrices on one tile", "ns", 1e9 * serial.latency_s),
        "period": (f"between sequences of {TOKENS} tokens", "ns", 1e9 * many.throughput.period_s),
        "sequence": (f"latency of {TOKENS} tokens: of one, and {TOKENS - 1} periods", "ns", 1e9 * streamed),
    }
    return [Figure("3D-CiM, one decoder", what, unit, SIMULATED[n], ours) for n, (what, unit, ours) in found.items()]


def resnet18_segment() -> tuple[LayerGraph, frozenset[str]]:
    """First layers of ResNet-18 on images of 224x224, and those that DIANA computes on its macro."""
    b = Builder(3, 224)
    b.conv("conv1", 64, kernel=7, stride=2)
    b.append("relu1", "Relu")
    b.side //= 2
    b.append("pool", "MaxPool", elements=Elements(read=64 * 112**2, written=64 * 56**2))
    for block in (1, 2):
        start = b.tensor
        b.conv(f"conv2_{2 * block - 1}", 64)
        b.append(f"relu{2 * block}", "Relu")
        b.conv(f"conv2_{2 * block}", 64)
        b.append(f"add{block}", "Add", start)
        b.append(f"relu{2 * block + 1}", "Relu")
    return b.graph(), frozenset(f"conv2_{n}" for n in range(1, 5))


def diana() -> list[Figure]:
    """What was measured on DIANA."""
    machine = Hardware.load(SYSTEMS / "diana.yaml")
    assert isinstance(machine.costs, DianaCosts)
    cost = cost_of(*resnet18_segment(), machine)
    graph = resnet(3)
    small = cost_of(graph, analog_layers(graph) - {"conv1", "linear"}, machine)
    operations = 2 * sum(c.matrix.macs for c in graph.candidates if c.matrix)
    cycles = cost.latency_s * machine.costs.clock_mhz * 1e6
    return [
        Figure("DIANA, ResNet-18's first segment", "latency", "cycles", 8.12e5, cycles),
        Figure("DIANA, ResNet20", "efficiency", "TOPS/W", 7.02, operations / small.energy_j * 1e-12, whole=False),
        Figure("DIANA, ResNet20", "latency", "ms", 1.26, 1e3 * small.latency_s, whole=False),
    ]


def isaac() -> list[Figure]:
    """A chip of ISAAC-CE whose crossbars are all in use."""
    machine = Hardware.load(SYSTEMS / "isaac.yaml")
    vectors, rows, cols = 1000, 48 * 128, 42 * 128
    graph = LayerGraph([layer("all", rows, cols, vectors, "x")], ["x"], ["all"])
    _, found = placed(graph, machine)
    assert found.area is not None
    assert found.peak_w is not None
    rate = 2 * rows * cols * vectors * found.throughput.samples_per_s * 1e-9
    return [
        Figure("ISAAC-CE, a chip", "area", "mm²", 85.4, found.area.total),
        Figure("ISAAC-CE, a chip", "peak power", "W", 65.8, found.peak_w),
        Figure("ISAAC-CE, a chip", "peak throughput by area", "GOPS/mm²", 479.0, rate / found.area.total),
    ]


def figures() -> list[Figure]:
    """All of them."""
    return [*threedcim(), *diana(), *isaac()]


def table() -> Table:
    """They side by side."""
    rows = [[f.system, f.what, f"{f.published:g} {f.unit}", f"{f.found:.4g}", f"{f.ratio:.2f}"] for f in figures()]
    return Table(["system", "figure", "published", "lhc", "ratio"], rows, right=(2, 3, 4))


def simulated(folder: Path) -> dict[str, float]:
    """The figures of `SIMULATED`, computed by IBM's simulator: what a third decoder adds to two."""
    sys.path.insert(0, str(folder / "src"))
    two, three = (_simulate(decoders=n) for n in (2, 3))
    serial = [_simulate(decoders=n, tiles=1, tiers=100)[0] for n in (2, 3)]
    long = [_simulate(decoders=n, tokens=TOKENS)[0] for n in (2, 3)]
    many = [_simulate(decoders=2, tokens=TOKENS, sequences=n)[0] for n in (4, 8)]
    return {
        "latency": three[0] - two[0],
        "energy": three[1] - two[1],
        "serial": serial[1] - serial[0],
        "period": (many[1] - many[0]) / 4,
        "sequence": long[1] - long[0],
    }


def _simulate(
    decoders: int, tokens: int = 1, sequences: int = 1, tiles: int = 100, tiers: int = 1
) -> tuple[float, float]:
    """Time (ns) and energy (nJ) of a stack of decoders in IBM's simulator."""
    import torch

    accelerator, base, mapping = (import_module(f"threedsim.{n}") for n in ("accelerator", "modules.base", "mapping"))
    modules, inference = import_module("threedsim.modules"), import_module("threedsim.inference")
    config = accelerator.AcceleratorConfig(tiles=tiles, tiers=tiers, tier_shape=(512, 512))
    machine = accelerator.Accelerator(config, device="meta")
    sizes = {"d_model": 512, "nhead": 8, "dim_feedforward": 2048}
    stack = modules.TransformerDecoder(
        modules.TransformerDecoderLayer, num_layers=decoders, decoder_layer_kwargs=sizes, device="meta"
    )

    class Sequence(torch.nn.Module):  # type: ignore[misc] - torch has no types here
        """A stack with its number of tokens fixed, so that it can be traced."""

        def __init__(self) -> None:
            super().__init__()
            self.stack = stack

        def forward(self, x: object) -> object:
            """The last decoder's outputs."""
            return self.stack(x, tokens)

    base.assign_acc(stack, machine)
    how = mapping.MapStrategy(strategy=mapping.Strategy.GREEDY_IN_ORDER, split_ffn=True, stack_embedding=True)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        mapping.Mapper(accelerator=machine, model=stack, map_strategy=how).map_network()
        base.fill_name_fields(stack)
        base.make_traceable(stack, is_traceable=True)
        traced = inference.trace_model(Sequence(), sequences, concrete_args={})
        found = inference.schedule_execution(
            traced.graph, accelerator=machine, save_memory=False, save_peak_memory=False
        )
    return float(found[0]), float(found[3])


if __name__ == "__main__":
    print(table().render("markdown"))
    if len(sys.argv) > 1:
        for name, value in simulated(Path(sys.argv[1])).items():
            print(f"{name}: simulated {value:.3f}, noted {SIMULATED[name]:.3f}")
