"""Sensitivities in words: with how many copies of weights one was found, where no column of copies says so."""

from collections.abc import Iterable, Sequence

from lhc.plan.layer_plan import LayerPlan
from lhc.support.numbers import counted

__all__ = ["found_with_one_copy", "sensitivity_texts"]


def sensitivity_texts(layers: Sequence[LayerPlan]) -> dict[str, str]:
    """The sensitivity of every layer that has one, and its copies where these are others than one would think.

    That is where the layer is placed with others, and where others have more since they pay.
    """
    one = set(found_with_one_copy(layers))
    texts: dict[str, str] = {}
    for row in layers:
        if (found := row.sensitivity) is not None:
            unlike = row.name in one or (row.placement == "analog" and found.copies != row.copies)
            texts[row.name] = f"{found} with {counted(found.copies, 'copy', 'copies')}" if unlike else str(found)
    return texts


def found_with_one_copy(layers: Iterable[LayerPlan]) -> tuple[str, ...]:
    """Layers that cost more on tiles than they save and so have one copy of their weights, where others have more."""
    ranked = [row for row in layers if row.sensitivity is not None]
    copies = {row.name: row.sensitivity.copies for row in ranked if row.sensitivity is not None}
    copied = any(number > 1 for number in copies.values())
    return tuple(row.name for row in ranked if copied and row.reason == "cost" and copies[row.name] == 1)
