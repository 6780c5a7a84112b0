"""Draw the diagrams of the documentation, with the numbers of preset ``lionheart`` and of its cost model.

    python docs/figures/diagrams.py docs/figures

Writes ``architecture.svg`` (what flows through lhc), ``tile.svg`` (from inputs to outputs of a tile), ``mapping.svg``
(matrices on tiles, with copies) and ``costs.svg`` (energy of each layer of ``digits`` on cores and on tiles).
"""

import sys
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import lhc
from lhc.hardware import Hardware
from lhc.support.number_formatting import amount

STYLE = """svg { font: 13px "Segoe UI", "Helvetica Neue", Arial, "Liberation Sans", sans-serif; background: #ffffff }
text { fill: #1c1e21 } .q { fill: #5a6067; font-size: 11.5px } .m { text-anchor: middle } .b { font-weight: 600 }
.e { text-anchor: end } .analog { fill: #fbd9b0; stroke: #d9730d } .digital { fill: #d3e0ee; stroke: #4e79a7 }
.file { fill: #f6f7f8; stroke: #9aa1a8 } .cells { fill: #ffffff; stroke: #9aa1a8 }
.line { fill: none; stroke: #5a6067; stroke-width: 1.4; marker-end: url(#a) }"""
ARROW = (
    "<defs><marker id='a' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
    "<path d='M0 0L8 4L0 8Z' fill='#5a6067'/></marker></defs>"
)


