"""MobileBERT by transformers: how many products it has, checkpoints from folders, and its way through lhc."""

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import lhc
from lhc import HybridSession
from lhc.errors import MissingDependencyError, ModelError
from lhc.models import zoo_entry
from lhc.models.mobilebert import load_checkpoint, with_spans
from lhc.models.squad import INPUTS, exact_match, export_spans, f1, read_questions, span_task
from lhc.models.tokens import word_piece_tokenizer

pytest.importorskip("torch", reason="MobileBERT is a PyTorch definition")
pytest.importorskip("transformers", reason="MobileBERT comes from transformers")

import torch

if TYPE_CHECKING:
    from transformers import MobileBertForQuestionAnswering

needs_data = pytest.mark.skipif("LHC_DATA" not in os.environ, reason="LHC_DATA names no folder of data sets")


def _network(**sizes: Any) -> "MobileBertForQuestionAnswering":  # noqa: ANN401  # fields of the configuration
    """A network with random weights; without sizes the real architecture, whose sizes are the defaults."""
    from transformers import MobileBertConfig, MobileBertForQuestionAnswering  # seconds, in each process that collects

    torch.manual_seed(0)
    network = MobileBertForQuestionAnswering(MobileBertConfig(**sizes))
    network.train(False)
    return network


def _small() -> "MobileBertForQuestionAnswering":
    return _network(
        vocab_size=30, num_hidden_layers=1, hidden_size=16, embedding_size=8, intermediate_size=12,
        num_attention_heads=2, true_hidden_size=8, intra_bottleneck_size=8, num_feedforward_networks=2,
        max_position_embeddings=32,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small network."""
    path = tmp_path_factory.mktemp("checkpoint")
    _small().save_pretrained(path)
    return path


def test_the_real_architecture_has_362_projections() -> None:
    names = [name for name, part in _network().named_modules() if isinstance(part, torch.nn.Linear)]

    layers = Counter(name.split(".")[3] for name in names if ".encoder.layer." in name)
    assert layers == {str(number): 15 for number in range(24)}
    assert len(names) == 24 * 15 + 2
    # LionHeart's rule: linear layers without "embedding" in their name. Its paper counts 169 = 24 · 7 + 1.
    assert sum("embedding" not in name for name in names) == 361
    feed_forward = ("intermediate.dense", "ffn", "output.dense")
    inside = [
        n
        for n in names
        if "embedding" not in n and not n.split("layer.")[-1].partition(".")[2].startswith(feed_forward)
    ]
    assert len(inside) == 169


@pytest.mark.slow
def test_a_checkpoint_in_a_folder_gives_the_network_that_was_saved(folder: Path) -> None:
    model = zoo_entry("mobilebert").model(folder)

    ids = np.random.default_rng(0).integers(1, 30, (2, 9))
    mask = np.ones_like(ids)
    mask[1, 6:] = 0
    feeds = dict(zip(INPUTS, (ids, mask, np.zeros_like(ids)), strict=True))
    (spans,) = HybridSession(model).run(None, feeds)
    with torch.no_grad():
        expected = _small()(**{name: torch.from_numpy(array) for name, array in feeds.items()})
    np.testing.assert_allclose(spans[0, 0], expected.start_logits[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(spans[1, 1, :6], expected.end_logits[1, :6].numpy(), atol=1e-4)
    assert (spans[1, :, 6:] == -1e4).all()


def test_a_folder_without_a_checkpoint_and_one_of_another_network_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not a folder with a checkpoint: it holds no config\.json"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(
        ModelError, match=r"the checkpoint cannot be loaded: .*give a folder that holds one with --weights"
    ):
        load_checkpoint(tmp_path)
    _small().mobilebert.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"2 weights are missing, e\.g\. qa_outputs\.bias"):
        load_checkpoint(tmp_path)


def test_without_the_library_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)

    with pytest.raises(
        MissingDependencyError, match=r"needs PyTorch and transformers: .*pip install '\.\[mobilebert\]'"
    ):
        load_checkpoint(None)


@needs_data
@pytest.mark.slow
def test_the_real_architecture_goes_from_questions_to_scores() -> None:
    model = export_spans(with_spans(_network()))
    questions = [question for question in read_questions() if len(question.paragraph) < 300][:4]
    task = span_task(questions, word_piece_tokenizer(), 512)
    inputs = {name: np.asarray(array) for name, array in task.inputs.items()}

    analysis = lhc.analyze(model, task)
    (spans,) = HybridSession(model).run(None, inputs)

    reasons = Counter(layer.reason for layer in analysis.plan.layers)
    assert reasons == {"eligible": 362, "no-static-weight": 48}
    assert len(analysis.blocks()) == 26  # 24 layers, the embeddings, the head
    targets = np.asarray(task.targets)
    scores = f1(spans, targets)
    assert ((scores >= exact_match(spans, targets)) & (scores <= 1)).all()
