"""Text as samples of a network that predicts the next token.

A *document* is a block of lines between empty lines; documents say nothing about each other. Its tokens are cut into
*windows* of at most so many inputs, each ``stride`` tokens behind the last. In a window the target at a position is
the next token; a token that an earlier window predicts already is left to that one, so that every token of a document
but the first is predicted once, the first ``stride`` of a window with less context than the others where
``stride`` is the whole window. Nothing is put before a document: its first token stands without context, and is not
predicted.

A window is a sample, and carries the number of its document (`Task.documents`). Short ones are filled up at their end,
where a causal network cannot see it from before, with targets `lhc.samples.metrics.IGNORED`, by token 0.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lhc.errors import DataError, UsageError
from lhc.samples.metrics import IGNORED, get_metric
from lhc.samples.task import Array, Task

if TYPE_CHECKING:
    from tokenizers import Tokenizer

INPUTS = ("input_ids", "attention_mask", "position_ids", "token_type_ids")
"""Names that exporters give the inputs of language models: tokens, 1 where there are some, positions from 0, and 0."""


@dataclass(frozen=True, eq=False)
class TextTask:
    """Windows as samples, and what of a text they are.

    Attributes:
        task: inputs and targets, ``(windows, tokens)`` int64, with documents numbered from 0; judged by ``nll``.
        short: documents of a single token, or none, which predict nothing and are left out.
    """

    task: Task
    short: int


def read_documents(path: Path) -> list[str]:
    """Documents of a text in UTF-8.

    Raises:
        DataError: the text cannot be read, or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text in UTF-8: {error}") from error
    documents: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            documents[-1].append(line.rstrip())
        elif documents[-1]:
            documents.append([])
    found = ["\n".join(document) for document in documents if document]
    if not found:
        raise DataError(f"{path}: holds no text")
    return found


def text_task(
    documents: Sequence[str],
    tokenizer: "Tokenizer",
    window: int,
    stride: int | None = None,
    most: int | None = None,
    each: int | None = None,
    inputs: Collection[str] = ("input_ids",),
    fixed: int | None = None,
) -> TextTask:
    """Windows of documents, one after the other.

    Args:
        tokenizer: what it adds around a text by itself (marks of begin and end) stays.
        stride: tokens from a window of a document to its next; the whole window by default.
        most: windows; documents behind them are not looked at.
        each: most windows of a document; what lies behind them is left out.
        inputs: of the network; beside the tokens, those of `INPUTS` are filled.
        fixed: tokens that the network always reads; shorter windows are filled up. None: any number.

    Raises:
        UsageError: a window or a stride that makes no sense.
        DataError: no document has two tokens.
    """
    step = window if stride is None else stride
    if window < 1 or not 1 <= step <= window:
        raise UsageError(f"--window must be at least 1 and --stride from 1 to it, got {window} and {step}")
    if fixed is not None and window > fixed:
        raise UsageError(
            f"the text is cut into windows of {window} tokens (--window), and the network always reads {fixed}: give"
            f" --window {fixed}"
        )
    rows: list[tuple[list[int], list[int]]] = []
    sources: list[int] = []
    used = short = 0
    for document in documents:
        if most is not None and len(rows) >= most:
            break
        windows = _windows(tokenizer.encode(document).ids, window, step)[:each]
        rows += windows
        sources += [used] * len(windows)
        used += bool(windows)
        short += not windows
    if not rows:
        raise DataError("no document of the text has two tokens, so there is nothing to predict")
    rows = rows[:most]
    arrays, targets = _filled(rows, fixed or max(len(codes) for codes, _ in rows))
    given = {name: array for name, array in arrays.items() if name in {"input_ids", *inputs}}
    return TextTask(Task(given, targets, get_metric("nll"), documents=np.array(sources[: len(rows)])), short)


def _filled(rows: Sequence[tuple[list[int], list[int]]], length: int) -> tuple[dict[str, Array], Array]:
    """All inputs, and targets, ``(windows, length)``; nothing counts behind the end of a window."""
    arrays = {name: np.zeros((len(rows), length), np.int64) for name in INPUTS}
    arrays["position_ids"] += np.arange(length)
    targets = np.full((len(rows), length), IGNORED, np.int64)
    for row, (codes, wanted) in enumerate(rows):
        arrays["input_ids"][row, : len(codes)] = codes
        arrays["attention_mask"][row, : len(codes)] = 1
        targets[row, : len(codes)] = wanted
    return dict(arrays), targets


def _windows(codes: list[int], window: int, step: int) -> list[tuple[list[int], list[int]]]:
    """Inputs and targets of the windows of one document."""
    found: list[tuple[list[int], list[int]]] = []
    predicted = start = 0
    while predicted < len(codes) - 1:
        inputs = codes[start : min(start + window, len(codes) - 1)]
        wanted = codes[start + 1 : start + 1 + len(inputs)]
        known = predicted - start
        found.append((inputs, [IGNORED] * known + wanted[known:]))
        predicted = start + len(inputs)
        start += step
    return found
