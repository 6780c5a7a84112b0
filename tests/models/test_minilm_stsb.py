"""Pairs of sentences: how they are read and cut, and what WordPiece makes of a text."""

import sys
from pathlib import Path

import numpy as np
import pytest

from lhc.errors import DataError, MissingDependencyError
from lhc.models import tokens
from lhc.models.minilm import pair_task, read_pairs
from lhc.models.tokens import word_piece_tokenizer

pytest.importorskip("tokenizers", reason="sentences are cut into pieces by tokenizers")

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "a", "man", ",", "plays"]


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Unaffable", ["un", "##aff", "##able"]),
        ("A  man,plays", ["a", "man", ",", "plays"]),
        ("À man", ["a", "man"]),
        ("plays xyz", ["plays", "[UNK]"]),
    ],
    ids=["longest pieces first", "punctuation", "accents", "unknown"],
)
def test_word_pieces(vocabulary: Path, text: str, pieces: list[str]) -> None:
    assert word_piece_tokenizer(vocabulary).encode(text).tokens == pieces


def test_pairs_become_two_rows_of_one_length(vocabulary: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text('"A man, plays",man,4.2\nun,a man plays a man,0\nman,man,5\n', encoding="utf-8")

    task = pair_task(read_pairs(file), word_piece_tokenizer(vocabulary), longest=5)

    ids, mask = np.asarray(task.inputs["input_ids"]), np.asarray(task.inputs["attention_mask"])
    assert ids.shape == mask.shape == (3, 2, 5)
    assert [PIECES[i] for i in ids[0, 0]] == ["[CLS]", "a", "man", ",", "[SEP]"]  # cut
    assert [PIECES[i] for i in ids[0, 1]] == ["[CLS]", "man", "[SEP]", "[PAD]", "[PAD]"]
    assert mask[0].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert np.asarray(task.targets).tolist() == [4.2, 0, 5]
    assert task.metric.name == "spearman"


@pytest.mark.parametrize("content", ["", "a,b\n", "a,b,much\n"], ids=["empty", "two columns", "no number"])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "pairs.csv").write_text(content, encoding="utf-8")

    with pytest.raises(DataError, match=r"pairs\.csv: "):
        read_pairs(tmp_path / "pairs.csv")


def test_a_vocabulary_without_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\n", encoding="utf-8")

    with pytest.raises(DataError, match=r"not a vocabulary of BERT: it lacks \[UNK\], \[CLS\], \[SEP\]"):
        word_piece_tokenizer(tmp_path / "vocab.txt")


def test_without_the_library_the_message_names_the_extra(vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)

    with pytest.raises(MissingDependencyError, match=r"need the package tokenizers: .*pip install '\.\[text\]'"):
        tokens.word_piece_tokenizer(vocabulary)
