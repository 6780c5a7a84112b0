"""The engines by name, which of them a machine takes, and a matrix laid out for one.

``fast`` knows the ordinary tile alone. ``auto`` takes it where a machine has nothing else, and ``aihwkit`` elsewhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lhc.errors import UsageError
from lhc.hardware import Hardware
from lhc.options.declaration.value_parsing import AskedEngine
from lhc.options.declaration.value_parsing import Engine as EngineName
from lhc.programmed_matrix import ProgrammedMatrix
from lhc.runtime.engines.aihwkit.engine import AihwkitEngine
from lhc.runtime.engines.compiled.engine import CompiledEngine
from lhc.runtime.engines.protocol import ChipsMatrix, Engine

if TYPE_CHECKING:
    from lhc.runtime.engines.aihwkit.matrix import AihwkitMatrix

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (CompiledEngine(), AihwkitEngine())}


@dataclass(frozen=True)
class EngineChoice:
    """The engine that computes, and why that one.

    Attributes:
        name: of the engine.
        why: a clause; None where it is the default one.
    """

    name: EngineName
    why: str | None = None


def choose_engine(asked: AskedEngine, hardware: Hardware, layers: Iterable[str] = ()) -> EngineChoice:
    """The engine for a machine.

    Args:
        asked: by the user.
        hardware: the machine; layers may have hardware of their own.
        layers: names of those that may be analog.

    Raises:
        UsageError: the engine that is asked for cannot stand for the machine.
    """
    if asked == "aihwkit":
        return EngineChoice("aihwkit", "as asked for")
    machines = [hardware, *(hardware.for_layer(name) for name in layers)]
    lacking = next((what for machine in machines if (what := ENGINES["fast"].unsupported(machine)) is not None), None)
    if lacking is None:
        return EngineChoice("fast")
    if asked == "fast":
        raise UsageError(_refusal(hardware, lacking))
    return EngineChoice("aihwkit", f"since the machine {lacking}, which the engine fast leaves out")


def matrix_on_chips(
    engine: AskedEngine,
    chips: Sequence[ProgrammedMatrix],
    draws: Sequence[int],
    seed: int,
    hardware: Hardware,
    convolves: bool,
) -> ChipsMatrix:
    """Lay out a matrix for an engine; ``auto``: for that which the layer's hardware takes.

    Args:
        chips: the matrix on every chip; split alike.
        draws: numbers of their programmings, for their noise.
        hardware: of the layer.
        convolves: whether it multiplies images, or rows.

    Raises:
        UsageError: the engine cannot stand for the hardware.
    """
    name = choose_engine(engine, hardware).name
    return ENGINES[name].matrix(chips, draws, seed, hardware, convolves)


def defining_matrix(
    chip: ProgrammedMatrix, draw: int, seed: int, hardware: Hardware, convolves: bool
) -> "AihwkitMatrix":
    """A matrix on one chip by the engine that is the definition, on the processor; see `matrix_on_chips`."""
    from lhc.runtime.engines.aihwkit.matrix import AihwkitMatrix
    from lhc.runtime.torch_settings import CPU

    return AihwkitMatrix([chip], [draw], seed, hardware, convolves, CPU)


def _refusal(hardware: Hardware, lacking: str) -> str:
    return f"hardware {hardware.name!r} {lacking}: the engine fast leaves that out; choose the engine auto or aihwkit"
