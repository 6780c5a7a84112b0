"""Compilation by numba; machine code is kept in ``compiled`` in lhc's cache folder, never beside installed modules.

numba's own choice is ``__pycache__`` beside the module. pip does not know those files: it leaves them and their folder
behind, and what is left hides the lhc that is installed next.

The folder below ``compiled`` names what the code depends on: versions of lhc and numba, and the processor. numba's
index in it holds the processor's features as well. Code is taken from there only where all modules of this package are
what they were when it was compiled: numba compiles the functions that a kernel calls into it, and does not look whether
they have changed since. A cache that cannot be read or written costs seconds at every start, and nothing else.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba import njit
from numba.core import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.registry import cpu_target

from lhc.runtime.environment_fingerprint import code_digest
from lhc.support.files import default_work_dir
from lhc.support.version import VERSION

P = ParamSpec("P")
R = TypeVar("R")


def compiled(*, inner: bool = False, within: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a function when it is first called, or take its code from the user's cache.

    It runs without Python's lock, divides by zero as numpy does, and allocates no array. An ``inner`` one is called by
    others alone, and optimised, made into machine code and kept with them. One ``within`` is put into what calls it: a
    call of a small function with some tuples takes longer than its work. A number that is written out in a call
    is a type of its own, for which the function is compiled once more; ``np.int64(0)`` is not. With
    ``NUMBA_BOUNDSCHECK`` set its code is neither kept nor looked for: numba does not tell code that checks its indices
    from code that does not.
    """

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        options: dict[str, Any] = {"no_cpython_wrapper": inner, "no_cfunc_wrapper": True, "forceinline": within}
        kernel: Any = njit(nogil=True, error_model="numpy", **options)(function)
        if not inner and config.BOUNDSCHECK is None:  # type: ignore[attr-defined]
            kernel._cache = _KeptCode(function)  # type: ignore[no-untyped-call]
        return cast("Callable[P, R]", kernel)

    return decorated


def compiled_folder() -> Path:
    """Folder of compiled code for these versions and this processor; it may not exist yet."""
    _, processor, _ = cpu_target.target_context.codegen().magic_tuple()
    return default_work_dir() / "compiled" / f"lhc-{VERSION}-numba-{numba.__version__}-{processor}"


@cache
def _sources() -> str:
    engines = Path(__file__).parents[2]
    return code_digest(sorted({path.parent for path in (engines / "compiled").rglob("*.py")} | {engines}))


class _Locator(_CacheLocator):
    """Tells numba the folder, and what makes code stale."""

    def __init__(self, function: Callable[..., object], file: str) -> None:
        self._py_file = file  # numba names it in warnings
        self._line = function.__code__.co_firstlineno

    @classmethod
    def from_function(cls, py_func: Callable[..., object], py_file: str) -> "_Locator":
        return cls(py_func, py_file)

    def get_cache_path(self) -> str:
        return str(compiled_folder())

    def get_source_stamp(self) -> str:
        return _sources()

    def get_disambiguator(self) -> str:
        return str(self._line)


class _InFolder(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012


class _KeptCode(FunctionCache):
    """numba's cache of one function; one that is damaged or out of reach is as good as none."""

    _impl_class = _InFolder

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with suppress(Exception):  # a damaged file ends in whatever unpickling or LLVM raises
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(Exception):  # read-only, full, or a damaged index
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
