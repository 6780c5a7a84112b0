"""Draw placements as block grids: one panel a model, one row a block, one cell a layer, as an SVG.

    python docs/figures/block_grid.py OUT.svg TITLE=MODEL.lhc.onnx [TITLE=MODEL.lhc.onnx ...]

Analog cells are orange, digital ones blue; a cell shows the layer's sensitivity. Blocks come from layer names.
"""

import sys
from html import escape
from itertools import groupby
from pathlib import Path

from lhc.onnx_io import load_model, read_plan
from lhc.plan import LayerPlan, Plan

CELL, GAP, ROW, LABEL, HEAD = 88, 6, 40, 74, 64
FILL = {"analog": "#f28e2b", "digital": "#4e79a7"}
INK = {"analog": "#222", "digital": "white"}
STYLE = "font-family='Helvetica, Arial, sans-serif'"


def blocks(plan: Plan) -> list[tuple[str, list[LayerPlan]]]:
    """Layers by the module that holds them, in file order."""
    grouped = groupby(plan.layers, key=lambda layer: layer.name.rpartition(".")[0] or layer.name)
    return [(name, list(layers)) for name, layers in grouped]


def text(x: float, y: float, content: str, size: int = 12, fill: str = "#333", anchor: str = "start") -> str:
    """One line of text."""
    return f"<text x='{x}' y='{y}' font-size='{size}' fill='{fill}' text-anchor='{anchor}'>{escape(content)}</text>"


def cell(x: float, y: float, layer: LayerPlan) -> str:
    """One layer: its name and sensitivity on the colour of its placement."""
    figure = "" if layer.sensitivity is None else f"{layer.sensitivity.mean:.4f}"
    name = layer.name.rpartition(".")[2]
    return (
        f"<g><title>{escape(f'{layer.name}: {layer.placement}, {layer.reason}')}</title>"
        f"<rect x='{x}' y='{y}' width='{CELL}' height='{ROW - GAP}' rx='4' fill='{FILL[layer.placement]}'/>"
        f"{text(x + CELL / 2, y + 14, name, 11, INK[layer.placement], 'middle')}"
        f"{text(x + CELL / 2, y + 28, figure, 11, INK[layer.placement], 'middle')}</g>"
    )


def panel(left: float, title: str, plan: Plan) -> str:
    """One model."""
    outcome = plan.outcome
    share = f"{len(plan.analog)} of {len(plan.layers)} layers analog, {100 * plan.analog_mac_fraction:.1f} % of MACs"
    drop = ""
    if outcome is not None and outcome.interval is not None:
        low, high = outcome.interval
        drop = f"drop {100 * outcome.drop:.1f} points [{100 * low:.1f}, {100 * high:.1f}]"
    parts = [text(left, 18, title, 15), text(left, 36, share), text(left, 52, drop)]
    for row, (name, layers) in enumerate(blocks(plan)):
        y = HEAD + row * ROW
        parts.append(text(left, y + 21, name, 11, "#666"))
        parts += [cell(left + LABEL + i * (CELL + GAP), y, layer) for i, layer in enumerate(layers)]
    return "".join(parts)


def main() -> None:
    """Draw the models that the command line names."""
    out, panels = Path(sys.argv[1]), []
    for argument in sys.argv[2:]:
        title, _, path = argument.rpartition("=")
        plan = read_plan(load_model(path))
        if plan is None:
            sys.exit(f"{path}: carries no placement")
        panels.append((title, plan))
    columns = max(len(layers) for _, plan in panels for _, layers in blocks(plan))
    width = LABEL + columns * (CELL + GAP) + 30
    height = HEAD + max(len(blocks(plan)) for _, plan in panels) * ROW + 4
    body = "".join(panel(12 + i * width, title, plan) for i, (title, plan) in enumerate(panels))
    total = len(panels) * width
    out.write_text(
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {total} {height}' width='{total}' {STYLE}>"
        f"<rect width='100%' height='100%' fill='white'/>{body}</svg>\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
