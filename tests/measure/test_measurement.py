"""Intervals of measurements whose samples come in documents."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lhc.errors import DataError
from lhc.measure import SampleScores, SetScores
from lhc.measure import measurement as module
from lhc.measure.measurement import evaluation, worst_where_nan
from lhc.measure.multi_output_evaluator import MultiOutputMeasurement
from lhc.samples.metrics import Metric, get_metric
from lhc.stats import CONFIDENCE, over_draws, over_draws_and_samples

COUNT, WINDOWS = 30, 6
DOCUMENTS = np.repeat(np.arange(COUNT), WINDOWS)


def _damage(rng: np.random.Generator, draws: int = 4) -> np.ndarray:
    """Of windows that share most of it with their document."""
    own = rng.normal(0, 0.05, (draws, len(DOCUMENTS)))
    return np.asarray(0.3 + rng.normal(0, 0.2, COUNT)[DOCUMENTS] + own)


def test_other_samples_are_other_documents() -> None:
    damage = _damage(np.random.default_rng(1))
    metric, digital = get_metric("nll"), np.ones(len(DOCUMENTS))

    found = SampleScores(metric, digital + damage, digital, documents=DOCUMENTS)

    # Documents of one size: as if each were a sample.
    means = damage.reshape(len(damage), COUNT, WINDOWS).mean(axis=2)
    assert found.sample_interval(0.9) == pytest.approx(over_draws_and_samples(means))
    alone = SampleScores(metric, digital + damage, digital)
    np.testing.assert_array_equal(found.drops, alone.drops)
    assert found.joined(alone).documents is DOCUMENTS


@pytest.mark.parametrize(
    ("name", "digital", "least", "least_of_others"),
    [
        ("kl", 0.0, 0.0, 0.0),
        ("kl", 0.03, -0.03, -np.inf),
        ("agreement", 1.0, 0.0, 0.0),
        ("agreement", 0.75, -0.25, -np.inf),
        ("accuracy", 1.0, 0.0, -np.inf),
        ("mse", 0.25, -0.25, -np.inf),
        ("psnr", 20.0, -np.inf, -np.inf),
    ],
)
def test_no_interval_reaches_below_what_can_be(name: str, digital: float, least: float, least_of_others: float) -> None:
    metric = get_metric(name)
    assert metric.least_damage(digital) == least
    assert metric.least_damage(digital, others=True) == least_of_others
    damage = np.array([[0.0, 0.001], [0.02, 0.0]])
    sign = -1 if metric.higher_is_better else 1
    scores = np.full(2, digital)
    measured = SampleScores(metric, scores + sign * damage, scores)
    evaluator = SimpleNamespace(metric=metric, baseline=digital, samples=2, seed=0, t_s=0.0)
    found = evaluation(measured, evaluator, relative=False)
    whole = over_draws(measured.drops, step=measured.step)
    assert found.drop_interval is not None
    assert found.sample_interval is not None
    assert whole is not None
    assert whole[0] < 0, "what the test rests on"
    most = metric.most_damage(digital)
    assert found.drop_interval == (max(whole[0], least), min(whole[1], most))
    assert found.sample_interval[0] >= least_of_others


@pytest.mark.parametrize("name", ["agreement", "kl", "nmse", "cosine"])
def test_no_interval_reaches_below_zero_after_training(name: str) -> None:
    """Outputs of the network as it was given are the targets then: one answer of 330 is another one on every chip."""
    metric = replace(get_metric(name), needs_targets=True)
    digital = np.full(330, 1.0 if metric.best is None else metric.best)
    scores = np.tile(digital, (4, 1))
    scores[:, 7] += -1 if metric.higher_is_better else 1
    evaluator = SimpleNamespace(metric=metric, baseline=float(digital[0]), samples=330, seed=0, t_s=0.0)
    found = evaluation(SampleScores(metric, scores, digital), evaluator, relative=False)
    whole = over_draws_and_samples(metric.damage(digital, scores), share=metric.percent)
    assert whole is not None
    assert whole[0] < 0, "what the test rests on"
    assert found.sample_interval == (0.0, whole[1])


@pytest.mark.parametrize(
    ("name", "digital", "here", "anywhere"),
    [("accuracy", 0.9, 0.9, 1.0), ("spearman", 0.5, 1.5, 2.0), ("cosine", 1.0, 2.0, 2.0), ("mse", 0.1, None, None)],
)
def test_no_interval_reaches_beyond_what_the_metric_can_be(
    name: str, digital: float, here: float | None, anywhere: float | None
) -> None:
    """Two chips that differ by far: Student's interval is many times as wide as what can be lost."""
    metric = replace(get_metric(name), summary=None)
    baseline = np.full(40, digital)
    scores = np.stack([baseline, baseline - 0.4 if metric.higher_is_better else baseline + 0.4])
    for relative, scale in ((False, 1.0), (True, 1 / digital)):
        evaluator = SimpleNamespace(metric=metric, baseline=digital, samples=40, seed=0, t_s=0.0)
        found = evaluation(SampleScores(metric, scores, baseline), evaluator, relative, 0.95)
        assert found.drop_interval is not None
        assert found.sample_interval is not None
        whole = scale * (0.2 + 12.7062 * 0.2)
        assert found.drop_interval[1] == pytest.approx(whole if here is None else scale * here, rel=1e-4)
        assert found.sample_interval[1] >= found.drop_interval[1]
        assert anywhere is None or found.sample_interval[1] == pytest.approx(scale * anywhere)


