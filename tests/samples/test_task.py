"""Metrics against values computed by hand or by scipy, and what a task refuses."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import rel_entr, softmax

from lhc.errors import DataError, UsageError
from lhc.samples.metrics import METRICS, Array, get_metric
from lhc.samples.task import Task

RNG = np.random.default_rng(20250817)
LOGITS = RNG.normal(size=(6, 5)).astype(np.float32)
OTHER = (LOGITS + RNG.normal(scale=0.5, size=LOGITS.shape)).astype(np.float32)


@dataclass(frozen=True)
class ScoreCase:
    id: str
    metric: str
    output: list[object]
    reference: list[object]
    scores: list[float]


SCORES = [
    ScoreCase("accuracy", "accuracy", [[1, 3, 2], [4, 0, 1]], [1, 2], [1, 0]),
    ScoreCase("accuracy: first of equal classes", "accuracy", [[1, 1]], [0], [1]),
    ScoreCase("accuracy: share of positions", "accuracy", [[[1, 2], [2, 1], [0, 1], [1, 0]]], [[1, 0, 0, 0]], [0.75]),
    ScoreCase("accuracy of answers", "accuracy", [[3, 0], [1, 1]], [[3, 1], [1, 1]], [0.5, 1]),
    ScoreCase("agreement", "agreement", [[1.0, 2], [2, 1]], [[0.0, 9], [0, 9]], [1, 0]),
    ScoreCase("agreement of answers", "agreement", [[1, 2], [2, 1]], [[1, 9], [2, 1]], [0.5, 1]),
    ScoreCase("kl of coins", "kl", [[0.25, 0.75]], [[0.5, 0.5]], [0.5 * np.log(2) + 0.5 * np.log(2 / 3)]),
    ScoreCase("kl of a certain digital answer", "kl", [[0.25, 0.75]], [[0.0, 1.0]], [np.log(4 / 3)]),
    ScoreCase("kl: mean of positions", "kl", [[[0.25, 0.75], [0.5, 0.5]]], [[[0.5, 0.5]] * 2], [0.25 * np.log(4 / 3)]),
    ScoreCase("nmse", "nmse", [[3.0, 5.0], [2.0, 0.0]], [[3.0, 4.0], [1.0, 0.0]], [1 / 25, 1]),
    ScoreCase("nmse of a silent sample is the energy", "nmse", [[3.0, 4.0]], [[0.0, 0.0]], [25]),
    ScoreCase("mse", "mse", [[1.0, 3.0], [0.0, 0.0]], [[1.0, 1.0], [3.0, 4.0]], [2, 12.5]),
    ScoreCase("mse of scalars", "mse", [1.0, 3.0], [2.0, 3.0], [1, 0]),
]


@pytest.mark.parametrize("case", SCORES, ids=lambda case: case.id)
def test_scores_are_those_of_the_formula(case: ScoreCase) -> None:
    scores = np.asarray(get_metric(case.metric).score(np.array(case.output), np.array(case.reference)))
    assert scores.dtype == np.float64
    # Probabilities are taken as at least 1e-12.
    np.testing.assert_allclose(scores, case.scores, rtol=1e-9, atol=1e-15)


def test_kl_of_logits_equals_scipy() -> None:
    p, q = softmax(LOGITS.astype(float), axis=-1), softmax(OTHER.astype(float), axis=-1)
    np.testing.assert_allclose(METRICS["kl"].score(OTHER, LOGITS), rel_entr(p, q).sum(axis=-1), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_kl_takes_logits_and_their_distribution_alike(dtype: type[np.floating]) -> None:
    wide = np.random.default_rng(3).normal(scale=3, size=(2, 200, 10))
    analog, digital = softmax(wide, axis=-1).astype(dtype)
    # float16 holds small probabilities to a few digits only.
    tolerance = {np.float16: 2e-2, np.float32: 1e-5, np.float64: 1e-9}[dtype]
    np.testing.assert_allclose(
        METRICS["kl"].score(analog, digital), METRICS["kl"].score(wide[0], wide[1]), rtol=tolerance, atol=tolerance
    )


def test_kl_does_not_depend_on_a_shift_of_the_logits() -> None:
    shifted = METRICS["kl"].score(OTHER.astype(float) + 1000, LOGITS.astype(float) - 1000)
    np.testing.assert_allclose(shifted, METRICS["kl"].score(OTHER, LOGITS), rtol=1e-9)


outputs = hnp.arrays(np.float64, (4, 3), elements=st.floats(-20, 20, width=32))


@given(outputs)
@pytest.mark.parametrize("name", ["agreement", "kl", "nmse"])
def test_a_network_that_equals_the_digital_one_is_not_damaged(name: str, output: Array) -> None:
    metric = METRICS[name]
    same = metric.score(output, output)
    np.testing.assert_array_equal(same, 1.0 if metric.higher_is_better else 0.0)


@given(outputs, outputs)
@pytest.mark.parametrize("name", ["agreement", "kl", "nmse"])
def test_no_network_is_better_than_the_digital_one(name: str, output: Array, digital: Array) -> None:
    metric = METRICS[name]
    damage = metric.damage(metric.score(digital, digital), metric.score(output, digital))
    assert (damage >= -1e-12).all()


@pytest.mark.parametrize(
    ("name", "damage"), [("accuracy", 0.1), ("agreement", 0.1), ("kl", -0.1), ("nmse", -0.1), ("mse", -0.1)]
)
def test_damage_is_larger_where_the_network_is_worse(name: str, damage: float) -> None:
    np.testing.assert_allclose(METRICS[name].damage(0.9, [0.8, 1.0]), [damage, -damage], atol=1e-15)


def test_every_metric_knows_what_it_is_scored_against() -> None:
    assert {name for name, metric in METRICS.items() if metric.needs_targets} == {
        "accuracy",
        "miou",
        "mse",
        "nll",
        "perplexity",
        "psnr",
        "spearman",
        "top5",
    }
    assert {name for name, metric in METRICS.items() if metric.percent} == {"accuracy", "agreement", "miou", "top5"}


def test_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="unknown metric 'f1'; choose one of accuracy, agreement, kl, nmse, cosine"):
        get_metric("f1")


@dataclass(frozen=True)
class ShapeCase:
    id: str
    metric: str
    output: tuple[int, ...]
    reference: tuple[int, ...]
    message: str


SHAPES = [
    ShapeCase("accuracy: one-hot targets", "accuracy", (4, 3), (4, 3), r"one class, the data labels of shape \(3,\)"),
    ShapeCase("accuracy: numbers", "accuracy", (4, 5, 3), (4, 5, 3), r"--metric mse compares numbers, one for each"),
    ShapeCase("accuracy: other axes", "accuracy", (4, 5, 3), (4, 3), r"not the last \(--class-axis\)"),
    ShapeCase("accuracy: column of targets", "accuracy", (4, 3), (4, 1), r"one class index per position"),
    ShapeCase("accuracy: no classes", "accuracy", (4,), (4,), r"shape \(4,\).*at least two classes"),
    ShapeCase("accuracy: one class", "accuracy", (4, 1), (4,), r"shape \(4, 1\).*at least two classes"),
    ShapeCase("agreement: no classes", "agreement", (4,), (4,), r"agreement: .*at least two classes.*nmse"),
    ShapeCase("agreement: one class", "agreement", (4, 1), (4, 1), r"agreement: .*at least two classes.*nmse"),
    ShapeCase("kl: no classes", "kl", (4,), (4,), r"kl: .*at least two classes.*nmse"),
    ShapeCase("kl: one class", "kl", (4, 1), (4, 1), r"kl: .*at least two classes.*nmse"),
    ShapeCase("mse: other shape", "mse", (4, 1), (4,), r"shape \(1,\), the data one label; they must match"),
]


@pytest.mark.parametrize("case", SHAPES, ids=lambda case: case.id)
def test_outputs_that_a_metric_cannot_judge_are_refused(case: ShapeCase) -> None:
    with pytest.raises(DataError, match=case.message):
        METRICS[case.metric].score(np.ones(case.output), np.ones(case.reference, np.int64))


@dataclass(frozen=True)
class TaskCase:
    id: str
    inputs: dict[str, Array]
    targets: Array | None
    metric: str
    message: str


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


BROKEN = [
    TaskCase("no inputs", {}, None, "agreement", "no inputs"),
    TaskCase("scalar", {"x": np.array(1.0)}, None, "agreement", "found a scalar"),
    TaskCase("scalar target", {"x": floats(1)}, np.array(1), "accuracy", "found a scalar"),
    TaskCase("lengths of inputs", {"x": floats(1), "y": floats(1, 2)}, None, "kl", r"'x': 1, 'y': 2"),
    TaskCase("length of targets", {"x": floats(1, 2)}, np.array([1]), "accuracy", r"'x': 2, 'labels': 1"),
    TaskCase("no samples", {"x": floats()}, None, "kl", "no samples"),
    TaskCase("only empty samples", {"x": np.zeros((10**18, 0))}, None, "kl", "no samples"),
    TaskCase("NaN", {"x": floats(1, np.nan)}, None, "kl", "'x' holds NaN or infinite"),
    TaskCase("infinite", {"x": floats(1, -np.inf)}, None, "kl", "'x' holds NaN or infinite"),
    TaskCase("NaN in a scalar", {"x": floats(1), "s": np.array(np.nan)}, None, "kl", "'s' holds NaN or infinite"),
    TaskCase("NaN target", {"x": floats(1)}, floats(np.nan), "mse", "'labels' holds NaN or infinite"),
    TaskCase("no targets", {"x": floats(1)}, None, "accuracy", "'accuracy' needs labels.*--label-key.*agreement"),
]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.id)
def test_data_that_makes_no_sense_is_refused(case: TaskCase) -> None:
    with pytest.raises(DataError, match=case.message):
        Task(case.inputs, case.targets, METRICS[case.metric])


def a_task(samples: int = 5) -> Task:
    x = np.arange(2 * samples, dtype=np.float32).reshape(samples, 2)
    return Task({"x": x, "y": -x}, np.arange(samples), METRICS["accuracy"])


def test_take_keeps_inputs_and_targets_together() -> None:
    taken = a_task().take(np.array([3, 1]))
    assert len(taken) == 2
    np.testing.assert_array_equal(taken.inputs["x"], [[6, 7], [2, 3]])
    np.testing.assert_array_equal(taken.inputs["y"], [[-6, -7], [-2, -3]])
    assert taken.targets is not None
    np.testing.assert_array_equal(taken.targets, [3, 1])


@pytest.mark.parametrize(("samples", "length"), [(None, 5), (2, 2), (5, 5), (9, 5)])
def test_head_takes_at_most_what_there_is(samples: int | None, length: int) -> None:
    head = a_task().head(samples)
    assert len(head) == length
    np.testing.assert_array_equal(head.inputs["x"], a_task().inputs["x"][:length])


@pytest.mark.parametrize("size", [1, 2, 5, 7])
def test_blocks_cover_every_sample_once(size: int) -> None:
    task = a_task()
    blocks = list(task.blocks(size))
    assert [where.start for where, _ in blocks] == list(range(0, 5, size))
    assert all(len(feeds["x"]) == where.stop - where.start <= size for where, feeds in blocks)
    np.testing.assert_array_equal(np.concatenate([feeds["x"] for _, feeds in blocks]), task.inputs["x"])


def test_the_metric_can_be_exchanged_but_not_for_one_that_needs_missing_targets() -> None:
    task = Task(a_task().inputs, None, METRICS["kl"])
    assert task.with_metric(METRICS["nmse"]).metric.name == "nmse"
    with pytest.raises(DataError, match="needs labels"):
        task.with_metric(METRICS["accuracy"])


def test_digest_tells_data_apart() -> None:
    task = a_task()
    x, y, targets = np.asarray(task.inputs["x"]), task.inputs["y"], np.arange(5)
    others = [
        Task({"x": y, "y": x}, targets, task.metric),
        Task({"x": x, "z": y}, targets, task.metric),
        Task({"x": x.reshape(5, 1, 2), "y": y}, targets, task.metric),
        Task({"x": x.astype(np.float64), "y": y}, targets, task.metric),
        Task({"x": x, "y": y}, targets + 1, task.metric),
        Task({"x": x, "y": y}, None, METRICS["kl"]),
    ]
    assert len({task.digest, *(other.digest for other in others)}) == 7


def test_documents_follow_their_samples() -> None:
    task = replace(a_task(), documents=np.array([4, 4, 2, 2, 2]))
    assert (task.document_count, a_task().document_count) == (2, None)
    for part, expected in (
        (task.take(np.array([3, 1])), [2, 4]),
        (task.head(3), [4, 4, 2]),
        (task.with_metric(METRICS["nmse"]), [4, 4, 2, 2, 2]),
    ):
        assert np.asarray(part.documents).tolist() == expected
    assert len({task.digest, a_task().digest, replace(task, documents=np.array([4, 4, 2, 2, 1])).digest}) == 3
    assert task.block_digest(0, 2) == a_task().block_digest(0, 2), "what is measured on samples does not depend on them"


@pytest.mark.parametrize("documents", [np.zeros(4, np.int64), np.zeros(5), np.zeros((5, 1), np.int64)], ids=repr)
def test_documents_that_are_no_number_per_sample_are_refused(documents: np.ndarray) -> None:
    with pytest.raises(DataError, match="one integer for each of the 5 samples"):
        replace(a_task(), documents=documents)


def test_digest_does_not_depend_on_memory_layout_or_order_of_inputs() -> None:
    task = a_task()
    turned = Task({"y": np.asfortranarray(task.inputs["y"]), "x": task.inputs["x"]}, task.targets, METRICS["accuracy"])
    assert turned.digest == task.digest
