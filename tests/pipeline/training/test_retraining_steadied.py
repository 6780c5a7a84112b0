"""What a search with retrained weights is judged by."""

import numpy as np
import pytest

import lhc
from lhc.measure import PlacementEvaluator, Running, steadied
from lhc.models import zoo_entry
from lhc.options.training import TrainingOptions
from lhc.pipeline.steps.prepare import read_placed
from lhc.pipeline.training.retraining import retrained, training_setup_of
from lhc.samples.metrics import get_metric

pytestmark = pytest.mark.analog


@pytest.mark.parametrize("metric", ["accuracy", "kl"], ids=["higher is better", "lower is better"])
def test_searches_take_the_drop_of_the_trained_network_itself_from_more_samples(metric: str) -> None:
    """Placements differ by as much as before; what the digital network loses by training is the mean of all samples."""
    digits = zoo_entry("digits-narrow").task()
    task = digits.head(300).with_metric(get_metric(metric))
    options = lhc.RunOptions("digits-narrow", task, draws=2, all_analog=True, digital_precision="as-file")
    state, analog, _ = read_placed(options, Running(options), None)
    setup = training_setup_of(state, digits, TrainingOptions(steps=1))
    rng = np.random.default_rng(0)
    worse = {name: value * rng.normal(1, 0.5, value.shape) for name, value in setup.trained.values.items()}
    trained = retrained(state, setup, {name: value.astype(np.float32) for name, value in worse.items()})
    few, more, both = (trained.evaluator(task.take(np.arange(*part))) for part in ((0, 100), (100, 300), (0, 300)))

    def drop(evaluator: PlacementEvaluator, placement: frozenset[str]) -> float:
        return float(evaluator.measure(placement, range(2)).drops.mean())

    steady, nothing = steadied(few, more), frozenset[str]()
    assert abs(drop(few, nothing) - drop(both, nothing)) > 1e-3, "else there is nothing to see"
    assert drop(steady, nothing) == pytest.approx(drop(both, nothing))
    assert drop(steady, analog) - drop(few, analog) == pytest.approx(drop(both, nothing) - drop(few, nothing))
    given = state.evaluator(task)
    assert steadied(given, more) is given, "no training, nothing to correct"
