"""Sensitivities in words: predicted or measured, what checked them, and with how many copies of weights."""

from collections.abc import Iterable, Sequence

from lhc.plan.layer_plan import Agreement, LayerPlan, Sensitivity
from lhc.plan.recurrent_steps import folded_rows
from lhc.plan.schema import Plan
from lhc.support.number_formatting import counted

SENSITIVITY = "sensitivity"
WITH_COPIES = "with its copies"
"""Titles of the columns: with one copy of a layer's weights, and with those that tiles hold."""


def sensitivity_columns(layers: Iterable[LayerPlan]) -> dict[str, dict[str, str]]:
    """Columns of a table, by their titles: layer -> its sensitivity, and that with its copies where it has several.

    The metric is in the title where all share it. A cell says what is not so everywhere: copies, predicted or measured.
    """
    rows = list(layers)
    alone = {row.name: row.sensitivity for row in rows if row.sensitivity is not None}
    copied = {row.name: row.with_copies for row in rows if row.with_copies is not None}
    all_of_them = [*alone.values(), *copied.values()]
    one_metric = len({found.metric for found in all_of_them}) == 1
    one_basis = len({found.basis for found in all_of_them}) == 1

    def cell(found: Sensitivity) -> str:
        told = found.estimate if one_metric else f"{found.estimate} {found.metric}"
        told += "" if found.copies == 1 else f" {found.copies_text}"
        return told if one_basis else f"{told}, {found.basis}"

    unit = f" ({all_of_them[0].metric})" if one_metric else ""
    columns = {f"{SENSITIVITY}{unit}": {name: cell(found) for name, found in alone.items()}}
    if copied:
        columns[WITH_COPIES] = {name: cell(found) for name, found in copied.items()}
    return columns if alone else {}


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
        return f"measured, each layer alone on tiles{why}{'' if agreement is None else agreement.figures}"
    some = f" for {predicted} of {len(figures)} layers, measured for the others" if predicted < len(figures) else ""
    if agreement is None:
        return f"predicted from gradients{some}; no layer was measured to check that"
    doubted = "" if agreement.good else ", which does not confirm it"
    return f"predicted from gradients{some}; {checked} measured as a check: {agreement.figures}{doubted}"


def found_with_one_copy(layers: Sequence[LayerPlan]) -> tuple[str, ...]:
    """Layers that cost more on tiles than they save and so have one copy of their weights, where others have more."""
    copies = {row.name: row.damage.copies for row in layers if row.damage is not None}
    copied = any(number > 1 for number in copies.values())
    return tuple(row.name for row in layers if copied and row.reason == "cost" and copies.get(row.name) == 1)
