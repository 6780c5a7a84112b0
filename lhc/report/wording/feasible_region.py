"""Wording of a feasible region: how far the numbers of a machine may go until a budget is no longer held."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lhc.report.wording.outcome import samples_basis
from lhc.support.number_formatting import counted, drop_text, field_text, level_text, metric_value

if TYPE_CHECKING:
    from lhc.results import FeasibleRegion, RegionLine, RegionPoint


def region_budget(found: "FeasibleRegion") -> str:
    """The budget, and of what it is."""
    first = found.example
    drop = drop_text(found.max_drop, first.percent, found.drop_type, found.max_drop)
    share = "" if found.yield_share is None else f" and by {100 * found.yield_share:g} % of the chips one by one"
    return f"a mean {first.drop_word} of {drop}{share}"


def boundary_lines(found: "FeasibleRegion") -> Iterator[str]:
    """One sentence for each value of the second field, or one for the only field."""
    for line in found.lines:
        where = "" if line.at is None else f"at {found.fields[1].path} {field_text(found.fields[1].path, line.at)}: "
        yield f"{where}{_limit(found, line)}"


def _limit(found: "FeasibleRegion", line: "RegionLine") -> str:
    field = found.fields[0]
    if line.held is None:
        verdicts = {point.verdict for point in found.points if line.at in (None, point.values[-1])}
        if verdicts == {"broken"}:
            return f"broken with every {field.path} looked at"
        return f"not shown to hold with any {field.path} looked at; more chips (--draws) or samples may decide it"
    held = field_text(field.path, line.held)
    if line.next is None:
        end = "down to" if field.more_is_better else "up to"
        return f"holds with every {field.path} looked at, {end} {held}"
    broken = any(point.verdict == "broken" for point in found.points if _is_at(point, line))
    beyond = f"{'broken' if broken else 'not shown'} at {field_text(field.path, line.next)}"
    if field.more_is_better:
        return f"holds with {field.path} from {held} on; {beyond}"
    return f"holds with {field.path} up to {held}; {beyond}"


def _is_at(point: "RegionPoint", line: "RegionLine") -> bool:
    """Whether a machine is the first of a line that was not shown to hold."""
    return point.values[0] == line.next and line.at in (None, point.values[-1])


def region_basis(found: "FeasibleRegion") -> str:
    """Samples and chips of every machine."""
    first = found.example
    digital = f"digital {first.metric} {metric_value(first.baseline, first.percent)}"
    return f"{digital}; {counted(first.draws, 'chip')}, {samples_basis(first)}, seed {first.seed}"


def region_rule(found: "FeasibleRegion") -> str:
    """How many machines were measured, at which level, and how others follow from them."""
    measured = f"{len(found.points)} of {counted(found.grid, 'machine')} measured"
    level = f"each by itself at a level of {level_text(found.example.confidence)}"
    rest = "; the others follow, as a machine that is better in every number counts as no worse" if found.steady else ""
    return f"{measured}, {level}{rest}"


def region_cautions(found: "FeasibleRegion") -> Iterator[str]:
    """What a reader has to know before using it."""
    if found.searched_anew:
        yield (
            "the placement was searched anew for every machine; one holds where it has as large a share of MACs on"
            " tiles as the given one"
        )
    if not found.steady:
        names = " and ".join(field.path for field in found.fields)
        yield (
            f"drops neither only rise nor only fall with {names}: only what was measured is known; vary one field over"
            " a narrower range"
        )
    if not found.complete:
        yield "--timeout: the boundary was not found everywhere; run again to go on"
