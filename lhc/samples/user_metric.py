"""Scores by a user's own function, named ``module:function``."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError, LhcError, UsageError
from lhc.support.load_by_name import load_function
from lhc.support.source_digest import source_digest

Array = npt.NDArray[Any]
Scores = npt.NDArray[np.float64]
_WITHOUT_SOURCE: WeakKeyDictionary[Callable[[Array, Array], object], str] = WeakKeyDictionary()


class UserScore:
    """A user's function as a score. Other processes are given its name and import it for themselves."""

    def __init__(self, name: str, code: str | None = None) -> None:
        """Import it.

        Args:
            name: ``module:function``.
            code: what `source_digest` must say of it; None: whatever.

        Raises:
            UsageError: it cannot be imported, or has another code here than in the process that names it.
        """
        self.name = name
        self.__wrapped__ = load_function(name, "--metric")
        self.code = source_digest(self.__wrapped__, name.partition(":")[0])
        if code is not None and code != self.code:
            raise UsageError(f"--metric {name}: another version is loaded here; restart the workers of the cluster")

    def __reduce__(self) -> tuple[type["UserScore"], tuple[str, str | None]]:
        return UserScore, (self.name, self.code)

    def __call__(self, output: Array, reference: Array) -> Scores | float:
        """Scores of samples, or one number.

        Raises:
            DataError: the function fails, or gives something else.
        """
        return checked_score(f"--metric {self.name}", self.__wrapped__, output, reference)


def score_digest(score: Callable[[Array, Array], object]) -> str:
    """Digest of the code of a metric's score, of the user's or of lhc's own.

    A function without source, as one of a console, has a random one: its results are found in this process only.
    """
    found = score.code if isinstance(score, UserScore) else source_digest(score)
    if found is not None:
        return found
    unknown = f"without source {uuid4().hex}"
    try:
        return _WITHOUT_SOURCE.setdefault(score, unknown)
    except TypeError:  # an object that nothing can refer to weakly
        return unknown


def checked_score(
    name: str, score: Callable[[Array, Array], object], output: Array, reference: Array
) -> Scores | float:
    """Scores by a user's function of outputs and references: one a sample, or one number.

    Raises:
        DataError: the function fails, or gives something else; ``name`` says in messages which it is.
    """
    try:
        value = np.asarray(score(output, reference), np.float64)
    except LhcError:
        raise
    except Exception as error:  # a user's function can raise anything
        raise DataError(
            f"{name} fails on outputs of shape {output.shape} against {reference.shape}: {type(error).__name__}:"
            f" {error}"
        ) from error
    if value.shape not in ((), (len(output),)):
        raise DataError(f"{name} gives shape {value.shape}; it must give ({len(output)},) or one number")
    return value if value.ndim else float(value)