def test_what_was_seen_in_no_document_may_be_in_three() -> None:
    """By the rule of three, which is exact here, of documents: their windows may all be alike."""
    same = np.ones((5, len(DOCUMENTS)))
    found = SampleScores(get_metric("agreement"), same, same[0], documents=DOCUMENTS)
    most = 1 - 0.05 ** (1 / COUNT)
    assert found.sample_interval(0.9) == pytest.approx((-most, most))


def _perplexities(damage: np.ndarray, documents: np.ndarray | None) -> SetScores:
    """Windows of 10 tokens whose loss of 1 nat each rises by the damage."""
    digital = np.tile([10.0, 10.0], (damage.shape[1], 1))
    analog = np.stack([10 * (1 + damage), np.full(damage.shape, 10.0)], axis=-1)
    return SetScores(get_metric("perplexity"), analog, digital, np.zeros((damage.shape[1], 0)), documents)


@pytest.mark.slow
def test_the_bootstrap_draws_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """It covers at about its level; windows drawn one by one do not."""
    monkeypatch.setattr(module, "BOOTSTRAP", 100)
    rng = np.random.default_rng(5)
    trials, truth = 200, float(np.exp(1.3) - np.exp(1))
    covered = np.zeros(2)
    for _ in range(trials):
        damage = _damage(rng)
        for number, documents in enumerate((None, DOCUMENTS)):
            interval = _perplexities(damage, documents).sample_interval(CONFIDENCE)
            assert interval is not None
            covered[number] += interval[0] <= truth <= interval[1]
    by_windows, by_documents = covered / trials
    assert by_windows < 0.6
    # Percentiles of 30 documents lie a little too close, and 200 trials tell the share to within 0.06.
    assert abs(by_documents - CONFIDENCE) < 0.06


@pytest.mark.parametrize("confidence", [0.9, 0.999, 0.99999])
def test_the_bootstrap_resolves_the_levels_of_single_looks(confidence: float) -> None:
    """A small damage moves perplexity in proportion, so the interval of a mean of scores is an oracle for it.

    Drawing both chips and samples again overstates what both make together (Owen, Ann. Appl. Stat. 1, 2007).
    """
    rng = np.random.default_rng(7)
    chips, samples, both = (rng.normal(size=size) for size in ((6, 1), (1, 300), (6, 300)))
    damage = 0.01 + 0.002 * chips + 0.01 * samples + 0.01 * both
    found = _perplexities(damage, None).sample_interval(confidence)
    oracle = over_draws_and_samples(damage, confidence)
    assert found is not None
    assert oracle is not None
    assert 0.95 < (found[1] - found[0]) / (np.exp(1.01) * (oracle[1] - oracle[0])) < 1.3


def test_one_document_says_nothing_of_others() -> None:
    damage = _damage(np.random.default_rng(2))
    one = np.zeros_like(DOCUMENTS)
    assert _perplexities(damage, one).sample_interval(0.9) is None
    assert (
        SampleScores(get_metric("nll"), 1 + damage, np.ones(damage.shape[1]), documents=one).sample_interval(0.9)
        is None
    )


