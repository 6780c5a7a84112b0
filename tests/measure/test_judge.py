"""The rule of acceptance, on evaluations made by hand."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from lhc.measure import Budget
from lhc.measure.judge import Drop, parse_drop
from lhc.results import Evaluation
from lhc.stats import summarize


def _evaluation(drops: list[float]) -> Evaluation:
    drop = summarize(drops)
    values = [0.9 - d for d in drops]
    value = summarize(values)
    return Evaluation(
        metric="accuracy",
        percent=True,
        baseline=0.9,
        values=tuple(values),
        mean=value.mean,
        std=value.std,
        interval=value.interval,
        drop=drop.mean,
        drop_interval=drop.interval,
        sample_interval=None,
        drops=tuple(drops),
        samples=100,
        seed=0,
        t_s=0.0,
        confidence=0.9,
    )


@dataclass(frozen=True)
class Case:
    id: str
    drops: list[float]
    status: Literal["accepted", "rejected", "undecided"]


CASES = [
    Case("clearly below", [0.001, 0.002, 0.003], "accepted"),
    Case("clearly above", [0.05, 0.06, 0.055], "rejected"),
    Case("lucky mean", [0.0, 0.018, 0.009], "undecided"),
    Case("on the budget without spread", [0.01, 0.01, 0.01], "accepted"),
    Case("better than digital", [-0.01, -0.02], "undecided"),
    Case("one chip says nothing", [0.0], "undecided"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_bound_decides(case: Case) -> None:
    assert Budget(0.01).status(_evaluation(case.drops)) == case.status


@pytest.mark.parametrize(
    ("drop", "expected"),
    [(0.01, 0.01), (0, 0.0), ("0.01", 0.01), ("1%", 0.01), (" 2.5 % ", 0.025), ("100%", 1.0), (3.5, 3.5)],
)
def test_a_budget_is_a_number_or_a_percentage(drop: Drop, expected: float) -> None:
    assert parse_drop(drop)[0] == pytest.approx(expected, abs=0)


def test_a_budget_in_the_unit_of_its_metric_is_taken() -> None:
    Budget(0.99).check_unit("accuracy", percent=True)
    Budget(1.0, percentage=True).check_unit("accuracy", percent=True)
    Budget(3.5).check_unit("perplexity", percent=False)
    Budget(1.5, "relative", percentage=True).check_unit("mse", percent=False)


def test_wrong_acceptance_at_the_budget_is_rare() -> None:
    """True drop on the budget, normal spread over chips: at most 5 % accepted; 2,000 runs give 6.0 % at 98 %."""
    rng = np.random.default_rng(0)
    runs = rng.normal(0.01, 0.004, size=(2000, 10))
    accepted = sum(Budget(0.01).status(_evaluation(list(run))) == "accepted" for run in runs)
    assert accepted / 2000 <= 0.06
