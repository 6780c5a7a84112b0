"""Tables of docs/costs.md: the cost model against published figures.

    PYTHONPATH=. python benchmarks/published_costs.py

Networks are those of benchmarks/published_networks.py.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.published_networks import NETWORKS, alexnet, mobilenetv2, resnet
from lhc.costs import SystemCost, cost_of, system_figures
from lhc.graph import LayerGraph, MatrixShape
from lhc.hardware import AlpineCosts, DianaCosts, Hardware, Tiles
from lhc.support.tables import Table

__all__ = ["GAINS", "analog_layers", "by_macs", "closing", "gain", "gains", "prefixes"]

LIONHEART = Hardware.load("lionheart")
DIANA = Hardware(name="diana", tiles=Tiles(rows=1152, cols=512), devices=None, costs=DianaCosts())


@dataclass(frozen=True)
class Gain:
    """A published gain over all-digital int8 on the same core (LionHeart, IEEE TETC 2025)."""

    network: str
    placement: str
    time: float


GAINS = (
    Gain("AlexNet", "all analog", 5.5),
    Gain("VGG16", "all analog", 6.6),
    Gain("MobileNetV2", "all analog", 1.24),
    Gain("AlexNet", "at 5 % drop", 4.25),
    Gain("VGG16", "at 5 % drop", 2.85),
)


def analog_layers(graph: LayerGraph, groups: bool = True) -> frozenset[str]:
    """All products, or all but grouped ones."""
    return frozenset(c.name for c in graph.candidates if groups or (c.matrix is not None and c.matrix.groups == 1))


def by_macs(graph: LayerGraph) -> list[str]:
    """Products in LionHeart's order."""
    return [c.name for c in sorted(graph.candidates, key=lambda c: -c.matrix.macs if c.matrix else 0)]


def gain(graph: LayerGraph, placement: frozenset[str], hardware: Hardware = LIONHEART) -> tuple[float, float]:
    """All-digital time and energy over those of a placement."""
    before, after = cost_of(graph, frozenset(), hardware), cost_of(graph, placement, hardware)
    return before.latency_s / after.latency_s, before.energy_j / after.energy_j


def gains() -> Table:
    """All analog, and the whole of it in ms and µJ."""
    rows = []
    for name, build in NETWORKS.items():
        graph = build()
        for what, placement in (("all", analog_layers(graph)), ("all but depthwise", analog_layers(graph, False))):
            if what == "all" or placement != analog_layers(graph):
                digital, analog = (cost_of(graph, p, LIONHEART) for p in (frozenset[str](), placement))
                time, energy = gain(graph, placement)
                published = [f"{g.time:.2f}x" for g in GAINS if (g.network, g.placement) == (name, f"{what} analog")]
                rows.append(
                    [
                        name,
                        what,
                        *_absolute(digital),
                        *_absolute(analog),
                        f"{time:.2f}x",
                        f"{energy:.2f}x",
                        *(published or "-"),
                    ]
                )
    headers = ["network", "analog", "digital ms", "digital µJ", "analog ms", "analog µJ", "time", "energy", "published"]
    return Table(headers, rows, right=tuple(range(2, 9)))


def _absolute(cost: SystemCost) -> list[str]:
    return [f"{1e3 * cost.latency_s:.2f}", f"{1e6 * cost.energy_j:,.0f}"]


def prefixes() -> Table:
    """Gains of the first layers in LionHeart's order, for the published gains at 5 % drop."""
    rows = []
    for name in ("AlexNet", "VGG16"):
        graph = NETWORKS[name]()
        order = by_macs(graph)
        macs = {c.name: c.matrix.macs for c in graph.candidates if c.matrix}
        for n in range(1, len(order) + 1):
            time, energy = gain(graph, frozenset(order[:n]))
            share = sum(macs[layer] for layer in order[:n]) / sum(macs.values())
            rows.append([name, str(n), order[n - 1], f"{100 * share:.1f} %", f"{time:.2f}x", f"{energy:.2f}x"])
    return Table(["network", "layers", "last one", "MACs analog", "time", "energy"], rows, right=(1, 3, 4, 5))


