"""Strategies on ResNet20 and CIFAR-10, judged by the same images and chips.

    LHC_DATA=FOLDER python benchmarks/search_resnet20.py [-o RESULT.json]

Layers are ranked on the second half of the images that are used and judged on the first half. The machine has neither
copies nor calibrated outputs.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from search_digits import Measured, TableJudge, share

from lhc.commands.partition import preparation
from lhc.costs import cost_of
from lhc.hardware import Hardware
from lhc.measure import Running, ranking_metric
from lhc.measure.sensitivity.hilal_curvature import curvatures
from lhc.options.by_command import PartitionOptions
from lhc.passes import Goal, SearchOptions, strategy_of
from lhc.pipeline.steps.prepare import read
from lhc.pipeline.steps.rank import sensitivities
from lhc.support.tables import Table

CASES = (
    ("milp", "macs"),
    ("lionheart", "macs"),
    ("milp", "latency"),
    ("milp", "energy"),
    ("sensitivity", "macs"),
    ("random", "macs"),
    ("first-last", "macs"),
    ("all-analog", "macs"),
    ("hilal", "macs"),
)


def main() -> None:
    """Measure strategy by strategy, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--max-drop", type=float, default=0.02)
    options = parser.parse_args()
    hardware = Hardware.load("lionheart").with_drift_compensation_alone()
    asked = PartitionOptions("resnet20", samples=options.images, draws=options.draws, hardware=hardware)
    state = preparation(asked).apply(read(asked, Running(), None))
    half = options.images // 2
    evaluator = state.evaluator(state.task.head(half))
    rest = state.task.take(np.arange(half, options.images)).with_metric(
        ranking_metric(evaluator.metric, evaluator.example_output)
    )
    begun = time.process_time()
    table = sensitivities(state.evaluator(rest), state.measurable)
    plan = state.plan.with_sensitivities(table.layers)
    print(f"ranking: {time.process_time() - begun:.0f} CPU seconds; baseline {evaluator.baseline:.4f}", flush=True)
    rows = []
    for name, objective in CASES:
        judge = TableJudge(Measured(evaluator), options.max_drop)
        begun = time.process_time()
        curved = curvatures(evaluator, plan.eligible) if "curvatures" in strategy_of(name).requires else {}
        wanted = SearchOptions(Goal(objective), max_drop=options.max_drop, curvatures=curved)
        analog = strategy_of(name)(judge, wanted).run(state.graph, plan).plan.analog
        seconds = time.process_time() - begun
        found, cost = judge.measured.evaluate(analog), cost_of(state.graph, analog, plan.hardware)
        rows.append(
            [
                name,
                objective,
                f"{100 * found.mean:.1f} %",
                f"{100 * found.drop:.2f}",
                f"{100 * share(plan, analog):.1f} %",
                str(len(analog)),
                f"{1e3 * cost.latency_s:.2f}",
                f"{1e6 * cost.energy_j:,.0f}",
                str(len(judge.asked)),
                f"{seconds:.0f}",
            ]
        )
        print(rows[-1], sorted(frozenset(plan.eligible) - analog), flush=True)
        if options.out is not None:
            options.out.write_text(json.dumps(rows, indent=1))
    headers = ["strategy", "objective", "accuracy", "drop", "MACs analog", "layers", "ms", "µJ", "judged", "CPU s"]
    print(Table(headers, rows, right=range(2, 10)).render("markdown"))


if __name__ == "__main__":
    main()