@pytest.mark.parametrize(
    ("fields", "upper"),
    [
        pytest.param({"exact": True}, 0.0, id="the digital network itself"),
        pytest.param({"exact": True, "rounded": True}, 1 - 0.05 ** (1 / 100), id="digital in another number format"),
        pytest.param({}, 1 - 0.05 ** (1 / 100), id="chips that change nothing"),
    ],
)
def test_no_answer_changed_does_not_show_that_none_does(fields: dict[str, Any], upper: float) -> None:
    """Of 100 samples that all answer alike, up to 3 in 100 others may change; nothing varies from chip to chip."""
    right = np.ones((2, 100))
    found = SampleScores(get_metric("accuracy"), right, right[0], **fields)
    interval = found.sample_interval(0.9)
    assert interval is not None
    assert interval == pytest.approx((-upper, upper))
    assert found.step == (0.01 if not fields else 0)


@pytest.mark.parametrize("metric", ["spearman"])
def test_no_interval_is_told_where_the_metric_is_no_number_on_some_samples(metric: str) -> None:
    """All labels of a resample may be equal: an interval of no width would claim to know the mean for certain."""
    labels = np.zeros(40)
    labels[0] = 1.0
    outputs = np.random.default_rng(0).normal(size=(3, 40, 1))
    scores = SetScores(get_metric(metric), outputs, outputs[0], labels)

    assert np.isfinite(scores.drops).all()
    assert scores.sample_interval(0.9) is None


def test_the_first_output_bounds_no_interval_of_the_greatest_drop() -> None:
    """Accuracy of 50 % cannot drop by more; what another output loses counts in its unit, and is not bounded by it."""
    rng = np.random.default_rng(0)
    right, error = np.repeat([1.0, 0.0], 20), np.abs(rng.normal(1.0, 0.3, (5, 40)))
    first = SampleScores(get_metric("accuracy"), np.repeat(right[None], 5, 0), right)
    second = SampleScores(get_metric("nmse"), error, np.zeros(40))
    evaluators = tuple(
        SimpleNamespace(metric=get_metric(name), baseline=baseline, samples=40, seed=0, t_s=0.0)
        for name, baseline in (("accuracy", 0.5), ("nmse", 0.0))
    )
    measured = MultiOutputMeasurement((first, second), (1.0, 0.5), evaluators)  # type: ignore[arg-type]

    found = evaluation(measured, evaluators[0], relative=False)

    alone = over_draws(measured.drops, step=measured.step)
    assert alone is not None
    assert alone[1] > 0.5
    assert found.drop_interval == pytest.approx(alone)
    assert found.sample_interval is not None
    assert found.sample_interval[1] >= alone[1]


def test_an_output_that_holds_its_budget_shows_it_by_its_own_interval() -> None:
    """The first loses the most on every chip; the second hardly anything on one, so that its own bound is wider."""
    zeros, spread = np.zeros(40), np.repeat([[0.0], *[[0.85]] * 9], 40, axis=1)
    first = SampleScores(get_metric("nmse"), np.full((10, 40), 0.9), zeros)
    second = SampleScores(get_metric("nmse"), spread, zeros)
    evaluators = (SimpleNamespace(metric=get_metric("nmse"), baseline=0.0, samples=40, seed=0, t_s=0.0),) * 2
    measured = MultiOutputMeasurement((first, second), (1.0, 1.0), evaluators)  # type: ignore[arg-type]

    found = evaluation(measured, evaluators[0], relative=False, confidence=0.99)

    assert found.drop == pytest.approx(0.9)
    assert found.drop_interval is not None
    own = [one.drop_interval for one in found.outputs]
    assert all(interval is not None and interval[1] <= found.drop_interval[1] for interval in own)
    assert found.drop_interval[1] > 1.0, "a budget of 1 is not shown to hold at the second output"


def test_in_a_search_a_chip_whose_answer_is_no_number_is_wrong() -> None:
    scores = np.array([[1.0, np.nan], [1.0, 0.0]])
    right = worst_where_nan(SampleScores(get_metric("accuracy"), scores, np.ones(2)))
    assert right.values.tolist() == [0.0, 0.5]
    error = SampleScores(get_metric("nmse"), scores, np.zeros(2))
    assert worst_where_nan(error) is error


def test_a_metric_that_fails_on_a_resample_leaves_the_interval_unknown() -> None:
    def score(outputs: np.ndarray, targets: np.ndarray) -> float:
        if len(np.unique(targets)) < 2:
            raise DataError("only one class")
        return float(outputs[targets == 1].mean() - outputs[targets == 0].mean())

    metric = Metric("gap", higher_is_better=True, needs_targets=True, score=score)
    labels, outputs = np.arange(40) == 0, np.random.default_rng(0).normal(size=(3, 40))
    scores = SetScores(metric, outputs, outputs[0], labels)

    assert np.isfinite(scores.drops).all()
    assert scores.sample_interval(0.9) is None
