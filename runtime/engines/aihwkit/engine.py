"""The engine that computes as aihwkit does, on the device that PyTorch has."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lhc.hardware import Hardware
from lhc.programmed_matrix import ProgrammedMatrix

if TYPE_CHECKING:
    from lhc.runtime.engines.aihwkit.matrix import AihwkitMatrix


class AihwkitEngine:
    """aihwkit's arithmetic in PyTorch, with every effect of a machine."""

    name = "aihwkit"

    def unsupported(self, hardware: Hardware) -> None:
        """See `lhc.runtime.engines.protocol.Engine`: it has them all."""

    def matrix(
        self,
        chips: Sequence[ProgrammedMatrix],
        draws: Sequence[int],
        seed: int,
        hardware: Hardware,
        convolves: bool,
    ) -> "AihwkitMatrix":
        """See `lhc.runtime.engines.protocol.Engine`."""
        from lhc.runtime.engines.aihwkit.matrix import AihwkitMatrix
        from lhc.runtime.torch_settings import torch_device

        return AihwkitMatrix(chips, draws, seed, hardware, convolves, torch_device())
