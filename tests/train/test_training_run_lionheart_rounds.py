"""A walk with retraining on real networks: what a rejected candidate leaves behind."""

import numpy as np
import pytest

from lhc.measure import Running
from lhc.options.by_command import RunOptions
from lhc.options.training import TrainingOptions
from lhc.pipeline.steps.prepare import read_placed
from lhc.pipeline.steps.range_calibration import calibrated
from lhc.pipeline.training.retraining import training_setup_of
from lhc.samples.task import Task
from lhc.train.training_run import Rounds

pytestmark = pytest.mark.analog


def test_a_rejected_candidate_of_a_walk_leaves_the_input_ranges_of_accepted_layers(digits: Task) -> None:
    study, _, _ = read_placed(
        RunOptions("digits-narrow", digits.head(100), hardware="static-range", draws=2), Running(), None
    )
    study = calibrated(study, study.plan.eligible[:2])
    setup = training_setup_of(study, digits, TrainingOptions(steps=2, batch_size=16))
    accepted, candidate = frozenset(study.plan.eligible[:1]), frozenset(study.plan.eligible[:2])
    walk = Rounds(setup)
    walk.begin(accepted)
    walk.train()
    walk.save("accepted")
    kept = walk.weights
    walk.begin(candidate)
    walk.train()
    assert any(not np.array_equal(walk.weights[name], value) for name, value in kept.items())
    walk.load("accepted")
    assert walk.weights.keys() == kept.keys()
    for name, value in kept.items():
        np.testing.assert_array_equal(walk.weights[name], value)
    walk.begin(candidate)
    second = set(walk.weights) - set(kept)
    assert len(second) == 1
    np.testing.assert_allclose(walk.weights[second.pop()], max(study.plan.ranges[max(candidate - accepted)]), rtol=1e-6)