def parts() -> Table:
    """Where the time of all-analog networks goes, in %."""
    names = list(_parts(cost_of(alexnet(), analog_layers(alexnet()), LIONHEART)))
    rows = []
    for name in ("AlexNet", "VGG16", "ResNet20"):
        graph = NETWORKS[name]()
        cost = cost_of(graph, analog_layers(graph), LIONHEART)
        rows.append([name, *(f"{100 * part / cost.latency_s:.1f}" for part in _parts(cost).values())])
    return Table(["network", *names], rows, right=tuple(range(1, len(names) + 1)))


def _parts(cost: SystemCost) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for layer in cost.layers.values():
        for part, value in layer.parts.items():
            seconds[part] = seconds.get(part, 0.0) + value.latency_s
    return seconds | {"other operators": sum(c.latency_s for c in cost.others.values())}


@dataclass(frozen=True)
class Change:
    """One number of the description, by its section and field, and bounds to look for its value in."""

    section: str
    field: str
    low: float
    high: float

    def apply(self, factor: float) -> Hardware:
        """LionHeart's machine with the number set to a value."""
        costs = LIONHEART.costs
        assert isinstance(costs, AlpineCosts)
        section = getattr(costs, self.section).model_copy(update={self.field: factor})
        return LIONHEART.model_copy(update={"costs": costs.model_copy(update={self.section: section})})


CHANGES = (
    Change("core", "macs_per_cycle", 0.1, 16.0),
    Change("core", "gather_cycles", 0.0, 60.0),
    Change("core", "quantise_cycles", 0.0, 60.0),
    Change("core", "rescale_cycles", 0.0, 60.0),
    Change("core", "elementwise_cycles", 0.0, 100.0),
    Change("core", "clock_ghz", 0.1, 10.0),
)


def closing(network: str, target: float) -> Iterator[tuple[Change, float | None]]:
    """The value that each single assumption would need for the published gain; None if none does."""
    graph = NETWORKS[network]()
    placement = analog_layers(graph)
    for change in CHANGES:
        low, high = change.low, change.high
        ends = [gain(graph, placement, change.apply(value))[0] - target for value in (low, high)]
        if ends[0] * ends[1] > 0:
            yield change, None
            continue
        for _ in range(40):
            middle = (low + high) / 2
            if (gain(graph, placement, change.apply(middle))[0] - target) * ends[0] > 0:
                low = middle
            else:
                high = middle
        yield change, (low + high) / 2


def closers() -> Table:
    """What would make the gains of all-analog networks equal to the published ones, one number at a time."""
    found = [{c.field: value for c, value in closing(g.network, g.time)} for g in GAINS[:3]]
    rows = []
    for change in CHANGES:
        current = getattr(getattr(LIONHEART.costs, change.section), change.field)
        values = (one[change.field] for one in found)
        rows.append([change.field, f"{current:g}", *("none does" if v is None else f"{v:.2f}" for v in values)])
    headers = ["assumption", "value here", *(f"for {g.network}'s {g.time:g}x" for g in GAINS[:3])]
    return Table(headers, rows, right=(1, 2, 3, 4))


