"""Text as samples: documents, windows, targets."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lhc.errors import DataError, UsageError
from lhc.models.tokens import load_tokenizer
from lhc.samples.metrics import IGNORED
from lhc.samples.text_documents import read_documents, text_task

if TYPE_CHECKING:
    from tokenizers import Tokenizer

pytest.importorskip("tokenizers", reason="text is cut by tokenizers")


@pytest.fixture(scope="module")
def words() -> "Tokenizer":
    """Every word w0, w1, … is the token of its number."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({f"w{n}": n for n in range(100)}, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def _text(start: int, count: int) -> str:
    return " ".join(f"w{n}" for n in range(start, start + count))


def test_documents_are_blocks_between_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n\nOne,\nstill one.  \n \t\nTwo.\n", encoding="utf-8")

    assert read_documents(path) == ["One,\nstill one.", "Two."]
    path.write_text("One,\nstill one.\n\nTwo.", encoding="utf-8-sig")  # with a byte-order mark
    assert read_documents(path) == ["One,\nstill one.", "Two."]
    path.write_text(" \n\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.txt: holds no text"):
        read_documents(path)
    path.write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"a\.txt: cannot be read as text in UTF-8"):
        read_documents(path)


def test_a_tokenizer_that_cuts_and_fills_up_by_itself_does_neither_here(words: "Tokenizer", tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    made = Tokenizer.from_str(words.to_str())
    made.enable_truncation(16)
    made.enable_padding(length=16)
    made.save(str(tmp_path / "tokenizer.json"))

    tokenizer = load_tokenizer(tmp_path)

    assert [len(tokenizer.encode(_text(0, count)).ids) for count in (3, 40)] == [3, 40]


@pytest.mark.parametrize(("window", "stride"), [(4, None), (4, 1), (4, 3), (7, 2), (50, None)], ids=str)
def test_every_token_but_the_first_is_predicted_once_by_what_is_before_it(
    words: "Tokenizer", window: int, stride: int | None
) -> None:
    made = text_task([_text(0, 12), _text(20, 3)], words, window, stride)

    ids, targets = np.asarray(made.task.inputs["input_ids"]), np.asarray(made.task.targets)
    counted = targets != IGNORED
    assert sorted(targets[counted].tolist()) == [*range(1, 12), 21, 22]
    np.testing.assert_array_equal(targets[counted], ids[counted] + 1)
    assert ids.shape[1] <= window
    assert counted.any(axis=1).all()
    first = np.flatnonzero(ids[:, 0] == 20)
    assert len(first) == 1  # no window holds two documents
    assert ids[first[0]].tolist() == [20, 21, *[0] * (ids.shape[1] - 2)]


def test_overlapping_windows_give_context(words: "Tokenizer") -> None:
    made = text_task([_text(0, 8)], words, window=4, stride=2)

    assert np.asarray(made.task.inputs["input_ids"]).tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 0]]
    assert np.asarray(made.task.targets).tolist() == [
        [1, 2, 3, 4],
        [IGNORED, IGNORED, 5, 6],
        [IGNORED, IGNORED, 7, IGNORED],
    ]


def test_documents_of_one_token_are_left_out_and_counted(words: "Tokenizer") -> None:
    made = text_task(["w1", _text(0, 3), "w2"], words, window=4)

    assert (len(made.task), made.task.document_count, made.short) == (1, 1, 2)
    with pytest.raises(DataError, match="no document of the text has two tokens"):
        text_task(["w1"], words, window=4)


def test_the_number_of_windows_can_be_bounded(words: "Tokenizer") -> None:
    documents = [_text(0, 10), _text(20, 10), _text(40, 10)]

    bounded = text_task(documents, words, window=4, most=4).task
    assert len(bounded) == 4
    assert np.asarray(bounded.documents).tolist() == [0, 0, 0, 1]
    each = text_task(documents, words, window=4, each=1)
    assert np.asarray(each.task.inputs["input_ids"])[:, 0].tolist() == [0, 20, 40]


@pytest.mark.parametrize(("window", "stride"), [(0, None), (4, 0), (4, 5)], ids=str)
def test_windows_that_make_no_sense_are_refused(words: "Tokenizer", window: int, stride: int | None) -> None:
    with pytest.raises(UsageError, match=r"--window must be at least 1 and --stride from 1 to it"):
        text_task([_text(0, 9)], words, window, stride)
