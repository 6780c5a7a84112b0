"""The STS benchmark (Cer et al., SemEval 2017): pairs of sentences and how alike people find them, 0 to 5."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError
from lhc.models.tokens import edge_marks
from lhc.models.zoo_entry import data_file
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Pairs", "pair_task", "read_pairs"]

FILES = ("text/stsb-en-test.csv", "stsb-en-test.csv")

Pairs = tuple[list[str], list[str], npt.NDArray[np.float64]]
"""First sentences, second sentences, scores."""


def read_pairs(path: Path | None = None) -> Pairs:
    """Rows ``sentence1,sentence2,score`` without a header.

    Args:
        path: None takes the test set in the folder that ``LHC_DATA`` names.

    Raises:
        DataError: the file is not found or holds something else.
    """
    path = path or data_file("test set of the STS benchmark", *FILES)
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
