"""Placements by estimate: the best one within bounds, found exactly.

The damage of a placement is estimated as the sum of its layers' sensitivities (KL or normalised MSE, which nearly add
up); MACs, tiles, latency and energy are sums of terms of single layers, and of the tensors converted between them. Each
question is a binary program with one variable per group of layers that move together, solved by HiGHS. What differs by
less than two millionths of the sum of all terms counts as equal.

Where tiles that are left over hold further copies of weights, one more variable per step of copies takes tiles and
lessens damage. The program may choose them as it likes; a placement that it finds has those of `Copies`, as the judge
has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy

from lhc.costs import CostTerms
from lhc.passes.decide.copies import Copies
from lhc.passes.decide.layer_groups import Group
from lhc.passes.search.solver import Floats, Program, solve, solve_core
from lhc.passes.strategies.base import Measure

RESOLUTION = 2e-6
"""Of the sum of all terms. HiGHS lets a row be exceeded by half of it."""
_ROUNDING = 1e-9
_TIE = 1e-7
"""Weight of the second of two measures; that of the order in the file is its square."""


@dataclass(frozen=True)
class Point:
    """A placement by estimate.

    Attributes:
        placement: the analog layers, those that the user fixed among them.
        damage: sum of sensitivities, in their unit.
        value: of the objective; smaller is better: digital MACs, latency in s, or energy in J.
        variables: of the program, ``(variables,)``.
    """

    placement: frozenset[str]
    damage: float
    value: float
    variables: Floats = field(compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """All placements that a plan leaves open, as sums of terms.

    Attributes:
        groups: layers that are decided together, in file order.
        fixed: layers that are analog whatever is decided.
        terms: measure -> ``(variables,)``; the first variables stand for groups, the others for formats of tensors.
        constants: measure -> what every placement has.
        limits: measure -> its bound.
        structure: rows ``A v <= 0`` that tie the formats of tensors to the groups.
        members: 1 where a variable is the format of an operator that holds a tensor, ``(tensors, formats)``.
        roughly: programs are solved nearly to the best, in a fraction of the time.
        costs: of every layer, where the objective or a limit needs them.
        copies: of weights on tiles, of every placement.
        holders: group of every set of layers that may have further copies, -1 for what is fixed; their steps are the
            last variables.
    """

    groups: tuple[Group, ...]
    fixed: frozenset[str]
    objective: Measure
    terms: Mapping[Measure, Floats]
    constants: Mapping[Measure, float]
    limits: Mapping[Measure, float]
    structure: "scipy.sparse.csr_array"
    members: "scipy.sparse.csr_array"
    low: Floats
    high: Floats
    roughly: bool = False
    costs: CostTerms | None = None
    copies: Copies = field(default_factory=Copies)
    holders: tuple[int, ...] = ()

    def best(
        self, max_damage: float | None = None, max_value: float | None = None, avoid: Sequence[frozenset[str]] = ()
    ) -> Point | None:
        """The placement with the best objective, and the least damage among equals; None if there is none.

        Args:
            avoid: placements that are out of the question, and with them all that contain them.
        """
        return self._least(self.objective, "damage", self._bounds(max_damage, max_value), avoid)

    def safest(self, max_value: float | None = None, avoid: Sequence[frozenset[str]] = ()) -> Point | None:
        """The placement with the least estimated damage, and the best objective among equals; None if there is none."""
        return self._least("damage", self.objective, self._bounds(None, max_value), avoid)

    def point(self, placement: frozenset[str]) -> Point | None:
        """The estimate of a placement; None if a limit forbids it, or it parts layers that move together."""
        chosen = self.chosen(placement)
        if self.placement(chosen) != placement:
            return None
        if len(self.low) == len(self.groups) + self._steps:
            chosen = np.concatenate([chosen, np.zeros(self._steps)])
            return self._named(chosen) if self._within(chosen, self.limits) else None
        return self._least(self.objective, "damage", self.limits, (), chosen)

    def chosen(self, placement: frozenset[str]) -> Floats:
        """Variables of a placement: 1 where it has a group analog, ``(groups,)``."""
        return np.array([float(placement.issuperset(group)) for group in self.groups])

    def placement(self, chosen: Floats) -> frozenset[str]:
        """The placement with a group analog where ``chosen`` is 1; variables that follow the groups do not matter."""
        analog = chosen[: len(self.groups)] > 0.5
        return self.fixed.union(*(group for group, c in zip(self.groups, analog, strict=True) if c))

    def believing(self, damages: Floats) -> "SearchSpace":
        """The same placements, with other damages.

        Args:
            damages: of the groups, and of what is analog anyway, ``(groups + 1,)``, with the copies that they have
                without further ones.
        """
        groups, steps = len(self.groups), self.terms["damage"][len(self.low) - self._steps :]
        before = np.append(self.terms["damage"][:groups], self.constants["damage"])
        times = np.divide(damages, before, out=np.ones(groups + 1), where=before > 0)[self._step_holders]
        padded = np.concatenate([damages[:-1], np.zeros(len(self.low) - groups - self._steps), steps * times])
        constants = {**self.constants, "damage": float(damages[-1])}
        return replace(self, terms={**self.terms, "damage": padded}, constants=constants)

    def inside(self, placement: frozenset[str]) -> "SearchSpace":
        """The placements that make nothing else analog than this one."""
        high = self.high.copy()
        high[: len(self.groups)] *= self.chosen(placement)
        return replace(self, high=high)

    def paying(self, placement: frozenset[str]) -> Point | None:
        """A placement without the layers that cost more of the objective than they save.

        Of all placements inside it, the one with the best objective, and the least damage among equals; conversions
        are counted for all layers together. None where all of them are beyond the limits.
        """
        return self.inside(placement).best()

    @property
    def unlimited(self) -> "SearchSpace":
        """The same placements without limits."""
        return replace(self, limits={})

    @cached_property
    def ideal(self) -> Point:
        """The best objective that there is, whatever the damage, and without limits: all layers that pay, together."""
        found = self.unlimited.best()
        assert found is not None  # all that is open is allowed
        return found

    def changes(self, point: Point, asked: npt.NDArray[np.bool_]) -> Floats:
        """Change of the objective when one group moves to the other side, ``(groups,)``; limits are ignored.

        As `flips`, with the operators that are no products where they convert least.

        Args:
            asked: groups of which that is wanted, ``(groups,)``; each may take a program. Others are as in `flips`.
        """
        found = self.flips(point, self.objective)
        tensors, formats = self.members.shape
        if not tensors:
            return found
        held = self.members.T @ self.terms[self.objective][formats : formats + tensors]
        signs = 1 - 2 * self.chosen(point.placement)
        least = signs * self.terms[self.objective][: len(self.groups)] - held[: len(self.groups)]
        for g in np.flatnonzero(asked & (found >= 0) & (least < 0)):
            moved = self.unlimited.point(point.placement ^ frozenset(self.groups[g]))
            assert moved is not None  # one whole group has moved
            found[g] = moved.value - point.value
        return found

    def measured(self, measure: Measure, variables: Floats) -> float:
        """Value of a linear measure at the variables."""
        return self.constants[measure] + float(self.terms[measure] @ variables)

    def least(self, measure: Measure, point: Point) -> float:
        """Value of a measure without the point's further copies, which make room for other layers."""
        last = len(self.low) - self._steps
        return self.constants[measure] + float(self.terms[measure][:last] @ point.variables[:last])

    def flips(self, point: Point, measure: Measure) -> Floats:
        """Change of a measure when one group moves to the other side, ``(groups,)``.

        Operators that are no products keep their formats, so with conversions it may change by less.
        """
        tensors, formats = self.members.shape
        signs = 1 - 2 * point.variables[: len(self.groups)]
        terms = self.terms[measure]
        changes = signs * terms[: len(self.groups)]
        if not tensors:
            return changes
        flows, sizes = terms[formats : formats + tensors], self.members.sum(axis=1)
        analog = self.members @ point.variables[:formats]

        def more(count: Floats) -> Floats:
            crossing = ((count > 0) & (count < sizes)).astype(np.float64)
            return flows * (crossing - ((analog > 0) & (analog < sizes)))

        up, down = (self.members.T @ more(analog + step) for step in (1, -1))
        return np.asarray(changes + np.where(signs > 0, up[: len(self.groups)], down[: len(self.groups)]))

    def floors(self, chosen: Floats, measure: Measure) -> Floats:
        """The least that a measure can be for placements: tensors that only groups hold are counted as they are.

        Operators that are no products may add conversions.

        Args:
            chosen: 1 where a group is analog, ``(placements, groups)``.

        Returns:
            ``(placements,)``.
        """
        groups, (tensors, formats) = len(self.groups), self.members.shape
        terms = self.terms[measure]
        sums = self.constants[measure] + chosen @ terms[:groups]
        if not tensors:
            return np.asarray(sums)
        held = self.members[:, : groups + 2].toarray()
        analog = chosen @ held[:, :groups].T + held[:, groups + 1]
        return np.asarray(sums + ((analog > 0) & (analog < held.sum(axis=1))) @ terms[formats : formats + tensors])

    def shares(self, placement: frozenset[str]) -> Floats:
        """Factors on the damage of groups, and of fixed layers, by the extra copies of a placement.

        Returns:
            ``(groups + 1,)``: 1 without further copies.
        """
        groups = len(self.groups)
        less = np.bincount(self._step_holders, self._further(placement) * self._step_damages, groups + 1)
        before = np.append(self.terms["damage"][:groups], self.constants["damage"])
        return np.asarray(1 + np.divide(less, before, out=np.zeros(groups + 1), where=before > 0))

    def _further(self, placement: frozenset[str]) -> Floats:
        """1 for the steps of copies that a placement has, ``(steps,)``."""
        levels = self.copies.levels(placement) if self.holders else []
        pairs = zip(self.copies.sets, levels, strict=False)
        taken = [np.arange(1, len(one.levels)) <= level for one, level in pairs]
        return np.concatenate(taken).astype(np.float64) if taken else np.zeros(0)

    @property
    def _steps(self) -> int:
        return sum(len(one.levels) - 1 for one in self.copies.sets) if self.holders else 0

    @property
    def _step_damages(self) -> Floats:
        return self.terms["damage"][len(self.low) - self._steps :]

    @cached_property
    def _step_holders(self) -> npt.NDArray[np.int64]:
        """Group of every step, the number of groups for what is fixed."""
        steps = [len(one.levels) - 1 for one in self.copies.sets[: len(self.holders)]]
        return np.repeat(np.array(self.holders, np.int64), steps) % (len(self.groups) + 1)

    def drop_order(self, placement: frozenset[str]) -> tuple[Group, ...]:
        """Groups of a placement, the first to be given up first: most damage for what it does for the objective.

        What does nothing for the objective goes before all else.
        """
        chosen = [i for i, group in enumerate(self.groups) if placement.issuperset(group)]
        damages = self.terms["damage"][: len(self.groups)] * self.shares(placement)[:-1]

        def use(i: int) -> tuple[bool, float, int]:
            gain = -float(self.terms[self.objective][i])
            damage = float(damages[i])
            return gain > 0, -damage / gain if gain > 0 else -damage, -i

        return tuple(self.groups[i] for i in sorted(chosen, key=use))

    def resolution(self, measure: Measure) -> float:
        """Difference below which two placements are equal."""
        return RESOLUTION * self._sizes[measure]

    @cached_property
    def _sizes(self) -> Mapping[Measure, float]:
        return {measure: float(np.abs(terms).sum()) or 1.0 for measure, terms in self.terms.items()}

    def _bounds(self, max_damage: float | None, max_value: float | None) -> Mapping[Measure, float]:
        bounds = dict(self.limits)
        if max_damage is not None:
            bounds["damage"] = max_damage
        if max_value is not None:
            bounds[self.objective] = min(max_value, bounds.get(self.objective, max_value))
        return bounds

    def _named(self, variables: Floats) -> Point:
        placement = self.placement(variables)
        variables = np.concatenate([variables[: len(self.low) - self._steps], self._further(placement)])
        damage, value = (self.measured(measure, variables) for measure in ("damage", self.objective))
        return Point(placement, damage, value, variables)

    def _least(
        self,
        first: Measure,
        second: Measure,
        bounds: Mapping[Measure, float],
        avoid: Sequence[frozenset[str]],
        chosen: Floats | None = None,
    ) -> Point | None:
        """Least ``first``, then ``second``, then the order of the file; groups as they are ``chosen``, if they are."""
        solver = solve_core if self.roughly else solve
        found = solver(self._program(first, second, bounds, avoid, _ROUNDING, chosen))
        if found is not None and not self._within(np.rint(found), bounds):
            # HiGHS made use of its tolerance: the bounds are drawn in by more than that.
            found = solver(self._program(first, second, bounds, avoid, -RESOLUTION, chosen))
        return None if found is None else self._named(np.rint(found))

    def _within(self, variables: Floats, bounds: Mapping[Measure, float]) -> bool:
        return all(self.measured(m, variables) <= bound + 2 * _ROUNDING * self._sizes[m] for m, bound in bounds.items())

    def _program(
        self,
        first: Measure,
        second: Measure,
        bounds: Mapping[Measure, float],
        avoid: Sequence[frozenset[str]],
        slack: float,
        chosen: Floats | None,
    ) -> Program:
        n, width = len(self.groups), len(self.low)
        rows = [self.terms[m] / self._sizes[m] for m in bounds]
        upper = [(bound - self.constants[m]) / self._sizes[m] + slack for m, bound in bounds.items()]
        for rejected in avoid:
            inside = self.chosen(rejected)
            rows.append(np.concatenate([inside, np.zeros(width - n)]))
            upper.append(float(inside.sum()) - 1)
        low, high = self.low.copy(), self.high.copy()
        if chosen is not None:
            low[:n] = high[:n] = chosen
        order = np.concatenate([np.arange(1.0, n + 1), np.zeros(width - n)]) / max(n * n, 1)
        return Program(
            self.terms[first] / self._sizes[first]
            + _TIE * self.terms[second] / self._sizes[second]
            + _TIE * _TIE * order,
            scipy.sparse.csr_array(
                scipy.sparse.vstack([scipy.sparse.csr_array(np.reshape(rows, (len(rows), width))), self.structure])
            ),
            np.concatenate([upper, np.zeros(self.structure.shape[0])]),
            low,
            high,
            ((np.arange(width) < n) | (np.arange(width) >= width - self._steps)).astype(np.int64),
        )
