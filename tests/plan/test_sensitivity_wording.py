"""Whether sensitivities are predicted or measured, and what checked them."""

import pytest

from lhc.plan import Agreement, Sensitivity
from lhc.plan.layer_plan import Method
from lhc.plan.sensitivity_wording import basis_words, ranking_basis

CHECK = "rank correlation 1.00, predicted over measured 0.95 (geometric mean)"


def figures(*methods: Method) -> list[Sensitivity]:
    return [Sensitivity(metric="kl", mean=1, std=0, interval=None, method=method) for method in methods]


def checked(good: bool) -> Agreement:
    return Agreement(layers={"a": (1, 1), "b": (2, 2)}, correlation=1.0, ratio=0.95, good=good)


@pytest.mark.parametrize(
    ("found", "agreement", "said"),
    [
        pytest.param(figures(), None, "", id="none"),
        pytest.param(figures("measure", "measure"), None, "measured, each layer alone on tiles", id="measured"),
        pytest.param(
            figures("measure", "measure"),
            checked(False),
            "measured, each layer alone on tiles, since predictions of 2 layers did not agree with that: " + CHECK,
            id="measured since predictions did not agree",
        ),
        pytest.param(
            figures("fisher", "fisher"),
            None,
            "predicted from gradients; no layer was measured to check that",
            id="unchecked",
        ),
        pytest.param(
            figures("fisher", "fisher"),
            checked(True),
            "predicted from gradients; 2 layers measured as a check: " + CHECK,
            id="checked",
        ),
        pytest.param(
            figures("fisher", "fisher"),
            checked(False),
            f"predicted from gradients; 2 layers measured as a check: {CHECK}, which does not confirm it",
            id="not confirmed in time",
        ),
        pytest.param(
            figures("fisher", "measure", "fisher"),
            checked(True),
            "predicted from gradients for 2 of 3 layers, measured for the others; 2 layers measured as a check: "
            + CHECK,
            id="some measured",
        ),
    ],
)
def test_it_is_said_how_sensitivities_were_found_and_what_checked_them(
    found: list[Sensitivity], agreement: Agreement | None, said: str
) -> None:
    assert ranking_basis(found, agreement) == said


def test_figures_are_predicted_or_measured_in_a_word() -> None:
    assert basis_words(figures("fisher", "fisher")) == "predicted"
    assert basis_words(figures("measure", "fisher")) == "predicted or measured"
    assert basis_words([]) == ""
