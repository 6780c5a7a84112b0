"""Extractive question answering on SQuAD v1.1 (Rajpurkar et al., EMNLP 2016): samples and the official scores.

A sample is a question with its paragraph, ``[CLS] question [SEP] paragraph [SEP]``, segments 0 and 1. Questions are
cut at 48 pieces and paragraphs where the whole exceeds the network's longest sequence, so that every question is one
sample and its score one number. An answer is the text between the pieces ``start <= end``, at most 30 of them, inside
the paragraph, whose logits have the greatest sum.

Targets carry all that scoring takes: the paragraph, where each piece lies in it, and the reference answers. So the
scores are metrics like any user's::

    lhc evaluate minilm-squad --metric lhc.models.squad:exact_match --higher-is-better

An answer and a reference are compared after lower-casing and without punctuation, articles and extra white space.
``exact_match`` is whether they are equal; ``f1`` is 2 P R / (P + R) of their words, with repetition. Of several
references the best counts.
"""

import json
import lzma
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError
from lhc.models.export import export_onnx
from lhc.models.tokens import edge_marks
from lhc.models.zoo_entry import data_file
from lhc.samples.metrics import Array, Metric, Scores
from lhc.samples.task import Task

if TYPE_CHECKING:
    import onnx
    import torch
    from tokenizers import Tokenizer

