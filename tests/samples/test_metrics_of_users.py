"""The metrics beside the basic ones: formulas, set metrics, and a user's own function."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lhc.errors import DataError, UsageError
from lhc.samples.metrics import IGNORED, METRICS, get_metric
from lhc.samples.user_metric import score_digest


def test_top5_holds_what_accuracy_misses() -> None:
    output = np.tile(np.arange(10.0), (10, 1))
    assert np.asarray(METRICS["top5"].score(output, np.arange(10))).tolist() == [0] * 5 + [1] * 5


def test_psnr_by_hand() -> None:
    targets = np.array([[0.0, 1.0], [0.0, 2.0]])
    output = targets + np.array([[0.1, -0.1], [0.2, 0.2]])
    np.testing.assert_allclose(METRICS["psnr"].score(output, targets), [20.0, 20.0])
    with pytest.raises(DataError, match="constant"):
        METRICS["psnr"].score(output, np.ones((2, 2)))


def test_cosine_of_angles() -> None:
    digital = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    output = np.array([[2.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    np.testing.assert_allclose(METRICS["cosine"].score(output, digital), [1, np.sqrt(0.5), 0])


def test_labels_of_any_kind_of_number_are_ranked_and_counted() -> None:
    values = np.array([[0.1], [0.9], [0.4], [0.8]], np.float32)
    labels = np.array([False, True, False, True])
    assert get_metric("spearman").score(values, labels) == pytest.approx(0.894, abs=1e-3)
    classes = np.eye(2, dtype=np.float32)[[0, 1, 1]]
    assert METRICS["miou"].score(classes, np.array([0, 1, 1], np.uint64)) == 1.0


def test_spearman_is_one_number_for_the_set() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=50), rng.normal(size=50)
    assert METRICS["spearman"].score(a[:, None], b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert METRICS["spearman"].score(np.zeros(50), b) == 0
    with pytest.raises(DataError, match="one number a sample"):
        METRICS["spearman"].score(np.zeros((50, 2)), b)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_own_function_from_the_current_folder(in_folder: Path) -> None:
    (in_folder / "own_metric_a.py").write_text(
        "def worst(outputs, targets):\n    return abs(outputs - targets).max(axis=1)\n"
        "def whole(outputs, targets):\n    return float(outputs.sum())\n"
        "def wrong(outputs, targets):\n    return outputs\n"
        "def broken(outputs, targets):\n    raise KeyError('gone')\n"
        "number = 3\n"
    )
    metric = get_metric("own_metric_a:worst", higher_is_better=False)
    assert not metric.higher_is_better
    assert np.asarray(metric.score(np.ones((2, 3)), np.zeros((2, 3)))).tolist() == [1, 1]
    assert get_metric("own_metric_a:whole", True).score(np.ones((2, 3)), np.zeros(2)) == 6.0
    with pytest.raises(DataError, match=r"gives shape \(2, 3\)"):
        get_metric("own_metric_a:wrong", True).score(np.ones((2, 3)), np.zeros(2))
    with pytest.raises(DataError, match="KeyError: 'gone'"):
        get_metric("own_metric_a:broken", True).score(np.ones((2, 3)), np.zeros(2))
    with pytest.raises(UsageError, match="not a function"):
        get_metric("own_metric_a:number", True)


def test_direction_of_a_function_must_be_said(in_folder: Path) -> None:
    with pytest.raises(UsageError, match="--higher-is-better or --lower-is-better"):
        get_metric("some:thing")


def test_direction_of_a_built_in_cannot_be_turned() -> None:
    assert get_metric("kl", higher_is_better=False) is METRICS["kl"]
    with pytest.raises(UsageError, match="lower is better"):
        get_metric("kl", higher_is_better=True)


@pytest.mark.parametrize("name", ["no_such_module_xyz:f", "json:no_such_function"])
def test_function_that_cannot_be_imported(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be imported"):
        get_metric(name, True)


@pytest.mark.parametrize("name", ["accuracy", "top5"])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 10], "0 to 10, the output has classes 0 to 9; number the classes from 0, or score another output"),
        ([-1, 3], "-1 to 3, the output has classes 0 to 9; number the classes from 0"),
        ([0.0, 0.0], "integer class indices"),
    ],
    ids=["too great", "negative", "no integers"],
)
def test_labels_that_are_no_classes_are_refused(name: str, labels: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        METRICS[name].score(np.zeros((2, 10)), np.array(labels))


def test_likelihoods_by_hand_without_positions_that_do_not_count() -> None:
    output = np.log(np.array([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], [[0.2, 0.2, 0.6], [1 / 3] * 3]])) + 7
    targets = np.array([[0, 1], [2, IGNORED]])

    nll = np.asarray(METRICS["nll"].score(output, targets))

    np.testing.assert_allclose(nll, [-np.log(0.5 * 0.8) / 2, -np.log(0.6)])
    assert METRICS["perplexity"].score(output, targets) == pytest.approx((0.5 * 0.8 * 0.6) ** (-1 / 3))
    assert METRICS["nll"].damage(1.0, 1.5) == 0.5


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            np.array([[0, 1, 2]]),
            r"nll: the output gives a sample classes of shape \(2,\), the data labels of shape \(3,\)",
        ),
        (np.array([[0, 3]]), r"nll: labels are 0 to 3, the output has classes 0 to 2"),
        (np.array([[0.0, 1.0]]), r"nll: labels are float64; they must be integer"),
        (np.full((1, 2), IGNORED), r"nll: sample 0 has no label other than -100"),
    ],
    ids=["shape", "class", "type", "none"],
)
def test_likelihoods_refuse_targets_that_do_not_fit(targets: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        METRICS["nll"].score(np.zeros((1, 2, 3)), targets)


def test_perplexity_needs_one_target_in_all() -> None:
    with pytest.raises(DataError, match="perplexity: there is no label other than -100"):
        METRICS["perplexity"].score(np.zeros((1, 2, 3)), np.full((1, 2), IGNORED))


def test_functions_without_source_are_told_apart() -> None:
    made: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {}
    for name, value in (("one", 0.0), ("other", 1.0)):
        exec(f"def {name}(outputs, targets): return {value}", {"__name__": "nowhere"}, made)
    assert score_digest(made["one"]) == score_digest(made["one"]) != score_digest(made["other"])
