"""Strategies on the digits network, all judged by the same samples and chips.

    python benchmarks/search_digits.py [-o RESULT.json] [--part enumeration --seed 100]

1. Blocks of the network move together, which leaves 256 placements. All are measured once; ``milp`` and exhaustive
   search are then judged by that table, at ten budgets.
2. All 14 layers free, four budgets and five seeds: the objective that ``milp`` and LionHeart's walk reach, and how many
   placements each had to measure.

The machine has neither copies nor calibrated outputs.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import lhc
from lhc.commands.partition import preparation
from lhc.hardware import Hardware
from lhc.measure import PlacementEvaluator, Running, evaluation, measure_sensitivity, ranking_metric
from lhc.options.by_command import PartitionOptions
from lhc.passes import Goal, SearchOptions, damage_of, strategy_of, wanted_together
from lhc.pipeline.pipeline_state import PreparedNetwork
from lhc.pipeline.steps.prepare import read
from lhc.plan import Plan
from lhc.results import Evaluation, Verdict
from lhc.support.tables import Table

BUDGETS = (0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06)
WALK_BUDGETS = (0.005, 0.01, 0.02, 0.05)
SEEDS = range(5)
DRAWS = 5


@dataclass
class Measured:
    """Evaluations of placements on fixed samples and chips; each placement is measured once.

    Attributes:
        evaluator: samples and chips.
        found: what was measured.
    """

    evaluator: PlacementEvaluator
    found: dict[frozenset[str], Evaluation] = field(default_factory=dict)

    def evaluate(self, placement: frozenset[str]) -> Evaluation:
        """Value and drop of a placement."""
        if placement not in self.found:
            measured = self.evaluator.measure(placement, range(self.evaluator.draws))
            self.found[placement] = evaluation(measured, self.evaluator, False)
        return self.found[placement]


@dataclass
class TableJudge:
    """Judges by mean drops, as the search of ``lhc partition`` does, and remembers what it was asked.

    Attributes:
        measured: evaluations.
        max_drop: the drop that is allowed.
        asked: placements, each once.
    """

    measured: Measured
    max_drop: float
    asked: set[frozenset[str]] = field(default_factory=set)

    def within(self, placement: frozenset[str]) -> Verdict:
        """Judge the network with exactly these layers analog."""
        self.asked.add(placement)
        found = self.measured.evaluate(placement)
        return Verdict("accepted" if found.drop <= self.max_drop else "rejected", found, estimated=True)


def ranked(seed: int) -> tuple[PreparedNetwork, Measured]:
    """Digits with sensitivities on the ranking samples, and an evaluator on the samples of the search."""
    hardware = Hardware.load("lionheart").with_drift_compensation_alone()
    options = PartitionOptions("digits-narrow", draws=DRAWS, seed=seed, hardware=hardware)
    state = preparation(options).apply(read(options, Running(), None))
    splits = state.splits
    select = state.evaluator(splits.rank)
    samples = splits.rank.with_metric(ranking_metric(select.metric, select.example_output))
    table = measure_sensitivity(state.evaluator(samples), state.graph, state.measurable)
    plan = state.plan.with_sensitivities(table.layers)
    return replace(state, plan=plan), Measured(select)


def share(plan: Plan, analog: frozenset[str]) -> float:
    """Share of MACs that are analog."""
    return plan.mac_fraction_of(analog)


def against_enumeration(seed: int) -> list[dict[str, object]]:
    """``milp`` and the optimum of all 256 placements of blocks, at every budget."""
    state, measured = ranked(seed)
    together = wanted_together(state.graph, state.plan, ["block"])
    rows = []
    for max_drop in BUDGETS:
        options = SearchOptions(Goal(), together, max_drop)
        found = {}
        for name in ("milp", "exhaustive"):
            judge = TableJudge(measured, max_drop)
            found[name] = strategy_of(name)(judge, options).run(state.graph, state.plan).plan.analog
            if name == "milp":
                asked = len(judge.asked)
        apart = found["milp"] ^ found["exhaustive"]
        blocks = {layer.block or layer.name for layer in state.plan.layers if layer.name in apart}
        rows.append(
            {
                "max_drop": max_drop,
                "milp": share(state.plan, found["milp"]),
                "optimum": share(state.plan, found["exhaustive"]),
                "blocks_apart": len(blocks),
                "judged": asked,
            }
        )
        print(rows[-1], flush=True)
    return rows


def against_the_walk() -> list[dict[str, object]]:
    """All strategies that search, at every budget and seed."""
    rows: list[dict[str, object]] = []
    for seed in SEEDS:
        state, measured = ranked(seed)
        for max_drop in WALK_BUDGETS:
            for name in ("milp", "sensitivity", "lionheart", "random"):
                judge = TableJudge(measured, max_drop)
                options = SearchOptions(max_drop=max_drop, seed=seed)
                analog = strategy_of(name)(judge, options).run(state.graph, state.plan).plan.analog
                rows.append(
                    {
                        "seed": seed,
                        "max_drop": max_drop,
                        "strategy": name,
                        "share": share(state.plan, analog),
                        "drop": measured.evaluate(analog).drop,
                        "damage": damage_of(state.graph, state.plan, analog),
                        "judged": len(judge.asked),
                    }
                )
            print(rows[-4:], flush=True)
    return rows


def enumeration_table(rows: Sequence[dict[str, object]]) -> Table:
    """One row a budget."""
    headers = ["budget (points)", "MACs analog, milp", "optimum", "blocks apart", "judged of 256"]
    cells = [
        [
            f"{100 * float(str(r['max_drop'])):g}",
            f"{100 * float(str(r['milp'])):.1f} %",
            f"{100 * float(str(r['optimum'])):.1f} %",
            str(r["blocks_apart"]),
            str(r["judged"]),
        ]
        for r in rows
    ]
    return Table(headers, cells, right=(0, 1, 2, 3, 4))


def walk_table(rows: Sequence[dict[str, object]]) -> Table:
    """Means over seeds, and in how many cases a strategy reaches what the walk does."""
    walk = {(r["seed"], r["max_drop"]): float(str(r["share"])) for r in rows if r["strategy"] == "lionheart"}
    cells = []
    for name in ("milp", "sensitivity", "lionheart", "random"):
        mine = [r for r in rows if r["strategy"] == name]
        reached = sum(float(str(r["share"])) >= walk[r["seed"], r["max_drop"]] - 1e-12 for r in mine)
        means = [sum(float(str(r["share"])) for r in mine if r["max_drop"] == b) / len(SEEDS) for b in WALK_BUDGETS]
        judged = sum(int(str(r["judged"])) for r in mine) / len(mine)
        cells.append([name, *(f"{100 * m:.1f} %" for m in means), f"{reached} of {len(mine)}", f"{judged:.1f}"])
    headers = ["strategy", *(f"{100 * b:g} points" for b in WALK_BUDGETS), "at least the walk", "judged"]
    return Table(headers, cells, right=range(1, len(headers)))


def main() -> None:
    """Measure, print the tables, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--part", choices=("enumeration", "walk", "both"), default="both")
    parser.add_argument("--seed", type=int, default=0, help="of the enumeration")
    options = parser.parse_args()
    parts: dict[str, tuple[Callable[[], list[dict[str, object]]], Callable[..., Table]]] = {
        "enumeration": (partial(against_enumeration, options.seed), enumeration_table),
        "walk": (against_the_walk, walk_table),
    }
    found: dict[str, object] = {"lhc": lhc.__version__}
    for name, (measure, table) in parts.items():
        if options.part in (name, "both"):
            begun = time.process_time()
            rows = measure()
            found[name] = {"rows": rows, "cpu_s": time.process_time() - begun}
            print(table(rows).render("markdown"), f"\n{time.process_time() - begun:.0f} CPU seconds", flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