def side_by_side(graph: LayerGraph, most: int) -> LayerGraph:
    """Grouped layers with so many groups along the diagonal of one matrix, whose products compute them together."""
    layers = []
    for layer in graph.layers:
        matrix = layer.matrix
        if matrix is not None and matrix.groups > 1:
            n = min(most, matrix.groups)
            shape = MatrixShape(matrix.rows * n, matrix.cols * n, -(-matrix.groups // n), matrix.positions)
            layer = replace(layer, matrix=shape)
        layers.append(layer)
    return LayerGraph(layers, ["x"], list(graph.outputs))


def bracket() -> Table:
    """MobileNetV2's published 1.24x, between ways to compute depthwise layers that the paper does not tell apart.

    The last column is the rate of digital depthwise layers x seconds long that makes the gain the published one: with D
    and A seconds of the rest, (D + x) / A where tiles compute them, else (D + x) / (A + x).
    """
    graph, published, costs = mobilenetv2(), GAINS[2].time, LIONHEART.costs
    assert isinstance(costs, AlpineCosts)
    others = analog_layers(graph, groups=False)
    digital, mixed = cost_of(graph, frozenset(), LIONHEART), cost_of(graph, others, LIONHEART)
    depthwise = sum(digital.layers[name].latency_s for name in analog_layers(graph) - others)
    rest = digital.latency_s - depthwise
    found = []
    for what, groups in (("one group a product", 1), ("28 groups a product, along a tile's diagonal", 28)):
        seconds = cost_of(side_by_side(graph, groups), analog_layers(graph), LIONHEART).latency_s
        found.append((what, digital.latency_s / seconds, published * seconds - rest))
    needed = (rest - published * (mixed.latency_s - depthwise)) / (published - 1)
    found.append(("digital", digital.latency_s / mixed.latency_s, needed))
    rows = [[w, f"{g:.2f}x", f"{costs.core.macs_per_cycle * depthwise / x:.2f}"] for w, g, x in found]
    return Table(["depthwise layers", "gain", "MAC/cycle of digital depthwise layers for 1.24x"], rows, right=(1, 2))


def throughputs() -> Table:
    """ResNet20, all analog, on LionHeart's machine with more cores, and with cores that do not wait; 72 tiles."""
    graph, costs = resnet(3), LIONHEART.costs
    assert isinstance(costs, AlpineCosts)
    rows = []
    for count, waits, links in (
        (1, True, "core"),
        (8, True, "core"),
        (32, True, "core"),
        (1, False, "own"),
        (8, False, "own"),
    ):
        core = costs.core.model_copy(update={"count": count, "waits": waits})
        changed = costs.model_copy(update={"core": core, "tile": costs.tile.model_copy(update={"links": links})})
        tiles = LIONHEART.tiles.model_copy(update={"count": 72})
        machine = LIONHEART.model_copy(update={"costs": changed, "tiles": tiles})
        shapes = [(c.name, c.matrix) for c in graph.candidates if c.matrix]
        needed = {name: machine.tiles_for(m.rows, m.cols * m.groups) for name, m in shapes}
        cost = cost_of(graph, frozenset(needed), machine)
        found = system_figures(graph, machine, cost, needed)
        paced, peak = found.throughput, found.peak_w
        slowest = f"{paced.slowest[0]} to {paced.slowest[-1]}" if len(paced.slowest) > 1 else "".join(paced.slowest)
        rows.append(
            [
                f"{paced.schedule}{', own links' if links == 'own' else ''}",
                str(paced.cores),
                f"{1e3 * cost.latency_s:.2f}",
                f"{paced.samples_per_s:,.0f}",
                slowest or paced.unit or "-",
                f"{len(paced.replicas)} ({paced.tiles} tiles)",
                "-" if peak is None else f"{peak:.1f}",
            ]
        )
    headers = ["schedule", "cores", "ms", "samples/s", "slowest", "layers with replicas", "peak W"]
    return Table(headers, rows, right=(1, 2, 3, 5, 6))


def diana() -> Table:
    """ResNet20 on DIANA: convolutions but the first analog, as its authors map it."""
    graph = resnet(3)
    rule = analog_layers(graph) - {"conv1", "linear"}
    rows = []
    for what, placement in (("all digital", frozenset[str]()), ("conv1, linear digital", rule)):
        cost = cost_of(graph, placement, DIANA)
        macs = sum(c.matrix.macs for c in graph.candidates if c.matrix)
        efficiency = 2 * macs / cost.energy_j * 1e-12
        rows.append([what, *_absolute(cost), f"{efficiency:.2f}"])
    return Table(["placement", "ms", "µJ", "TOPS/W"], rows, right=(1, 2, 3))


TABLES: Sequence[Callable[[], Table]] = (gains, prefixes, parts, closers, bracket, throughputs, diana)


if __name__ == "__main__":
    for table in TABLES:
        print(table().render("markdown").replace("&#42;&#42;", "**"))  # bold in these cells, which tables escape
