"""``milp`` on drawn networks of known truth, up to 500 layers.

    python benchmarks/search_large.py [-o RESULT.json]

A network is a chain of products with activations, and an addition after every third. Estimated drops spread over three
decades; true ones differ from them by a log-normal factor (standard deviation 0.5), and a placement's drop from the sum
of its layers by a tenth (normal, the same whenever it is judged). A search that knew the true drops of all layers gains
100 % of what the budget allows.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np

from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import AlpineCosts, Hardware, Tiles
from lhc.passes import Goal, Qualify, SearchOptions, initial_plan, search_space
from lhc.passes.strategies.milp import Milp
from lhc.plan import Plan, Sensitivity
from lhc.results import Evaluation, Verdict
from lhc.support.tables import Table

SIZES = (150, 500)
SEEDS = range(2)
BUDGETS = (0.05, 0.2, 0.5)
OBJECTIVES = ("macs", "latency", "energy")
MACHINE = Hardware(name="small", tiles=Tiles(rows=64, cols=64), costs=AlpineCosts())


@dataclass
class Truth:
    """A judge that knows the drop of every layer, and that placements drop a little more or less than their sum.

    Attributes:
        drops: by layer.
        max_drop: the budget.
        asked: what was judged.
    """

    drops: dict[str, float]
    max_drop: float
    asked: set[frozenset[str]] = field(default_factory=set)

    def within(self, placement: frozenset[str]) -> Verdict:
        """Judge a placement."""
        self.asked.add(placement)
        names = sorted(placement)
        chance = np.random.default_rng(crc32(" ".join(names).encode())).standard_normal()
        drop = float(sum(self.drops[name] for name in names) * (1 + 0.1 * chance))
        found = Evaluation(
            "kl", False, 1, (1 - drop,), 1 - drop, 0, None, drop, (drop, drop), None, (drop,), 9, 0, 0, 0.9
        )
        return Verdict("accepted" if drop <= self.max_drop else "rejected", found)


def drawn(count: int, seed: int) -> tuple[LayerGraph, Plan, dict[str, float]]:
    """A network with its estimates in the plan, and the true drops."""
    random = np.random.default_rng([seed, count])
    layers: list[Layer] = []
    source = "x"
    for i in range(count):
        name = f"p{i}"
        rows, cols = (int(n) for n in random.integers(32, 512, 2))
        weight = WeightRef(f"{name}.w", 1, (rows, cols), "float32", name)
        shape = MatrixShape(rows, cols, 1, int(random.integers(1, 50)))
        layers.append(Layer(name, "MatMul", (source, f"{name}.w"), (name,), weight, shape))
        layers.append(Layer(f"relu{i}", "Relu", (name,), (f"relu{i}",)))
        source = f"relu{i}"
        if i % 3 == 2:
            layers.append(Layer(f"add{i}", "Add", (source, f"relu{i - 2}"), (f"add{i}",)))
            source = f"add{i}"
    graph = LayerGraph(layers, ["x"], [layers[-1].outputs[0]])
    plan = Qualify().run(graph, initial_plan(graph, MACHINE, "source", "0")).plan
    estimates = 10.0 ** random.uniform(-3, 0, count)
    true = estimates * np.exp(0.5 * random.standard_normal(count))
    figures = {f"p{i}": Sensitivity(metric="kl", mean=float(d), std=0, interval=None) for i, d in enumerate(estimates)}
    return graph, plan.with_sensitivities(figures), {f"p{i}": float(d) for i, d in enumerate(true)}


def searched(
    graph: LayerGraph, plan: Plan, true: dict[str, float], goal: Goal, budget: float, exact: int
) -> list[float]:
    """Gain as a share of what full knowledge would gain, judgements, CPU seconds."""
    judge = Truth(true, budget * sum(true.values()))
    options = SearchOptions(goal, max_drop=judge.max_drop)
    begun = time.process_time()
    found = Milp(judge, options, exact=exact).run(graph, plan).plan.analog
    seconds = time.process_time() - begun
    space = search_space(graph, plan, options)
    point, digital = space.point(found), space.safest()
    known = space.believing(np.array([*(sum(true[name] for name in group) for group in space.groups), 0.0]))
    best = known.best(judge.max_drop)
    assert point is not None
    assert best is not None
    assert digital is not None
    return [(digital.value - point.value) / (digital.value - best.value), len(judge.asked), seconds]


def measure(sizes: Sequence[int], exacts: Sequence[int]) -> list[dict[str, object]]:
    """All cases, each with programs solved exactly and by their core."""
    rows: list[dict[str, object]] = []
    for count in sizes:
        for objective in OBJECTIVES:
            for within in (False, True):
                for exact in exacts:
                    found = []
                    for seed in SEEDS:
                        graph, plan, true = drawn(count, seed)
                        tiles = plan.tiles_of(graph, frozenset(plan.eligible)) // 2 if within else None
                        goal = Goal(objective, max_tiles=tiles)  # type: ignore[arg-type]
                        found += [searched(graph, plan, true, goal, budget, exact) for budget in BUDGETS]
                    gain, judged, seconds = np.transpose(found)
                    rows.append(
                        {
                            "layers": count,
                            "objective": objective + (", half the tiles" if within else ""),
                            "programs": "exact, always" if exact >= count else "core, four times",
                            "gain": float(gain.mean()),
                            "least": float(gain.min()),
                            "judged": float(judged.mean()),
                            "cpu_s": float(seconds.mean()),
                            "most_cpu_s": float(seconds.max()),
                        }
                    )
                    print(rows[-1], flush=True)
    return rows


def table(rows: Sequence[dict[str, object]]) -> Table:
    """One row a kind of network and of program."""
    cells = [
        [
            str(r["layers"]),
            str(r["objective"]),
            str(r["programs"]),
            f"{100 * float(str(r['gain'])):.1f} %",
            f"{100 * float(str(r['least'])):.1f} %",
            f"{float(str(r['judged'])):.1f}",
            f"{float(str(r['cpu_s'])):.2f}",
            f"{float(str(r['most_cpu_s'])):.2f}",
        ]
        for r in rows
    ]
    headers = ["layers", "objective", "programs solved", "gain, mean", "least", "judged", "CPU s, mean", "most"]
    return Table(headers, cells, right=(0, 3, 4, 5, 6, 7))


def main() -> None:
    """Measure, print the table, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--layers", type=int, nargs="+", default=SIZES)
    parser.add_argument("--exact", type=int, nargs="+", default=(10_000, 100), help="groups for exact programs")
    options = parser.parse_args()
    rows = measure(options.layers, options.exact)
    print(table(rows).render("markdown"))
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
