"""Throughput, peak power and area of a placement's machine, in words."""

from collections.abc import Iterator

from lhc.costs import SystemFigures, Throughput
from lhc.plan import Plan
from lhc.summary import rate_text
from lhc.support.number_formatting import amount, counted, share_text

__all__ = ["system_lines"]


def system_lines(figures: SystemFigures, plan: Plan) -> Iterator[str]:
    """What is said beside latency and energy of a sample."""
    found, area = figures.throughput, figures.area
    yield f"estimated throughput {rate_text(found)}, {_rhythm(found, plan)}"
    if found.replicas:
        most = max(found.replicas, key=lambda name: found.replicas[name])
        which = f"{found.replicas[most]} of {plan.titles.get(most, most)}"
        if len(found.replicas) > 1:
            which = f"of {counted(len(found.replicas), 'layer')}, at most {which}"
        yield f"replicas that share out the vectors: {which}; {counted(found.tiles, 'tile')} beyond those in use"
    if figures.peak_w is not None:
        yield f"estimated peak power at most {amount(figures.peak_w, 'W')}, idle parts left out"
    if area is not None:
        converters = ""
        if area.converters_mm2 is not None:
            converters = f" ({share_text(area.converters_mm2 / area.tiles_mm2, 0)} of these converters)"
        missing = f"; not known: {' and '.join(area.missing)}" if area.missing else ""
        yield f"estimated area {area.total:.3g} mm², {counted(area.tiles, 'tile')}{converters}{missing}"


def _rhythm(found: Throughput, plan: Plan) -> str:
    """How samples follow each other, and what decides how fast."""
    if found.schedule == "one after the other":
        return found.schedule
    cores = counted(found.cores, "core")
    how = f"pipelined over {cores}" if found.schedule == "cores" else f"{cores}, links and tiles at work at once"
    names = [plan.titles.get(name, name) for name in found.slowest]
    slowest = f"{names[0]} to {names[-1]}" if len(names) > 1 else "".join(names)
    return f"{how}; slowest: {slowest or f'the {found.unit}'}"
