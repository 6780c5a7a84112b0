"""Markdown tables of docs/resnet20.md, from the JSON that the commands listed there write.

    python benchmarks/resnet20_tables.py FOLDER

FOLDER holds ``sens.json`` (lhc sensitivity), ``part_0.005.json``, ``part_0.01.json`` and ``part_0.02.json`` (lhc
partition), ``sens256.json`` (lhc sensitivity on 256 images) and ``aihwkit.json`` (benchmarks/aihwkit_sensitivity.py).
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

from scipy import stats

from lhc.support.tables import Table

BUDGETS = ("0.005", "0.01", "0.02")


def read(folder: Path, name: str) -> dict[str, Any]:
    """One JSON document."""
    document: dict[str, Any] = json.loads((folder / name).read_text())
    return document


def points(interval: list[float]) -> str:
    """An interval of shares in points."""
    return f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f}"


def placements(folder: Path) -> Table:
    """One row a budget."""
    rows = []
    for budget in BUDGETS:
        d = read(folder, f"part_{budget}.json")
        analog = [layer["name"] for layer in d["layers"] if layer["placement"] == "analog"]
        rows.append(
            [
                f"{100 * float(budget):g}",
                f"{len(analog)} of {len(d['layers'])}",
                f"{100 * d['analog_mac_fraction']:.1f} %",
                str(d["tiles"]),
                f"{100 * d['result']['drop']:.2f}",
                points(d["result"]["chip_interval"]),
                points(d["result"]["sample_interval"]),
                f"{100 * d['confidence']:.0f} %",
            ]
        )
    headers = ["budget (points)", "analog layers", "MACs analog", "tiles", "mean drop", "other chips, these samples"]
    return Table([*headers, "other chips, other samples", "level"], rows, right=(0, 3, 4))


def sensitivities(folder: Path) -> Table:
    """One row a layer: its sensitivity with one copy, that with its copies, and its placement at each budget."""
    where = {
        budget: {layer["name"]: layer["placement"] for layer in read(folder, f"part_{budget}.json")["layers"]}
        for budget in BUDGETS
    }
    rows = []
    for layer in read(folder, "sens.json")["layers"]:
        low, high = layer["interval"]
        copies = layer["with_copies"]
        rows.append(
            [
                layer["name"],
                f"{layer['mean']:.4f}",
                f"{low:.4f} to {high:.4f}",
                f"{copies['mean']:.4f}, {copies['copies']} copies" if copies else "",
                *[where[budget][layer["name"]] for budget in BUDGETS],
            ]
        )
    headers = [
        "layer",
        "KL (nats)",
        "90 % interval",
        "KL with copies",
        *[f"at {100 * float(b):g} pt" for b in BUDGETS],
    ]
    return Table(headers, rows, right=(1,))


def agreement(folder: Path) -> str:
    """How well the ranking agrees with aihwkit alone."""
    ours = {layer["name"]: layer["mean"] for layer in read(folder, "sens256.json")["layers"]}
    theirs = {layer["name"]: layer["mean"] for layer in read(folder, "aihwkit.json")["layers"]}
    correlation = stats.spearmanr([ours[n] for n in theirs], list(theirs.values())).statistic
    ratio = math.exp(sum(math.log(ours[n] / theirs[n]) for n in theirs) / len(theirs))
    return f"rank correlation {correlation:.2f}, geometric mean of the ratios {ratio:.2f}"


def main() -> None:
    """Print all tables."""
    folder = Path(sys.argv[1])
    print(
        placements(folder).render("markdown"), sensitivities(folder).render("markdown"), agreement(folder), sep="\n\n"
    )


if __name__ == "__main__":
    main()
