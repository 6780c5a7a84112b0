"""Binary programs, solved to optimality by scipy's HiGHS; its printing is suppressed."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy

Floats = npt.NDArray[np.float64]

SCALE = 1e6
"""Greatest objective: HiGHS stops when a better one could gain less than 1e-6."""

_CORE = 20
"""Integers that are solved for exactly where the others are left as the relaxed program has them."""


@dataclass(frozen=True, eq=False)
class Program:
    """Minimise ``costs · v`` with ``matrix v <= upper`` and ``low <= v <= high``.

    Attributes:
        costs: ``(variables,)``.
        matrix: ``(rows, variables)``.
        upper: ``(rows,)``.
        low: ``(variables,)``.
        high: ``(variables,)``.
        integral: 1 for variables that must be integers, ``(variables,)``.
    """

    costs: Floats
    matrix: "scipy.sparse.csr_array"
    upper: Floats
    low: Floats
    high: Floats
    integral: npt.NDArray[np.int64]


def solve(program: Program) -> Floats | None:
    """The best variables, or None if none are allowed."""
    if not program.costs.size:
        return np.zeros(0) if (program.upper >= 0).all() else None
    size = float(np.abs(program.costs).sum()) or 1.0
    with _silent():
        found = scipy.optimize.milp(
            program.costs * (SCALE / size),
            constraints=scipy.optimize.LinearConstraint(program.matrix, -np.inf, program.upper),
            bounds=scipy.optimize.Bounds(program.low, program.high),
            integrality=program.integral,
            options={"mip_rel_gap": 0.0},
        )
    return None if found.x is None else np.asarray(found.x, np.float64)


def solve_core(program: Program) -> Floats | None:
    """Nearly the best variables, in a fraction of the time; None where none were found.

    Integers are first let be fractions. Only the ones that this leaves split, and those that it would cost least to
    move, are then solved for exactly (the core of a knapsack problem, after Balas and Zemel, Operations Research 28,
    1980). Where that is not allowed there may be other variables that are.
    """
    integral = np.flatnonzero(program.integral)
    if len(integral) <= _CORE:
        return solve(program)
    with _silent():
        loose = scipy.optimize.linprog(  # type: ignore[call-overload]  # its stubs know no sparse matrices
            program.costs / (float(np.abs(program.costs).max()) or 1.0),
            program.matrix,
            program.upper,
            bounds=np.stack([program.low, program.high], axis=1),
            method="highs",
        )
    if loose.x is None:
        return None
    moving = np.abs(loose.lower.marginals + loose.upper.marginals)[integral]
    kept = integral[np.argsort(moving, kind="stable")[_CORE:]]
    low, high = program.low.copy(), program.high.copy()
    low[kept] = high[kept] = np.rint(loose.x[kept])
    return solve(replace(program, low=low, high=high))


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what C code prints out of this process's standard output, which belongs to results.

    HiGHS 1.12 in scipy 1.17 prints a line for every solution that it repairs, whatever its options.
    """
    if sys.platform == "win32":
        yield
        return
    try:
        saved = os.dup(1)
    except OSError:  # standard output is closed
        yield
        return
    libc = ctypes.CDLL(None)
    libc.fflush(None)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
        libc.fflush(None)
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(nowhere)
