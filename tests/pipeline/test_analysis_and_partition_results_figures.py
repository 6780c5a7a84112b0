"""Figures of a placement that a row of a sweep holds."""

from dataclasses import replace
from typing import Any

import pytest

import lhc
from lhc.pipeline.analysis_and_partition_results import run_figures
from lhc.plan import Retrained
from lhc.plan.schema import CurvePoint


@pytest.mark.analog
def test_a_row_has_the_course_of_the_training_whose_weights_were_kept(few: dict[str, Any]) -> None:
    given = lhc.partition("digits-narrow", **few)
    outcome = given.plan.outcome
    assert outcome is not None
    curve = (CurvePoint(step=0, loss=None, drop=0.045), CurvePoint(step=500, loss=0.2, drop=0.006))
    record = Retrained(
        source="", layers=(), steps=500, batch_size=1, loss="mse", seed=0, samples=1, data="", curve=curve
    )
    kept = given.plan.model_copy(update={"outcome": outcome.model_copy(update={"retrained": record})})

    assert run_figures(given).course == ()
    assert run_figures(replace(given, plan=kept)).course == ((0, 0.045), (500, 0.006))
