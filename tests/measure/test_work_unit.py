"""Scores of samples of which some positions do not count, and set metrics that keep a few numbers of an output."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lhc.hardware import Hardware
from lhc.measure.evaluator import PlacementEvaluator
from lhc.measure.measurement import SetScores
from lhc.models.decoder import write_decoder
from lhc.models.gguf_file import gguf_decoder
from lhc.onnx_io import load_model, read_graph
from lhc.samples.metrics import IGNORED, METRICS, Array, Metric, SampleNumbers
from lhc.samples.targets import counted_positions
from lhc.samples.task import Task

pytestmark = pytest.mark.analog
LAYER = frozenset({"layers.0.mlp.down_proj"})
SHAPE = (5, 6)


@pytest.fixture(scope="module")
def evaluator_of(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Metric], PlacementEvaluator]:
    path = tmp_path_factory.mktemp("decoder") / "tiny.onnx"
    write_decoder(*gguf_decoder(tiny_gguf), path)
    model = load_model(path)
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 200, SHAPE)
    targets = rng.integers(0, 200, SHAPE)
    targets[np.arange(SHAPE[1]) >= np.array([6, 2, 4, 1, 5])[:, None]] = IGNORED
    graph = read_graph(model, {"input_ids": (1, SHAPE[1])})
    hardware = Hardware.load("lionheart")
    return lambda metric: PlacementEvaluator(model, graph, hardware, Task({"input_ids": ids}, targets, metric), draws=2)


def _outputs(evaluator: PlacementEvaluator) -> tuple[Array, list[Array]]:
    """The digital output, and those of two chips."""
    chips = [np.empty_like(evaluator.digital_output) for _ in range(2)]
    for draw, where, outputs in evaluator.outputs(LAYER, range(2)):
        chips[draw][where] = outputs[0]
    return evaluator.digital_output, chips


@pytest.mark.parametrize("name", ["agreement", "kl", "nmse", "cosine"])
def test_positions_without_a_target_count_in_no_metric(
    evaluator_of: Callable[[Metric], PlacementEvaluator], name: str
) -> None:
    evaluator = evaluator_of(METRICS[name])
    digital, chips = _outputs(evaluator)
    targets = np.asarray(evaluator.task.targets)

    measured = evaluator.measure(LAYER, range(2))

    for found, chip in zip(measured.values, chips, strict=True):
        alone = [
            float(
                np.mean(
                    evaluator.metric.score(
                        chip[row : row + 1, : np.sum(counted)], digital[row : row + 1, : np.sum(counted)]
                    )
                )
            )
            for row, counted in enumerate(targets != IGNORED)
        ]
        assert found == pytest.approx(np.mean(alone), rel=1e-9)
    assert measured.drops.min() > 0


def test_perplexity_keeps_no_outputs_and_is_that_of_all_of_them(
    evaluator_of: Callable[[Metric], PlacementEvaluator],
) -> None:
    evaluator = evaluator_of(METRICS["perplexity"])
    digital, chips = _outputs(evaluator)
    targets = np.asarray(evaluator.task.targets)

    measured = evaluator.measure(LAYER, range(2))

    assert isinstance(measured, SetScores)
    assert measured.outputs.shape == (2, len(targets), 2)
    expected = [float(METRICS["perplexity"].score(chip, targets)) for chip in chips]
    assert measured.values.tolist() == pytest.approx(expected, rel=1e-9)
    assert evaluator.baseline == pytest.approx(METRICS["perplexity"].score(digital, targets), rel=1e-9)
    interval = measured.sample_interval(0.9)
    assert interval is not None
    assert interval[0] < interval[1]


def test_a_summary_gives_what_its_metric_gives() -> None:
    rng = np.random.default_rng(0)
    output, targets = rng.normal(size=(4, 3, 7)), rng.integers(0, 7, (4, 3))
    found = [metric for metric in METRICS.values() if metric.summary is not None]

    assert [metric.name for metric in found] == ["miou", "perplexity"]
    for metric in found:
        assert isinstance(metric.summary, SampleNumbers)
        assert metric.of_set(metric.summary.of_samples(output, targets), targets) == metric.score(output, targets)


def test_which_positions_count() -> None:
    output = np.zeros((2, 3, 4))
    targets = np.array([[1, IGNORED, 2], [0, 0, IGNORED]])

    found = counted_positions(output, targets)

    assert found is not None
    assert found.tolist() == [[True, False, True], [True, True, False]]
    assert counted_positions(output, np.zeros((2, 3), np.int64)) is None
    assert counted_positions(output, None) is None
    assert counted_positions(output[:, 0], targets[:, 0]) is None  # one class a sample
