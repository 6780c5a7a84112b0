"""Sensitivities in words: predicted or measured, what checked them, and with how many copies of weights."""

from collections.abc import Iterable, Sequence

from lhc.plan.layer_plan import Agreement, LayerPlan, Sensitivity
from lhc.plan.recurrent_steps import folded_rows
from lhc.plan.schema import Plan
from lhc.support.number_formatting import counted

__all__ = ["basis_words", "found_with_one_copy", "ranking_basis", "sensitivities_of", "sensitivity_columns"]


def sensitivity_columns(layers: Iterable[LayerPlan]) -> dict[str, dict[str, str]]:
    """Columns of a table, by their titles: layer -> its sensitivity, and that with its copies where it has several.

    What all of a column share is in its title; nothing where no layer has a sensitivity.
    """
    rows = list(layers)
    alone = {row.name: row.sensitivity for row in rows if row.sensitivity is not None}
    copied = {row.name: row.with_copies for row in rows if row.with_copies is not None}
    shared = {found.copies_text for found in alone.values()}
    told = shared.pop() if len(shared) == 1 else ""
    columns = {f"sensitivity {told}".strip(): {name: _cell(found, told) for name, found in alone.items()}}
    if copied:
        columns["with its copies"] = {name: str(found) for name, found in copied.items()}
    return columns if alone else {}


def _cell(found: Sensitivity, told: str) -> str:
    return str(found).replace(f" {told},", ",") if told else str(found)


def sensitivities_of(plan: Plan) -> list[Sensitivity]:
    """Sensitivities of a plan, one for each row of its tables."""
    return [row.sensitivity for row in folded_rows(plan.layers) if row.sensitivity is not None]


def basis_words(figures: Iterable[Sensitivity]) -> str:
    """Whether figures are predicted, measured, or some of either; empty where there are none."""
    return " or ".join(sorted({figure.basis for figure in figures}, reverse=True))


def ranking_basis(figures: Sequence[Sensitivity], agreement: Agreement | None) -> str:
    """Method by which sensitivities were found, and what checked predicted ones; empty where there are none."""
    if not figures:
        return ""
    predicted = sum(figure.basis == "predicted" for figure in figures)
    checked = "" if agreement is None else counted(len(agreement.layers), "layer")
    if not predicted:
        why = "" if agreement is None else f", since predictions of {checked} did not agree with that: "
        return f"measured, one layer analog at a time{why}{'' if agreement is None else agreement.figures}"
    some = f" for {predicted} of {len(figures)} layers, measured for the others" if predicted < len(figures) else ""
    if agreement is None:
        return f"predicted from gradients{some}; no layer was measured to check that"
    doubted = "" if agreement.good else ", which does not confirm it"
    return f"predicted from gradients{some}; {checked} measured to check that: {agreement.figures}{doubted}"


def found_with_one_copy(layers: Sequence[LayerPlan]) -> tuple[str, ...]:
    """Layers that cost more on tiles than they save and so have one copy of their weights, where others have more."""
    copies = {row.name: row.damage.copies for row in layers if row.damage is not None}
    copied = any(number > 1 for number in copies.values())
    return tuple(row.name for row in layers if copied and row.reason == "cost" and copies.get(row.name) == 1)
