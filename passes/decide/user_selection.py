"""Selection by the user: candidates that are looked at, and layers that are fixed.

Patterns are globs on layer names, or regular expressions after ``re:`` (matched anywhere). They are tried on the paths
of modules too, and on the paths above them: ``encoder.layer.3`` names all that is in it. Layers that share their
weights share their tiles and move together.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import ClassVar

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.options.shared import Selection
from lhc.passes.base import Pass, PassResult
from lhc.passes.decide.copies import ChooseCopies
from lhc.plan import Placement, Plan, Reason
from lhc.support.number_formatting import counted


def match_layers(
    pattern: str, names: Iterable[str], option: str, paths: Mapping[str, str] | None = None
) -> frozenset[str]:
    """Names that a pattern matches.

    Args:
        pattern: name, glob, or regular expression after ``re:``.
        paths: name -> dotted path of the layer; a glob that matches the beginning of one, up to a dot, matches it.

    Raises:
        UsageError: none, or not a regular expression; the message lists the nearest names.
    """
    keys = {name: (name, *_above((paths or {}).get(name, ""))) for name in names}
    if pattern.startswith("re:"):
        try:
            expression = re.compile(pattern[3:])
        except re.error as error:
            raise UsageError(f"{option} {pattern!r}: not a regular expression: {error}") from error
        found = frozenset(name for name, key in keys.items() if any(expression.search(k) for k in key))
    else:
        exact = frozenset(name for name, key in keys.items() if pattern in key)  # names may hold brackets
        found = exact or frozenset(name for name, key in keys.items() if any(fnmatchcase(k, pattern) for k in key))
    if not found:
        known = list(dict.fromkeys(k for key in keys.values() for k in key))
        near = get_close_matches(pattern, known, n=3, cutoff=0.3) or known[:3]
        hint = "the model has no MatMul, Gemm or Conv"
        if near:
            hint = f"nearest: {', '.join(near)}{_stars(pattern, keys)}"
        raise UsageError(f"{option} {pattern!r} matches no layer; {hint}")
    return found


def _stars(pattern: str, keys: Mapping[str, tuple[str, ...]]) -> str:
    """Advice to use stars, with an example that matches; empty where the pattern has stars already."""
    if not pattern or pattern.startswith("re:") or "*" in pattern:
        return ""
    found = sum(any(fnmatchcase(k, f"*{pattern}*") for k in key) for key in keys.values())
    if not found:
        return "; * in a pattern stands for any text"
    return f"; * in a pattern stands for any text: '*{pattern}*' matches {found} layer{'' if found == 1 else 's'}"


def _above(path: str) -> tuple[str, ...]:
    """A path and those above it: ``a.b.c``, ``a``, ``a.b``."""
    parts = path.split(".")
    return tuple(dict.fromkeys([path, *(".".join(parts[:depth]) for depth in range(1, len(parts)))])) if path else ()


@dataclass(frozen=True)
class Select(Selection, Pass):
    """Narrow the candidates and fix some of them; its fields are the options of `Selection`."""

    name: ClassVar[str] = "select"
    requires: ClassVar[frozenset[str]] = frozenset({"qualified"})

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        names = [layer.name for layer in plan.layers]
        included = self._matches("--include", self.include, plan, graph) or frozenset(names)
        excluded = self._matches("--exclude", self.exclude, plan, graph)
        if self.include and included <= excluded:
            raise UsageError(
                "--exclude leaves out every layer that --include names, so none is left; change one of them"
            )
        analog = self._matches("--force-analog", self.force_analog, plan, graph)
        digital = self._matches("--force-digital", self.force_digital, plan, graph)
        self._check(graph, plan, analog, digital, (frozenset(names) - included) | excluded)
        decisions: dict[str, tuple[Placement, Reason, str]] = {}
        for name in plan.eligible:
            if name in analog:
                decisions[name] = ("analog", "forced", "analog by --force-analog")
            elif name in digital:
                decisions[name] = ("digital", "forced", "digital by --force-digital")
            elif name in excluded:
                decisions[name] = ("digital", "excluded", "left out by --exclude")
            elif name not in included:
                decisions[name] = ("digital", "excluded", "not named by --include")
        return PassResult(plan.decide(decisions))

    def _matches(self, option: str, patterns: Sequence[str], plan: Plan, graph: LayerGraph) -> frozenset[str]:
        paths = {layer.name: layer.path for layer in plan.layers}
        found = frozenset(name for pattern in patterns for name in match_layers(pattern, paths, option, paths))
        return frozenset(name for group in graph.tied(paths) if found & set(group) for name in group)

    def _check(
        self, graph: LayerGraph, plan: Plan, analog: frozenset[str], digital: frozenset[str], out: frozenset[str]
    ) -> None:
        both = sorted(analog & digital)
        if both:
            raise UsageError(f"{', '.join(both)}: named by both --force-analog and --force-digital; drop one")
        dropped = sorted((analog | digital) & out)
        if dropped:
            raise UsageError(f"{', '.join(dropped)}: forced, but left out by --include or --exclude; drop one")
        for layer in plan.layers:
            if layer.name in analog and layer.reason != "eligible":
                raise UsageError(f"--force-analog {layer.name}: it cannot be analog: {layer.detail}")
        forced = plan.tiles_of(graph, analog)
        count = plan.hardware.tiles.count
        if count is not None and forced > count:
            raise UsageError(f"--force-analog needs {forced} tiles, the machine has {count}")


@dataclass(frozen=True)
class FollowPlan(Pass):
    """Place every layer as another plan has it; layers that it does not name stay digital.

    Attributes:
        other: the plan to follow, perhaps edited by hand.
    """

    other: Plan
    name: ClassVar[str] = "follow-plan"
    requires: ClassVar[frozenset[str]] = frozenset({"qualified"})

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        rows = {layer.name: layer for layer in plan.layers}
        unknown = sorted(self.other.analog - rows.keys())
        if unknown:
            near = get_close_matches(unknown[0], rows, n=3, cutoff=0.3)
            raise UsageError(f"--plan: the model has no layer {unknown[0]!r}; nearest: {', '.join(near) or 'none'}")
        analog = self.other.analog
        for name in sorted(analog):
            if rows[name].reason != "eligible":
                raise UsageError(f"--plan: {name} cannot be analog: {rows[name].detail}")
        for group in graph.tied(plan.eligible):
            placed = analog.intersection(group)
            if placed and placed != set(group):
                raise UsageError(f"--plan: {', '.join(group)} share their weights and must be placed alike")
        decisions: dict[str, tuple[Placement, Reason, str]] = {
            name: ("analog" if name in analog else "digital", "forced", "by --plan") for name in plan.eligible
        }
        followed, notes = plan.decide(decisions), self._notes_on_tiles(plan)
        if plan.hardware.takes_copies_of(self.other.hardware):
            followed = followed.with_copies(graph, self._copies(graph, plan))
        else:
            followed = ChooseCopies().run(graph, followed).plan
        if plan.hardware.digital == self.other.hardware.digital and self.other.digital is not None:
            followed = followed.with_arithmetic(self.other.digital)
        return PassResult(followed, (*notes, *self._notes(followed)))

    def _notes_on_tiles(self, plan: Plan) -> tuple[str, ...]:
        """Says where copies are not the plan's, since the user names a machine whose tiles hold weights otherwise."""
        if not self.other.copies or plan.hardware.takes_copies_of(self.other.hardware):
            return ()
        machine = self.other.hardware.name
        return (f"copies of weights are chosen anew: those of --plan are for the tiles of {machine}",)

    def _notes(self, followed: Plan) -> tuple[str, ...]:
        """What the plan brings that was found on other samples, perhaps for another network."""
        notes = []
        if self.other.source != followed.source:
            notes.append("--plan was made for other weights or another graph; lhc compares only names of layers")
        digital = followed.digital
        if digital is not None and digital.ranges:
            found = counted(digital.samples, "sample")
            notes.append(f"int8 ranges of digital products come from --plan ({found})")
        return tuple(notes)

    def _copies(self, graph: LayerGraph, plan: Plan) -> dict[str, int]:
        free = frozenset(plan.eligible)
        copies = {layer.name: layer.copies for layer in self.other.layers if layer.name in free}
        for group in graph.tied(copies):
            if len({copies[name] for name in group}) > 1:
                raise UsageError(
                    f"--plan: {', '.join(group)} share their tiles and must have the same number of copies"
                )
        for name in sorted(self.other.analog & copies.keys()):
            obstacle = plan.hardware.for_layer(name).copies_obstacle
            if copies[name] > 1 and obstacle is not None:
                raise UsageError(
                    f"--plan: {name} has {copies[name]} copies, hardware {plan.hardware.name!r}: {obstacle}"
                )
        return copies
