"""all-MiniLM-L6-v2: a sentence encoder of six layers, and the same encoder with a head that finds answers.

The encoder is MiniLM (Wang et al., NeurIPS 2020), trained on sentence pairs by the Sentence-Transformers project
(Apache-2.0). It is judged on the STS benchmark (Cer et al., SemEval 2017): pairs of sentences and how alike people find
them, 0 to 5. The span head and its encoder were tuned on 40 of the 48 articles of SQuAD's development set and are
judged on the other eight; that says how much mapping costs, not how the network compares with published ones.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError
from lhc.models.export import export_onnx
from lhc.models.squad import INPUTS, export_spans, read_questions, span_task
from lhc.models.tokens import edge_marks, word_piece_tokenizer
from lhc.models.weights import WeightsEntry, load_weights, read_weights
from lhc.models.zoo_entry import DATA_VARIABLE, data_file
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

if TYPE_CHECKING:
    import onnx
    from tokenizers import Tokenizer

    from lhc.models.bert import Bert

PAIR_FILES = ("text/stsb-en-test.csv", "stsb-en-test.csv")

Pairs = tuple[list[str], list[str], npt.NDArray[np.float64]]
"""First sentences, second sentences, scores."""


def read_pairs(path: Path | None = None) -> Pairs:
    """Rows ``sentence1,sentence2,score`` without a header.

    Args:
        path: None takes the test set in the folder that ``LHC_DATA`` names.

    Raises:
        DataError: the file is not found or holds something else.
    """
    path = path or data_file("test set of the STS benchmark", *PAIR_FILES)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(first, second, float(score)) for first, second, score in csv.reader(file)]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: not rows of sentence1,sentence2,score: {error}") from error
    if not rows:
        raise DataError(f"{path}: holds no pairs of sentences")
    return [row[0] for row in rows], [row[1] for row in rows], np.array([row[2] for row in rows])


def pair_task(pairs: Pairs, tokenizer: "Tokenizer", longest: int) -> Task:
    """Pairs as samples, judged by the rank correlation of similarity and score.

    Args:
        tokenizer: gives pieces without ``[CLS]`` and ``[SEP]``.
        longest: sequence that the network takes; sentences are cut there.

    Returns:
        Inputs ``input_ids`` and ``attention_mask``, ``(pairs, 2, sequence)``, as long as the longest sentence needs.
    """
    cls, sep = edge_marks(tokenizer)
    codes = [[[cls, *code.ids[: longest - 2], sep] for code in tokenizer.encode_batch(side)] for side in pairs[:2]]
    length = max(len(code) for side in codes for code in side)
    ids, mask = (np.zeros((len(pairs[0]), 2, length), np.int64) for _ in range(2))
    for which, side in enumerate(codes):
        for row, code in enumerate(side):
            ids[row, which, : len(code)] = code
            mask[row, which, : len(code)] = 1
    return Task({"input_ids": ids, "attention_mask": mask}, pairs[2], get_metric("spearman"))


WEIGHTS = Path("models", "all_minilm_l6_v2_fp16.npz")
"""Below the folder that ``LHC_DATA`` names. With a span head, the word embeddings are taken from here."""
LONGEST = 512
SIZES = {"words": 30_522, "positions": LONGEST, "width": 384, "layers": 6, "heads": 12, "inner": 1536}
WORDS = "embeddings.word_embeddings.weight"
HELD_OUT = frozenset(
    {
        "Apollo_program",
        "Ctenophora",
        "Fresno,_California",
        "Imperialism",
        "Newcastle_upon_Tyne",
        "Prime_number",
        "Steam_engine",
        "Victoria_and_Albert_Museum",
    }
)
"""Articles that the span head was not tuned on."""


class MiniLm(WeightsEntry):
    """Sentence encoder: 36 projections, and 12 products between activations that stay digital.

    A sample is a pair of sentences; outputs are their similarity and, second, both sentence vectors.
    """

    name: ClassVar[str] = "minilm"
    description: ClassVar[str] = (
        f"all-MiniLM-L6-v2 on the STS benchmark, rank correlation; weights and text by ${DATA_VARIABLE}"
    )
    max_drop: ClassVar[float] = 0.01
    weights: ClassVar[Path] = WEIGHTS

    def exported(self, path: Path) -> "onnx.ModelProto":
        """With weights under Hugging Face's names (``.npz`` or state dict); a pooler among them is left out."""
        import torch

        from lhc.models.bert import PairSimilarity

        network = _loaded(PairSimilarity(**SIZES), path, "all-MiniLM-L6-v2")
        inputs = ("input_ids", "attention_mask")
        examples = dict.fromkeys(inputs, torch.ones(2, 2, 8, dtype=torch.long))
        return export_onnx(network, examples, ("similarity", "embeddings"), dict.fromkeys(inputs, 2))

    def task(self) -> Task:
        """The 1,379 test pairs of the STS benchmark, judged by Spearman's rank correlation."""
        return pair_task(read_pairs(), word_piece_tokenizer(), LONGEST)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"input_ids": (1, 2, 46), "attention_mask": (1, 2, 46)}


class MiniLmSquad(WeightsEntry):
    """The same encoder with a span head: 37 projections, and 12 products that stay digital."""

    name: ClassVar[str] = "minilm-squad"
    description: ClassVar[str] = (
        f"MiniLM-L6 with a span head on eight articles of SQuAD v1.1, F1; weights and text by ${DATA_VARIABLE}"
    )
    max_drop: ClassVar[float] = 0.02
    weights: ClassVar[Path] = Path("models", "minilm_l6_squad_qa_fp16.npz")

    def exported(self, path: Path) -> "onnx.ModelProto":
        """With weights under Hugging Face's names (``.npz`` or state dict), the head's being ``qa``.

        Word embeddings that the file lacks are taken from the encoder's file in the same folder.
        """
        from lhc.models.bert import SpanFinder

        return export_spans(_loaded(SpanFinder(**SIZES), path, "MiniLM-L6 with a span head"))

    def task(self) -> Task:
        """The 1,674 questions of the held-out articles, judged by F1."""
        questions = [question for question in read_questions() if question.article in HELD_OUT]
        return span_task(questions, word_piece_tokenizer(), LONGEST)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return dict.fromkeys(INPUTS, (1, 461))


def _loaded(network: "Bert", path: Path, what: str) -> "Bert":
    given = {name: array for name, array in read_weights(path).items() if not name.startswith("pooler.")}
    beside = path.parent / WEIGHTS.name
    if WORDS not in given and beside != path and beside.is_file():
        given[WORDS] = read_weights(beside)[WORDS]
    load_weights(network, given, what, str(path))
    return network.eval()
