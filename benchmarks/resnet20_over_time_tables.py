"""Table and figure of docs/resnet20.md, from what benchmarks/resnet20_over_time.py wrote.

    python benchmarks/resnet20_over_time_tables.py over_time.json docs/figures/resnet20-over-time.svg

Every chip was judged on a thousand images of its own, so a chip's drop varies with the devices and with the images, and
chips are independent: mean drop ± t · s / √R is the two-sided 90 % interval for other chips and other images. Needs
matplotlib.
"""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from scipy import stats

matplotlib.use("svg")
from matplotlib import pyplot as plt

PLACEMENTS = {"all analog": "#b5460f", "5 points": "#f28e2b", "2 points": "#8a6fb0", "1 point": "#4e79a7"}
"""Placement -> colour, least accurate first."""
SECONDS = {
    "1 s": 1.0,
    "1 h": 3600.0,
    "1 day": 86400.0,
    "2 days": 172800.0,
    "1 month": 30 * 86400.0,
    "1 year": 365 * 86400.0,
}
LEVEL = 0.9


@dataclass(frozen=True)
class Cell:
    """A placement on one preset at one time: accuracy and half-width of the interval of its drop, in percent."""

    accuracy: float
    half_width: float
    chips: int

    def __str__(self) -> str:
        return f"{self.accuracy:.2f} ± {self.half_width:.2f}"


def cells(found: Mapping[str, tuple[float, float]]) -> dict[tuple[str, str, str], Cell]:
    """(preset, time, placement) -> what its chips gave."""
    grouped: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for key, (value, baseline) in found.items():
        preset, label, placement, *_ = key.split("|")
        grouped.setdefault((preset, label, placement), []).append((value, baseline - value))
    result = {}
    for key, pairs in grouped.items():
        values, drops = 100 * np.array(pairs).T
        t = stats.t.ppf((1 + LEVEL) / 2, len(drops) - 1) if len(drops) > 1 else math.nan
        result[key] = Cell(values.mean(), float(t * drops.std(ddof=1) / math.sqrt(len(drops))), len(drops))
    return result


def table(found: Mapping[tuple[str, str, str], Cell]) -> str:
    """Markdown: one row a preset and placement, one column a time."""
    labels = [label for label in (*SECONDS, "any") if any(key[1] == label for key in found)]
    head = ["hardware", "placement", *labels, "chips"]
    rows = [head, ["---"] * 2 + ["---:"] * (len(labels) + 1)]
    for preset in dict.fromkeys(key[0] for key in found):
        for placement in PLACEMENTS:
            at = [found.get((preset, label, placement)) for label in labels]
            chips = next(cell.chips for cell in at if cell is not None)
            texts = ["-" if cell is None else str(cell) for cell in at]
            rows.append([f"`{preset}`", placement, *texts, str(chips)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def figure(found: Mapping[tuple[str, str, str], Cell], path: Path, digital: float) -> None:
    """One panel a preset, accuracy over time with intervals."""
    presets = [p for p in dict.fromkeys(key[0] for key in found) if (p, "any", "all analog") not in found]
    plt.rcParams.update({"font.size": 9, "svg.hashsalt": "lhc", "svg.fonttype": "none"})
    grid, axes = plt.subplots(2, 3, figsize=(10.5, 6), sharex=True, sharey=True, layout="constrained")
    for axis, preset in zip(axes.flat, presets, strict=False):
        axis.axhline(digital, color="#777777", linewidth=0.8, linestyle="--")
        for shift, (placement, colour) in enumerate(PLACEMENTS.items()):
            points = [
                (s, found[preset, label, placement])
                for label, s in SECONDS.items()
                if (preset, label, placement) in found
            ]
            axis.errorbar(
                [s * 1.12 ** (shift - 1.5) for s, _ in points],
                [cell.accuracy for _, cell in points],
                [cell.half_width for _, cell in points],
                color=colour,
                marker="o",
                markersize=3,
                linewidth=1.2,
                capsize=2,
                label=placement,
            )
        axis.set(title=preset, xscale="log")
        axis.set_xticks(*zip(*((s, label) for label, s in SECONDS.items() if label != "2 days"), strict=True))
        axis.minorticks_off()
        axis.tick_params(axis="x", rotation=30)
        axis.grid(alpha=0.25)
        axis.set_ylim(20, 95)
    for axis in axes[:, 0]:
        axis.set_ylabel("accuracy (%)")
    for axis in axes.flat[len(presets) :]:
        axis.axis("off")
    axes.flat[0].legend(loc="lower left", fontsize=8)
    grid.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print the table, draw the figure."""
    found = json.loads(Path(sys.argv[1]).read_text())
    chips = {tuple(key.split("|")[3:]): baseline for key, (_, baseline) in found.items()}
    digital = 100 * sum(chips.values()) / len(chips)
    by_cell = cells(found)
    print(f"digital {digital:.2f} %\n\n{table(by_cell)}")
    figure(by_cell, Path(sys.argv[2]), digital)


if __name__ == "__main__":
    main()