class Box(NamedTuple):
    """A box with a title and lines of text; ``kind`` is digital, analog or file."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str
    lines: Sequence[str] = ()

    def draw(self) -> str:
        """As SVG; the text is centred in it."""
        middle, count = self.x + self.width / 2, len(self.lines)
        top = self.y + self.height / 2 + 5 - 8 * count
        told = [text(middle, top, self.title, "m b")]
        told += [text(middle, top + 16 * (row + 1), line, "m q") for row, line in enumerate(self.lines)]
        return f"{rectangle(self.kind, self.x, self.y, self.width, self.height, 5)}{''.join(told)}"


def rectangle(kind: str, x: float, y: float, width: float, height: float, round_by: float = 0) -> str:
    """A rectangle of a class of the style."""
    return f"<rect class='{kind}' x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='{round_by:g}'/>"


def text(x: float, y: float, content: str, kind: str = "") -> str:
    """One line of text."""
    return f"<text class='{kind}' x='{x:g}' y='{y:g}'>{escape(content)}</text>"


def arrow(*points: tuple[float, float]) -> str:
    """A line with a head at its last point."""
    return f"<path class='line' d='M{'L'.join(f'{x:g} {y:g}' for x, y in points)}'/>"


def picture(width: int, height: int, title: str, description: str, body: str) -> str:
    """A whole SVG."""
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}'"
        f" role='img' aria-labelledby='t d'>\n<title id='t'>{escape(title)}</title>"
        f"<desc id='d'>{escape(description)}</desc>\n<style>\n{STYLE}\n</style>{ARROW}\n{body}\n</svg>\n"
    )


def architecture() -> str:
    """From a model and samples to a placed model, and what is done with it."""
    rows = [
        [
            ("file", 130, "model.onnx", "+ samples.npz"),
            ("digital", 150, "read", "layers, shapes, counts"),
            ("digital", 150, "qualify", "can a tile hold it?"),
            ("analog", 150, "measure", "damage of each layer"),
        ],
        [
            ("file", 130, "model.lhc.onnx", "network + plan"),
            ("digital", 150, "explain", "what is in the way"),
            ("analog", 150, "verify", "unseen samples, chips"),
            ("analog", 150, "search", "joint placements, judged"),
        ],
        [
            ("file", 130, "report.html", "Netron: lhc view"),
            ("analog", 150, "run", "onnxruntime + tiles"),
            ("file", 150, "model.sim.onnx", "lhc compile: one chip"),
            ("analog", 150, "retrain", "under noise"),
        ],
    ]
    lefts = (10, 190, 390, 590)
    boxes = [
        [
            Box(kind, lefts[i], 20 + 110 * row, width, 56, title, [line])
            for i, (kind, width, title, line) in enumerate(of)
        ]
        for row, of in enumerate(rows)
    ]
    body = "\n".join(box.draw() for row in boxes for box in row)
    first, second, third = boxes
    body += "".join(arrow((one.x + one.width, 48), (two.x - 2, 48)) for one, two in pairwise(first))
    body += arrow((665, 76), (665, 128))
    body += "".join(arrow((two.x, 158), (one.x + one.width + 2, 158)) for one, two in pairwise(second))
    body += "".join(
        arrow((75, 186), (75, 212), (box.x + box.width / 2, 212), (box.x + box.width / 2, 238)) for box in third
    )
    description = (
        "A model and samples are read, qualified, measured, searched and verified; the plan is written into the model,"
        " which is run, compiled, shown or retrained."
    )
    return picture(750, 310, "What flows through lhc", description, body)


def tile(machine: Hardware) -> str:
    """From the inputs of a product to its outputs."""
    dac, adc, tiles = machine.dac, machine.adc, machine.tiles
    above = [
        Box("digital", 10, 60, 110, 64, "inputs x", ["floats, digital"]),
        Box("digital", 160, 60, 120, 64, "scale", ["x / max |x|"]),
        Box("digital", 320, 60, 110, 64, "DAC", [f"{dac.bits} bits: {2 ** (dac.bits or 0) - 2} steps"]),
        Box("analog", 470, 44, 190, 96, "crossbar", [
            f"{tiles.rows} x {tiles.cols} cells, each off", "by programming noise, drift,", "read noise; one step"]),
        Box("analog", 700, 60, 110, 64, "output noise", [f"\N{GREEK SMALL LETTER SIGMA} = {adc.noise:g}"]),
    ]  # fmt: skip
    below = [
        Box("digital", 700, 180, 110, 64, "ADC", [f"{adc.bits} bits, up to ±{adc.bound:g}"]),
        Box("digital", 520, 180, 140, 64, "read again", ["inputs halved, where", "it saturates"]),
        Box("digital", 330, 180, 150, 64, "drift gain, copies", ["sum / copies"]),
        Box("digital", 150, 180, 140, 64, "scale, correct", ["x max |x|, per column"]),
        Box("digital", 10, 180, 110, 64, "outputs y", ["+ bias, digital"]),
    ]
    body = "\n".join(box.draw() for box in (*above, *below))
    body += "".join(arrow((one.x + one.width, 92), (two.x - 2, 92)) for one, two in pairwise(above))
    body += arrow((755, 124), (755, 178)) + text(565, 34, "currents add up", "m q")
    body += "".join(arrow((one.x, 212), (two.x + two.width + 2, 212)) for one, two in pairwise(below))
    body += arrow((590, 180), (590, 142))
    description = (
        "Inputs are scaled and quantised by the DAC, multiplied in the crossbar with noisy conductances, gain output"
        " noise, are quantised by the ADC, and are scaled and corrected digitally."
    )
    return picture(820, 260, "Signal chain of a tile", description, body)


def mapping(machine: Hardware) -> str:
    """A small matrix with its copies on one tile, and a large one on several."""
    tiles, inputs, outputs = machine.tiles, 27, 16
    assert tiles.rows is not None
    assert tiles.cols is not None
    copies, side, left, top = tiles.rows // inputs, 230, 90, 50
    row, column = side / tiles.rows, side / tiles.cols
    parts = [
        text(10, 24, f"{inputs} x {outputs} weights, {copies} copies on one tile", "b"),
        rectangle("cells", left, top, side, side),
        text(left + side / 2 + 12, top - 8, f"{tiles.cols} columns", "m q"),
    ]
    for copy in range(copies):
        y = top + copy * inputs * row
        parts.append(rectangle("analog", left, y, 3 * outputs * column, inputs * row))
        parts.append(arrow((left - 34, y + inputs * row / 2), (left - 2, y + inputs * row / 2)))
    parts += [
        text(left - 40, top + copies * inputs * row / 2 + 4, "same x", "q e"),
        arrow((left + 1.5 * outputs * column, top + side), (left + 1.5 * outputs * column, top + side + 26)),
        text(left - 60, top + side + 42, f"sum of {copies} products / {copies}: errors of devices average out", "q"),
        text(left + 130, top + side / 2, "free cells", "m q"),
    ]
    big, many = (600, 300), (3, 2)
    size, gap, x0 = 62, 14, 520
    parts.append(text(430, 24, f"{big[0]} x {big[1]} weights on {many[0] * many[1]} tiles", "b"))
    for i in range(many[0]):
        for j in range(many[1]):
            x, y = x0 + j * (size + gap + 20), top + i * (size + gap)
            parts += [
                rectangle("cells", x, y, size, size),
                rectangle(
                    "analog", x, y, size * (big[1] / many[1]) / tiles.cols, size * (big[0] / many[0]) / tiles.rows
                ),
            ]
        y = top + i * (size + gap) + size / 2
        parts.append(arrow((x0 - 24, y), (x0 - 2, y)))
        parts.append(text(x0 - 28, y + 4, f"x {200 * i + 1} to {200 * (i + 1)}", "q e"))
    bottom = top + 3 * (size + gap)
    for j in range(many[1]):
        x = x0 + j * (size + gap + 20) + 18
        parts.append(arrow((x, bottom - 4), (x, bottom + 14)))
        parts.append(text(x + 8, bottom + 30, f"y {150 * j + 1} to {150 * (j + 1)}", "q m"))
    parts.append(text(430, bottom + 54, "parts of rows are added digitally, parts of columns joined", "q"))
    description = (
        "A matrix of 27 inputs is written nine times, one copy below the other, into the rows of one tile. A matrix of"
        " 600 inputs and 300 outputs is split over six tiles."
    )
    return picture(780, 340, "Matrices on tiles", description, "\n".join(parts))


def costs() -> str:
    """Energy of each layer of ``digits``, as a digital product and on tiles."""
    found = lhc.analyze("digits").costs
    assert found is not None
    rows = [(name, found.digital[name].energy_j, found.analog[name].energy_j) for name in found.digital]
    longest = max(max(digital, analog) for _, digital, analog in rows)

    def bars() -> Iterator[str]:
        for number, (name, digital, analog) in enumerate(rows):
            y = 56 + 22 * number
            yield text(132, y + 13, name, "q e")
            for kind, energy, at in (("digital", digital, y), ("analog", analog, y + 9)):
                yield rectangle(kind, 140, at, max(1, 420 * energy / longest), 8)
            pays = f"{digital / analog:.1f} times less" if analog < digital else f"{analog / digital:.1f} times more"
            yield text(
                150 + 420 * max(digital, analog) / longest, y + 13, f"on tiles {amount(analog, 'J')}, {pays}", "q"
            )

    legend = [
        rectangle("digital", 140, 28, 14, 10),
        text(160, 37, "on digital cores, int8", "q"),
        rectangle("analog", 300, 28, 14, 10),
        text(320, 37, "on tiles", "q"),
    ]
    body = "\n".join([text(10, 18, "Energy of a sample, layer by layer", "b"), *legend, *bars()])
    description = "Two bars a layer. Wide layers take several times less energy on tiles, the first convolution more."
    return picture(760, 66 + 22 * len(rows), "Energy of the layers of digits", description, body)


def main() -> None:
    """Write all into the folder."""
    folder, machine = Path(sys.argv[1]), Hardware.load("lionheart")
    drawn = {
        "architecture": architecture(), "tile": tile(machine), "mapping": mapping(machine), "costs": costs()
    }  # fmt: skip
    for name, content in drawn.items():
        (folder / f"{name}.svg").write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
