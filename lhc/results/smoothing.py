"""What scaling of channels was chosen for a network's tiles, and what it brings."""

from dataclasses import dataclass

__all__ = ["SmoothedInput"]


@dataclass(frozen=True)
class SmoothedInput:
    """The input of one or more products.

    Attributes:
        tensor: its name.
        products: that read it.
        exponent: how much of the spread of its channels went into the weights; None: nothing was scaled.
        before: squared error of the products on tiles as a share of their square, mean over vectors and products.
        after: the same with scaled channels; on other vectors than those that chose the exponent, as ``before``.
    """

    tensor: str
    products: tuple[str, ...]
    exponent: float | None
    before: float
    after: float
