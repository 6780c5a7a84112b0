"""A front as a picture: the drop of every point over its objective, verified ones with their intervals."""

from lhc.report.charts.axes import Scale, number_ticks, span
from lhc.report.charts.report_charts import AXES
from lhc.results import Front, FrontPoint
from lhc.support.number_formatting import share_text
from lhc.support.text_escaping import html_text

__all__ = ["front_svg"]

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 700, 20, 370
MIDDLE = (TOP + BOTTOM) // 2
STYLE = (
    "text{font:13px sans-serif;fill:#333}.a{stroke:#333}"
    ".v{fill:#c2410c}.e{fill:none;stroke:#94a3b8}.i{stroke:#c2410c;stroke-width:1.5}"
)


def front_svg(front: Front) -> str:
    """The front as a self-contained SVG; points that are only estimated are hollow, at their predicted drop."""
    label, factor = AXES[front.objective]
    placed = [(factor * at, point) for point in front.points if (at := point.value(front.objective)) is not None]
    percent = any(p.evaluation is not None and p.evaluation.percent for _, p in placed)
    unit = 100.0 if percent else 1.0
    drops = [unit * y for _, p in placed for y in _heights(p)]
    x, y = Scale(*span([0.0, *(v for v, _ in placed)]), LEFT, RIGHT), Scale(*span([0.0, *drops]), BOTTOM, TOP)
    drop = f"{front.drop_word}{' (points)' if percent else f' ({html_text(front.drop_metric)})'}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{front.drop_word.capitalize()} over {html_text(label)}</title><style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<path class="a" fill="none" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>',
        *(
            f'<text x="{t.at:.1f}" y="{BOTTOM + 18}" text-anchor="middle">{html_text(t.text)}</text>'
            for t in number_ticks(x)
        ),
        *(
            f'<text x="{LEFT - 8}" y="{t.at + 4:.1f}" text-anchor="end">{html_text(t.text)}</text>'
            for t in number_ticks(y)
        ),
        f'<text x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{html_text(label)}</text>',
        f'<text x="16" y="{MIDDLE}" text-anchor="middle" transform="rotate(-90 16 {MIDDLE})">{drop}</text>',
        *(_mark(x(value), y, unit, point) for value, point in placed),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part)


def _heights(point: FrontPoint) -> list[float]:
    if point.evaluation is None:
        return [] if point.predicted_drop is None else [point.predicted_drop]
    return [point.evaluation.drop, *(point.evaluation.drop_interval or ())]


def _mark(x: float, y: Scale, unit: float, point: FrontPoint) -> str:
    heights = [y(unit * value) for value in _heights(point)]
    if not heights:
        return ""
    title = f"<title>{len(point.analog)} layers, {share_text(point.analog_mac_fraction)} of MACs</title>"
    kind, radius = ("e", 3) if point.evaluation is None else ("v", 5)
    bar = f'<path class="i" d="M{x:.1f} {heights[1]:.1f}V{heights[2]:.1f}"/>' if len(heights) > 2 else ""
    return f'{bar}<circle class="{kind}" cx="{x:.1f}" cy="{heights[0]:.1f}" r="{radius}">{title}</circle>'
