"""Draw how a path of placements is tested: mean drop and upper bound as chips come in, one panel a placement.

    python docs/figures/tested_path.py docs/figures/tested-path.svg

Chips are drawn numbers, with a deviation of 0.3 points and true mean drops of 0.5, 0.8, 0.95 and 1.2 points; the budget
is one point. Bounds and looks are those of lhc.
"""

import sys
from pathlib import Path

import numpy as np
from scipy import special

from lhc.stats import hopeless, look_errors, look_schedule

TRUTHS, BUDGET, DEVIATION, SEED = (0.5, 0.8, 0.95, 1.2), 1.0, 0.3, 2
WIDTH, HEIGHT, GAP, LEFT, TOP = 190, 200, 22, 52, 44
LOOKS = look_schedule(10, 100)
BLUE, ORANGE, RED, INK = "#4e79a7", "#f28e2b", "#c0392b", "#333"


def look_by_look(truth: float, rng: np.random.Generator) -> tuple[list[tuple[int, float, float]], str]:
    """Draws, mean and upper bound at every look until the test ends, and how it ends."""
    errors, drops = look_errors(LOOKS, 0.05), rng.normal(truth, DEVIATION, LOOKS[-1])
    seen = []
    for look, error in zip(LOOKS, errors, strict=True):
        mean, deviation = float(drops[:look].mean()), float(drops[:look].std(ddof=1))
        bound = mean + float(special.stdtrit(look - 1, 1 - error)) * deviation / look**0.5
        seen.append((look, mean, bound))
        if bound <= BUDGET:
            return seen, f"budget met after {look} chips"
        if hopeless(mean, deviation, BUDGET, LOOKS, look, errors[-1]):
            return seen, f"given up after {look} chips"
    return seen, f"not met with {LOOKS[-1]} chips"


def text(x: float, y: float, content: str, size: int = 12, fill: str = INK, anchor: str = "start") -> str:
    """One line of text."""
    return f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' fill='{fill}' text-anchor='{anchor}'>{content}</text>"


def panel(number: int, truth: float, rng: np.random.Generator) -> str:
    """One placement."""
    left, low, high = LEFT + number * (WIDTH + GAP), 0.3, 1.6
    seen, end = look_by_look(truth, rng)

    def x(draws: float) -> float:
        return float(left + WIDTH * np.log(draws / 8) / np.log(110 / 8))

    def y(drop: float) -> float:
        return TOP + HEIGHT * (high - min(drop, high)) / (high - low)

    parts = [
        f"<rect x='{left}' y='{TOP}' width='{WIDTH}' height='{HEIGHT}' fill='#fafafa' stroke='#ccc'/>",
        f"<line x1='{left}' x2='{left + WIDTH}' y1='{y(BUDGET)}' y2='{y(BUDGET)}' stroke='{RED}' stroke-width='1.5'/>",
        text(left, TOP - 22, f"placement {number + 1}: truly {truth:g} points"),
        text(left, TOP - 7, end, 12, BLUE if "budget met" in end else ORANGE),
    ]
    for draws, mean, bound in seen:
        at, colour = x(draws), BLUE if bound <= BUDGET else ORANGE
        parts.append(f"<line x1='{at:.1f}' x2='{at:.1f}' y1='{y(mean):.1f}' y2='{y(bound):.1f}' stroke='{colour}'/>")
        parts.append(f"<line x1='{at - 4:.1f}' x2='{at + 4:.1f}' y1='{y(bound):.1f}' y2='{y(bound):.1f}'"
                     f" stroke='{colour}' stroke-width='2'/>")  # fmt: skip
        parts.append(f"<circle cx='{at:.1f}' cy='{y(mean):.1f}' r='3' fill='{colour}'/>")
    parts += [text(x(draws), TOP + HEIGHT + 16, str(draws), 11, anchor="middle") for draws in (10, 22, 49, 100)]
    if number == 0:
        parts += [text(left - 6, y(drop) + 4, f"{drop:g}", 11, anchor="end") for drop in (0.4, 0.7, 1.0, 1.3, 1.6)]
        middle = TOP + HEIGHT / 2
        title = text(14, middle, "mean drop (points)", 11, anchor="middle")
        parts.append(f"<g transform='rotate(-90 14 {middle})'>{title}</g>")
        parts.append(text(left + 4, y(BUDGET) - 5, "budget", 11, RED))
    parts.append(text(left + WIDTH / 2, TOP + HEIGHT + 31, "chips seen (logarithmic)", 11, anchor="middle"))
    return "".join(parts)


def main() -> None:
    """Write the figure."""
    rng = np.random.default_rng(SEED)
    width, height = LEFT + len(TRUTHS) * (WIDTH + GAP), TOP + HEIGHT + 60
    legend = "dot: mean drop of the chips seen; bar: its upper bound at that look, blue where it is within the budget"
    body = "".join(panel(number, truth, rng) for number, truth in enumerate(TRUTHS))
    Path(sys.argv[1]).write_text(
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' font-family='Helvetica, Arial,"
        f" sans-serif'><rect width='100%' height='100%' fill='white'/>{body}"
        f"{text(LEFT, height - 8, legend, 11)}</svg>\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
