"""numba's compiler as kernels need it: the same results, in less time.

numba compiles every function of a kernel by itself, in a pipeline of passes. What takes time there and is of no use to
kernels is left out: passes over what kernels have none of, what is done between passes, the end of every variable's
life, types of calls that are known already, and unrolled loops.
"""

from typing import Any, ClassVar

import llvmlite.binding as llvm
from numba.core import lowering, typed_passes, types, untyped_passes
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import PassManager, _pass_registry, register_pass
from numba.core.typing.context import Context

from lhc.runtime.lanes import WIDE

__all__ = ["InnerCompiler", "KernelCompiler"]


class _Codegen(JITCPUCodegen):
    """Unrolls no loops where there are 32 registers, which blocks of products fill.

    Kernels are as fast then, and LLVM has half of the instructions to optimise and to write. With 16 registers some
    layers would take 3 % longer.
    """

    def __init__(self, known: Any) -> None:
        self.__dict__ = known.__dict__

    def _pass_builder(self, **choices: Any) -> Any:
        options = super()._pass_builder(**choices)._pto  # type: ignore[no-untyped-call]
        options.loop_unrolling = not WIDE
        return llvm.create_pass_builder(self._tm, options)


class _Linked(JITCodeLibrary):
    """Code that is linked into what calls it, which optimises it; numba would do that here too, and load the result."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()  # type: ignore[no-untyped-call]
        self._finalized = True

    @property
    def codegen(self) -> "_Linked":
        """What is asked for `set_env` alone."""
        return self

    def set_env(self, name: str, env: object) -> None:
        """Of Python's objects inner kernels have none; taken from the cache they have no place for them either."""


class _Types(Context):
    """Finds the types of every call once: for each ``+`` numba would try what it knows of arrays, dates and text."""

    _found: ClassVar[dict[tuple[Any, tuple[Any, ...]], Any]] = {}

    def __init__(self, known: Any) -> None:
        self.__dict__ = known.__dict__

    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        """As numba's; kernels that are called may not have been compiled yet, so they are not among them."""
        key = func, tuple(args)
        if kws or not isinstance(func, types.Function):
            return super().resolve_function_type(func, args, kws)  # type: ignore[no-untyped-call]
        if key not in self._found:
            self._found[key] = super().resolve_function_type(func, args, kws)  # type: ignore[no-untyped-call]
        return self._found[key]


class _Lower(lowering.Lower):
    """Writes LLVM's instructions, and counts no references."""

    def storevar(self, value: Any, name: str, argidx: int | None = None) -> None:
        """Store a variable; numba's reads the old value, to count it."""
        self._alloca_var(name, self.typeof(name))  # type: ignore[no-untyped-call]
        if name in self._singly_assigned_vars:
            self._blk_local_varmap[name] = value
        else:
            self.builder.store(value, self.getvar(name))  # type: ignore[no-untyped-call]


@register_pass(mutates_CFG=True, analysis_only=False)  # type: ignore[no-untyped-call]
class _LowerPass(typed_passes.BaseNativeLowering):
    """Takes `_Lower`."""

    _name = "kernel_lowering"  # type: ignore[assignment]

    @property
    def lowering_class(self) -> type[_Lower]:
        return _Lower


_LEFT_OUT = (
    typed_passes.InlineOverloads,
    typed_passes.IRLegalization,
    typed_passes.NopythonRewrites,
    untyped_passes.FindLiterallyCalls,
    untyped_passes.InlineClosureLikes,
    untyped_passes.InlineInlinables,
    untyped_passes.LiteralUnroll,
    untyped_passes.MakeFunctionToJitFunction,
    untyped_passes.WithLifting,
)
"""Passes over what kernels have none of: functions within functions, ``with``, whole arrays in formulas, and what
numba is asked to inline or unroll before types are known; and the one that writes where variables end."""


class _Passes(PassManager):
    """Runs passes one after the other; numba notes, times and checks each, which takes longer than many of them."""

    def run(self, state: Any) -> None:
        for kind, _ in self.passes:
            one = _pass_registry.get(kind).pass_inst  # type: ignore[no-untyped-call]
            one.analysis = self._analysis
            one.run_pass(state)


class KernelCompiler(Compiler):
    """Compiles what Python calls."""

    def __init__(self, typingctx: Any, *others: Any) -> None:
        super().__init__(_Types(typingctx), *others)  # type: ignore[no-untyped-call]

    def define_pipelines(self) -> Any:
        """What numba asks for."""
        self.state.library = self._library()
        (pipeline,) = super().define_pipelines()  # type: ignore[no-untyped-call]
        passes: Any = _Passes(pipeline.pipeline_name)  # type: ignore[no-untyped-call]
        kept = [one for one in pipeline.passes if one[0] not in _LEFT_OUT]
        passes.passes = [(_LowerPass if kind is typed_passes.NativeLowering else kind, name) for kind, name in kept]
        passes.finalize()
        return [passes]

    def _library(self) -> Any:
        library = self._new(JITCodeLibrary)
        library.enable_object_caching()
        return library

    def _new(self, kind: Any) -> Any:
        state: Any = self.state
        return kind(_Codegen(state.targetctx.codegen()), state.func_id.func_qualname)


class InnerCompiler(KernelCompiler):
    """Compiles what other kernels call."""

    def _library(self) -> Any:
        return self._new(_Linked)
