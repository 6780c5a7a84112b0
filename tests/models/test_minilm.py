"""MiniLM with its two heads: the definition against onnxruntime, tasks, and the published figures on real data."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from lhc import HybridSession, Task
from lhc.errors import ModelError, UsageError
from lhc.models import minilm, zoo_entry
from lhc.models.squad import exact_match, f1

torch = pytest.importorskip("torch", reason="MiniLM is a PyTorch definition")

needs_data = pytest.mark.skipif("LHC_DATA" not in os.environ, reason="LHC_DATA names no folder of data sets")
SMALL = {"words": 40, "positions": 16, "width": 12, "layers": 1, "heads": 3, "inner": 20}
Arrays = dict[str, npt.NDArray[np.float32]]


def _weights(span: bool) -> Arrays:
    """Made-up weights of a small network, with a pooler as published files have one."""
    from lhc.models.bert import PairSimilarity, SpanFinder

    torch.manual_seed(0)
    network = (SpanFinder if span else PairSimilarity)(**SMALL)
    arrays = {name: value.numpy() for name, value in network.state_dict().items()}
    return arrays | {"pooler.dense.weight": np.zeros((12, 12), np.float32)}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "SIZES", SMALL)


def _ids(*shape: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(0).integers(1, 40, shape)


@pytest.mark.slow
def test_the_similarity_of_equal_sentences_is_1_and_padding_changes_nothing(small: None, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", allow_pickle=False, **_weights(span=False))
    session = HybridSession(zoo_entry("minilm").model(tmp_path / "w.npz"))
    ids, mask = np.repeat(_ids(3, 1, 7), 2, axis=1), np.ones((3, 2, 7), np.int64)
    other = np.concatenate([ids, _ids(3, 2, 4)], axis=2)
    longer = {"input_ids": other, "attention_mask": np.pad(mask, ((0, 0), (0, 0), (0, 4)))}

    similarity, vectors = session.run(None, {"input_ids": ids, "attention_mask": mask})

    np.testing.assert_allclose(similarity, 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(session.run(["embeddings"], longer)[0], vectors, atol=1e-5)


@pytest.mark.slow
def test_logits_behind_the_end_are_out_of_any_comparison(small: None, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", allow_pickle=False, **_weights(span=True))
    session = HybridSession(zoo_entry("minilm-squad").model(tmp_path / "w.npz"))
    mask = np.array([[1, 1, 1, 1, 1, 0, 0]])
    feeds = {"input_ids": _ids(1, 7), "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}

    (spans,) = session.run(None, feeds)

    assert spans.shape == (1, 2, 7)
    assert (spans[..., 5:] == -1e4).all()
    assert (np.abs(spans[..., :5]) < 100).all()


@pytest.mark.slow
def test_word_embeddings_that_a_file_lacks_come_from_the_encoder_beside_it(small: None, tmp_path: Path) -> None:
    whole = _weights(span=True)
    np.savez(tmp_path / "whole.npz", allow_pickle=False, **whole)
    rest = {name: array for name, array in whole.items() if name != minilm.WORDS}
    np.savez(tmp_path / "rest.npz", allow_pickle=False, **rest)
    entry = zoo_entry("minilm-squad")

    with pytest.raises(ModelError, match=r"rest\.npz.*word_embeddings\.weight is missing"):
        entry.model(tmp_path / "rest.npz")
    np.savez(tmp_path / minilm.WEIGHTS.name, allow_pickle=False, **{minilm.WORDS: whole[minilm.WORDS]})

    assert entry.model(tmp_path / "rest.npz").graph == entry.model(tmp_path / "whole.npz").graph


def test_without_a_file_and_a_folder_of_data_the_message_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LHC_DATA", raising=False)

    with pytest.raises(UsageError, match=r"minilm does not ship with weights.*LHC_DATA.*all_minilm_l6_v2"):
        zoo_entry("minilm").model()


@needs_data
@pytest.mark.slow
def test_the_published_rank_correlation_on_the_sts_benchmark() -> None:
    entry = zoo_entry("minilm")
    task = entry.task()

    similarity = _sorted_run(HybridSession(entry.model()), task, "similarity")

    assert len(task) == 1379
    assert task.metric.score(similarity, np.asarray(task.targets)) == pytest.approx(0.8203, abs=1e-4)


@needs_data
@pytest.mark.slow
def test_the_answers_on_the_held_out_articles_of_squad() -> None:
    entry = zoo_entry("minilm-squad")
    task = entry.task()

    spans = _sorted_run(HybridSession(entry.model()), task, "spans")

    targets = np.asarray(task.targets)
    assert len(task) == 1674
    assert 100 * exact_match(spans, targets).mean() == pytest.approx(63.26, abs=100 / 1674)
    assert 100 * f1(spans, targets).mean() == pytest.approx(75.29, abs=0.03)


def _sorted_run(session: HybridSession, task: Task, name: str) -> npt.NDArray[np.float32]:
    """One output of all samples; those of like length are run together, and what lies behind them is -1e4."""
    inputs = {key: np.asarray(array) for key, array in task.inputs.items()}
    lengths = inputs["attention_mask"].sum(-1).reshape(len(task), -1).max(1)
    order = np.argsort(lengths, kind="stable")
    parts = []
    for rows in np.array_split(order, -(-len(order) // 16)):
        length = int(lengths[rows].max())
        (output,) = session.run([name], {key: array[rows][..., :length] for key, array in inputs.items()})
        behind = inputs["input_ids"].shape[-1] - length if output.ndim > 1 else 0
        parts.append(np.pad(output, [(0, 0)] * (output.ndim - 1) + [(0, behind)], constant_values=-1e4))
    return np.concatenate(parts)[np.argsort(order)]
