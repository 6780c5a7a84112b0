"""Draw the region of noise and ADC bits on which ``digits-narrow`` holds a budget of two points, all layers on tiles.

    python docs/figures/device_region.py docs/figures/device-region.svg

It is measured on 300 samples of the package and six chips, in some minutes.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import lhc
from lhc.report.charts.axes import standalone_svg
from lhc.report.charts.report_charts import region_chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLES, CHIPS = 400, 6
VARIED = ("devices.programming_noise_scale=0.5..4", "adc.bits=4..8")


def main() -> None:
    """Write the figure."""
    placed = lhc.partition(
        "digits-narrow",
        strategy="all-analog",
        objective="macs",
        max_drop="2%",
        explain=False,
        samples=SAMPLES,
        draws=CHIPS,
    )
    region = lhc.feasible_region(
        placed.source,
        placement=placed.plan,
        data="digits-narrow",
        vary=VARIED,
        confidence=0.9,
        samples=SAMPLES,
        draws=CHIPS,
    )
    chart = region_chart(region)

    def draw(figure: "Figure") -> None:
        chart.draw(figure.add_axes((0.09, 0.16, 0.88, 0.74)))

    svg = standalone_svg(draw, 640, 280, "Verdicts of the budget over noise and ADC bits")
    Path(sys.argv[1]).write_text(svg, encoding="utf-8")
    print(region.table(), region.summary, sep="\n")


if __name__ == "__main__":
    main()