FILES = ("text/squad_v1.1_dev.json.xz", "squad/dev-v1.1.json", "dev-v1.1.json")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""Of every network that answers questions, ``(questions, sequence)`` each."""
QUESTION_PIECES = 48
ANSWER_PIECES = 30


@dataclass(frozen=True)
class Question:
    """A question, its paragraph, and the answers that people gave."""

    text: str
    paragraph: str
    references: tuple[str, ...]
    article: str


def read_questions(path: Path | None = None) -> list[Question]:
    """All questions of a file in the data set's own JSON (``.xz`` where compressed), in its order.

    Args:
        path: None takes the development set in the folder that ``LHC_DATA`` names.

    Raises:
        DataError: the file is not found or is something else.
    """
    path = path or data_file("development set of SQuAD v1.1", *FILES)
    try:
        with (lzma.open if path.suffix == ".xz" else open)(path, "rt", encoding="utf-8") as file:
            articles = json.load(file)["data"]
        return [
            Question(
                question["question"],
                paragraph["context"],
                tuple(answer["text"] for answer in question["answers"]),
                article["title"],
            )
            for article in articles
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (OSError, ValueError, KeyError, TypeError, lzma.LZMAError, EOFError, RecursionError) as error:
        raise DataError(f"{path}: not questions of SQuAD v1.1: {type(error).__name__}: {error}") from error


def span_task(questions: Sequence[Question], tokenizer: "Tokenizer", longest: int) -> Task:
    """Questions as samples, judged by F1; those about a paragraph are one document.

    Args:
        tokenizer: gives pieces with their place in the text, without ``[CLS]`` and ``[SEP]``.
        longest: sequence that the network takes.

    Returns:
        Inputs `INPUTS`, as long as the longest question needs; targets as the module says.
    """
    cls, sep = edge_marks(tokenizer)
    asked = [code.ids[:QUESTION_PIECES] for code in tokenizer.encode_batch([q.text for q in questions])]
    found = tokenizer.encode_batch([q.paragraph for q in questions])
    length = min(longest, max(len(a) + len(p.ids) for a, p in zip(asked, found, strict=True)) + 3)
    inputs = {name: np.zeros((len(questions), length), np.int64) for name in INPUTS}
    targets = np.zeros(len(questions), _target_type(questions, length))
    targets["offsets"] = -1
    for row, (question, pieces, paragraph) in enumerate(zip(questions, asked, found, strict=True)):
        first = len(pieces) + 2
        kept = min(len(paragraph.ids), length - first - 1)
        ids = [cls, *pieces, sep, *paragraph.ids[:kept], sep]
        inputs["input_ids"][row, : len(ids)] = ids
        inputs["attention_mask"][row, : len(ids)] = 1
        inputs["token_type_ids"][row, first : len(ids)] = 1
        targets["offsets"][row, first : first + kept] = paragraph.offsets[:kept]
        targets["paragraph"][row] = question.paragraph
        targets["references"][row, : len(question.references)] = question.references
    paragraphs = np.unique(targets["paragraph"], return_inverse=True)[1]
    return Task(inputs, targets, F1, documents=paragraphs)


def _target_type(questions: Sequence[Question], length: int) -> np.dtype[Any]:
    """dtype of one question: paragraph, references (empty ones fill up), first and last character + 1 of pieces."""
    references = [reference for question in questions for reference in question.references]
    return np.dtype(
        [
            ("paragraph", np.str_, max(len(question.paragraph) for question in questions)),
            ("references", (np.str_, max(map(len, references))), max(len(q.references) for q in questions)),
            ("offsets", np.int32, (length, 2)),
        ]
    )


def export_spans(network: "torch.nn.Module") -> "onnx.ModelProto":
    """Export a network from `INPUTS` to the logits of start and end, ``spans``, ``(batch, 2, sequence)``."""
    import torch

    example = torch.ones(2, 8, dtype=torch.long)
    return export_onnx(network, dict.fromkeys(INPUTS, example), ("spans",), dict.fromkeys(INPUTS, 1))


def answers(outputs: Array, targets: npt.NDArray[np.void]) -> list[str]:
    """The answer that each sample's logits give.

    Args:
        outputs: logits of start and end, ``(n, 2, sequence)``.
        targets: from `span_task`, ``(n,)``.

    Raises:
        DataError: the logits are not those of these targets.
    """
    if targets.dtype.names is None or "offsets" not in targets.dtype.names:
        raise DataError(f"the scores of SQuAD need the targets that lhc.models.squad makes, not {targets.dtype}")
    offsets = targets["offsets"]
    if outputs.shape != (len(offsets), 2, offsets.shape[1]):
        raise DataError(
            f"the output has shape {outputs.shape}; the scores of SQuAD take logits of start and end,"
            f" ({len(offsets)}, 2, {offsets.shape[1]})"
        )
    inside = offsets[:, :, 0] >= 0
    start, end = (np.where(inside, outputs[:, side].astype(np.float64), -np.inf) for side in (0, 1))
    padded = np.pad(end, ((0, 0), (0, ANSWER_PIECES - 1)), constant_values=-np.inf)
    sums = start[:, :, None] + np.lib.stride_tricks.sliding_window_view(padded, ANSWER_PIECES, axis=1)
    first, more = np.divmod(sums.reshape(len(sums), -1).argmax(axis=1), ANSWER_PIECES)
    rows = np.arange(len(offsets))
    begins, ends = offsets[rows, first, 0], offsets[rows, first + more, 1]
    return [str(text)[a:b] for text, a, b in zip(targets["paragraph"], begins, ends, strict=True)]


def exact_match(outputs: Array, targets: npt.NDArray[np.void]) -> Scores:
    """Exact match: 1 where an answer equals a reference, else 0; arguments as in `answers`."""
    return _scores(outputs, targets, lambda answer, reference: float(answer == reference))


def f1(outputs: Array, targets: npt.NDArray[np.void]) -> Scores:
    """F1 of the words of answer and reference; arguments as in `answers`."""
    return _scores(outputs, targets, _f1)


F1 = Metric("squad-f1", higher_is_better=True, needs_targets=True, score=f1, percent=True, classes=True)


def _scores(outputs: Array, targets: npt.NDArray[np.void], compare: Callable[[str, str], float]) -> Scores:
    given = map(_normalised, answers(outputs, targets))
    wanted: Iterable[Iterable[str]] = targets["references"].tolist()
    return np.array(
        [
            max(compare(answer, _normalised(reference)) for reference in references if reference)
            for answer, references in zip(given, wanted, strict=True)
        ]
    )


def _normalised(text: str) -> str:
    plain = "".join(character for character in text.lower() if character not in _PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


_PUNCTUATION = frozenset(string.punctuation)


def _f1(answer: str, reference: str) -> float:
    given, wanted = answer.split(), reference.split()
    shared = sum((Counter(given) & Counter(wanted)).values())
    return 2 * shared / (len(given) + len(wanted)) if shared else 0.0
