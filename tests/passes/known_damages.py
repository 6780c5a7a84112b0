"""Networks whose layers do known damages that add up, and a judge that knows them."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware, Tiles
from lhc.passes import (
    Curvature,
    PassResult,
    Qualify,
    SearchOptions,
    initial_plan,
)
from lhc.plan import Plan, Sensitivity
from lhc.results import Evaluation, Verdict


@dataclass(frozen=True)
class Product:
    """A layer of a fake network: its costs, the damage it does, and whose weights it holds."""

    name: str
    damage: float = 1.0
    macs: int = 1
    tiles: int = 1
    weights: str = ""


@dataclass
class FakeJudge:
    """Accepts while damages add up to no more than a budget; remembers what it was asked."""

    damages: Mapping[str, float]
    budget: float
    asked: list[frozenset[str]] = field(default_factory=list)

    def holds(self, placement: frozenset[str]) -> bool:
        return math.fsum(self.damages[name] for name in placement) <= self.budget

    def within(self, placement: frozenset[str]) -> Verdict:
        self.asked.append(placement)
        evaluation = Evaluation("kl", False, 0, (0,), 0, 0, None, 0, None, None, (0,), 1, 0, 0, 0.9)
        return Verdict("accepted" if self.holds(placement) else "rejected", evaluation)


TILE = 100


def network(products: Sequence[Product], tiles: int | None = None) -> tuple[LayerGraph, Plan]:
    """A chain of products, qualified, with their damages as sensitivities."""
    layers, tensor = [], "x"
    for p in products:
        # `tiles` tiles high, and as many positions as the MACs need.
        rows = p.tiles * TILE
        assert p.macs % rows == 0
        weight = WeightRef(f"{p.name}.w", 1, (rows, 1), "float32", p.weights or p.name)
        matrix = MatrixShape(rows, 1, 1, p.macs // rows)
        layers.append(Layer(p.name, "MatMul", (tensor, f"{p.name}.w"), (f"{p.name}.out",), weight, matrix))
        tensor = f"{p.name}.out"
    graph = LayerGraph(layers, ["x"], [tensor])
    hardware = Hardware(name="fake", tiles=Tiles(rows=TILE, cols=TILE, count=tiles))
    plan = Qualify().run(graph, initial_plan(graph, hardware, "", "0")).plan
    figures = {p.name: Sensitivity(metric="kl", mean=p.damage, std=0, interval=None) for p in products}
    return graph, plan.with_sensitivities(figures)


def equal_layers(*damages: float, tiles: int = 1) -> list[Product]:
    return [Product(f"l{i}", damage, TILE * tiles, tiles) for i, damage in enumerate(damages)]


def judge_of(products: Sequence[Product], budget: float) -> FakeJudge:
    return FakeJudge({p.name: p.damage for p in products}, budget)


def flat(products: Sequence[Product], **options: object) -> SearchOptions:
    """Options with a curvature for every layer, so that every strategy can run: all alike."""
    curvatures = {p.name: Curvature(1.0, 0.5) for p in products}
    return SearchOptions(curvatures=curvatures, **options)  # type: ignore[arg-type]


def reasons(result: PassResult) -> dict[str, str]:
    return {layer.name: layer.reason for layer in result.plan.layers}


def check_fallbacks(result: PassResult, fixed: frozenset[str] = frozenset()) -> None:
    """Each one has fewer MACs on tiles than the one before, down to what the user fixed."""
    macs = {row.name: row.macs for row in result.plan.layers}
    path = [result.plan.analog, *result.fallbacks]
    sums = [sum(macs[name] for name in placement) for placement in path]
    assert all(after < before for before, after in itertools.pairwise(sums))
    assert path[-1] == fixed
