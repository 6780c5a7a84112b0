"""Networks of products with costs, drawn at random or built by hand, and a judge of damages that add up."""

from hypothesis import strategies as st

from lhc.costs import cost_of
from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import AlpineCosts, Hardware, Tiles
from lhc.passes import Qualify, initial_plan
from lhc.plan import Plan, Sensitivity
from lhc.results import Evaluation, Verdict

TILE = 64
LIONHEART = Hardware.load("lionheart")
MACHINE = Hardware(name="small", tiles=Tiles(rows=TILE, cols=TILE), costs=AlpineCosts())


class Additive:
    """A judge of true damages that add up; its bounds of the drop are exact."""

    def __init__(self, damages: dict[str, float], max_drop: float) -> None:
        self.damages, self.max_drop = damages, max_drop
        self.asked: list[frozenset[str]] = []

    def drop(self, placement: frozenset[str]) -> float:
        return sum(self.damages[name] for name in sorted(placement))

    def within(self, placement: frozenset[str]) -> Verdict:
        self.asked.append(placement)
        drop = self.drop(placement)
        found = Evaluation(
            "kl", False, 1, (1 - drop,), 1 - drop, 0, None, drop, (drop, drop), None, (drop,), 9, 0, 0, 0.9
        )
        return Verdict("accepted" if drop <= self.max_drop else "rejected", found)


def product(name: str, source: str, rows: int, cols: int, positions: int, tile_set: str) -> Layer:
    weight = WeightRef(f"{name}.w", 1, (rows, cols), "float32", tile_set)
    return Layer(name, "MatMul", (source, f"{name}.w"), (name,), weight, MatrixShape(rows, cols, 1, positions))


def planned(layers: list[Layer], damages: dict[str, float], machine: Hardware = MACHINE) -> tuple[LayerGraph, Plan]:
    graph = LayerGraph(layers, ["x"], [layers[-1].outputs[0]])
    plan = Qualify().run(graph, initial_plan(graph, machine, "", "0")).plan
    figures = {n: Sensitivity(metric="kl", mean=d, std=0, interval=None) for n, d in damages.items()}
    return graph, plan.with_sensitivities(figures)


@st.composite
def networks(draw: st.DrawFn, most: int = 6) -> tuple[LayerGraph, Plan]:
    """Up to so many products, some of which share weights, with additions between them."""
    layers: list[Layer] = []
    damages: dict[str, float] = {}
    shapes = {s: (draw(st.integers(1, 200)), draw(st.integers(1, 130))) for s in "abcd"}
    shared = {s: draw(st.integers(0, 20)) / 8 for s in "abcd"}
    for i in range(draw(st.integers(1, most))):
        source = draw(st.sampled_from(["x", *(layer.name for layer in layers)]))
        if draw(st.booleans()) and layers:
            other = draw(st.sampled_from([layer.name for layer in layers]))
            layers.append(Layer(f"add{i}", "Add", (source, other), (f"add{i}",)))
            source = f"add{i}"
        tile_set = draw(st.sampled_from("abcd"))
        layers.append(product(f"p{i}", source, *shapes[tile_set], draw(st.integers(1, 40)), tile_set))
        damages[f"p{i}"] = shared[tile_set]
    return planned(layers, damages)


def value(graph: LayerGraph, plan: Plan, placement: frozenset[str], objective: str) -> float:
    if objective == "macs":
        return plan.macs - sum(layer.macs for layer in plan.layers if layer.name in placement)
    cost = cost_of(graph, placement, plan.hardware)
    return cost.latency_s if objective == "latency" else cost.energy_j


def convolution(name: str, source: str, channels: int, outputs: int, kernel: int, positions: int, groups: int) -> Layer:
    shape = (outputs, channels // groups, kernel, kernel)
    matrix = MatrixShape(channels // groups * kernel * kernel, outputs // groups, groups, positions)
    weight = WeightRef(f"{name}.w", 1, shape, "float32", name)
    return Layer(name, "Conv", (source, f"{name}.w"), (name,), weight, matrix)


def mobile(blocks: int = 3, width: int = 96) -> tuple[LayerGraph, Plan]:
    """Blocks of a pointwise, a depthwise and a pointwise convolution, as MobileNet has them."""
    layers, source = [], "x"
    for b in range(blocks):
        for kind, ends in (
            ("expand", (width, 4 * width)),
            ("depthwise", (4 * width,) * 2),
            ("project", (4 * width, width)),
        ):
            deep = kind == "depthwise"
            name = f"block{b}.{kind}"
            layers.append(convolution(name, source, *ends, 3 if deep else 1, 64, ends[0] if deep else 1))
            layers.append(Layer(f"{name}.relu", "Relu", (name,), (f"{name}.relu",)))
            source = f"{name}.relu"
    return planned(layers, {layer.name: 1.0 for layer in layers if layer.is_candidate}, LIONHEART)


def paired() -> tuple[LayerGraph, Plan]:
    """Two products in a row, on a machine whose conversions are dear."""
    assert isinstance(MACHINE.costs, AlpineCosts)
    core = MACHINE.costs.core.model_copy(update={"convert_cycles": 50.0})
    machine = MACHINE.model_copy(update={"costs": MACHINE.costs.model_copy(update={"core": core})})
    return planned([product("a", "x", 64, 64, 1, "a"), product("b", "a", 64, 64, 1, "b")], {"a": 1, "b": 1}, machine)
