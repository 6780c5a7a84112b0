"""Section of a hardware description: what the currents of a product do to it, before the ADC.

With w the weights of a column of a tile and x the inputs of a vector, both in units of their full scale, n the rows
that are used, and row 0 the farthest from the ADC, an output of a tile is

    y = Σ w_j x_j - ir_drop · c(a) · Σ w_j x_j (1 - (1 - j / n)²) + read_noise · √(Σ |w_j| x_j²) · N(0, 1)
    a = n / ir_drop_g_ratio · Σ |w_j| |x_j|,    c(a) = a (0.5 + a (0.05 a - 0.2))

(read noise of kind ``constant``: read_noise · √(Σ x_j²) · N(0, 1)), as aihwkit's compiled tile has them
(``forward.w_noise`` with type PCM_READ or ADDITIVE_CONSTANT, ``forward.ir_drop``), from Rasch et al., Nat. Commun. 14,
5282 (2023).
"""

from typing import Literal

from pydantic import Field

from lhc.hardware.description.tiles_and_converters import Section


class Currents(Section):
    """Read noise of a product, and IR drop along the wires."""

    read_noise: float = Field(default=0.0, ge=0)
    """Standard deviation of the noise that a device at full conductance adds to a full-scale input, anew in every
    product, in units of one full-scale input x one full-scale weight. Beside the read noise of ``devices``, which is
    drawn once a read-out."""
    read_noise_kind: Literal["current", "constant"] = "current"
    """``current``: noise grows with inputs and with the root of conductances. ``constant``: with inputs alone, the same
    for every weight, 0 too."""
    ir_drop: float = Field(default=0.0, ge=0)
    """Factor on the loss along a column's wire; 0: none, 1: that of ``ir_drop_g_ratio``."""
    ir_drop_g_ratio: float = Field(default=1 / 0.35 / 5e-6, gt=0)
    """Conductance of the wire from cell to cell over the greatest of a device: by default that of 0.35 Ohm and 5 µS."""

    @property
    def any(self) -> bool:
        """Whether there is either."""
        return self.read_noise > 0 or self.ir_drop > 0

    @property
    def constant(self) -> bool:
        """Whether there is read noise that does not depend on weights."""
        return self.read_noise > 0 and self.read_noise_kind == "constant"

    @property
    def by_weight(self) -> bool:
        """Whether what they do depends on the weight of every single row."""
        return self.ir_drop > 0 or (self.any and not self.constant)
