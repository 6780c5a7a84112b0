"""Extractive question answering: how samples are cut, how answers are found, and the official scores."""

import json
import lzma
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from lhc import Task
from lhc.errors import DataError
from lhc.models.squad import (
    ANSWER_PIECES,
    QUESTION_PIECES,
    Question,
    answers,
    exact_match,
    f1,
    read_questions,
    span_task,
)
from lhc.models.tokens import word_piece_tokenizer

pytest.importorskip("tokenizers", reason="questions are cut into pieces by tokenizers")

needs_data = pytest.mark.skipif("LHC_DATA" not in os.environ, reason="LHC_DATA names no folder of data sets")
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "tower", "is", "red", "who", "?", ".", "##s", "of", "stone", "a"]
TOWER = Question("Who is the tower?", "The Tower is of red stones. A tower.", ("red stones", "the Stones"), "Towers")


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return path


def _logits(task: Task, *spans: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Logits that point at these first and last pieces."""
    shape = task.inputs["input_ids"].shape
    logits = np.zeros((shape[0], 2, shape[1]), np.float32)
    for row, (first, last) in enumerate(spans):
        logits[row, 0, first], logits[row, 1, last] = 5, 5
    return logits


def test_a_sample_is_question_and_paragraph_with_segments_and_padding(vocabulary: Path) -> None:
    task = span_task([TOWER, Question("Red?", "Stone.", ("Stone",), "Towers")], word_piece_tokenizer(vocabulary), 64)

    ids, mask, segments = (np.asarray(task.inputs[n]) for n in ("input_ids", "attention_mask", "token_type_ids"))
    second = [PIECES[i] for i in ids[1][mask[1] == 1]]
    assert second == ["[CLS]", "red", "?", "[SEP]", "stone", ".", "[SEP]"]
    assert segments[1][:8].tolist() == [0, 0, 0, 0, 1, 1, 1, 0]
    assert not ids[1][mask[1] == 0].any()
    assert mask[0].all()
    assert ids.shape[1] == 5 + 11 + 3  # the longer one: pieces of the question, of the paragraph, three marks


def test_questions_about_a_paragraph_are_one_document(vocabulary: Path) -> None:
    other = Question("Red?", "Stone.", ("Stone",), "Towers")
    task = span_task([TOWER, other, TOWER], word_piece_tokenizer(vocabulary), 64)
    assert task.documents is not None
    assert task.documents[0] == task.documents[2] != task.documents[1]


def test_a_paragraph_is_cut_where_the_whole_exceeds_the_longest_sequence(vocabulary: Path) -> None:
    long = Question(" ".join(["who"] * 60), " ".join(["stone"] * 60), ("stone",), "Towers")

    task = span_task([long], word_piece_tokenizer(vocabulary), 64)

    ids = np.asarray(task.inputs["input_ids"])[0]
    assert len(ids) == 64
    assert (ids == PIECES.index("who")).sum() == QUESTION_PIECES
    assert ids[-1] == PIECES.index("[SEP]")


@pytest.mark.parametrize(
    ("span", "answer", "exact", "score"),
    [
        ((11, 13), "red stones", 1.0, 1.0),
        ((12, 13), "stones", 1.0, 1.0),  # articles do not count, and the best reference does
        ((10, 13), "of red stones", 0.0, 0.8),  # 2 · (2/3) · 1 / (2/3 + 1)
        ((7, 8), "The Tower", 0.0, 0.0),
    ],
    ids=["equal", "article", "one word more", "another"],
)
def test_scores_of_an_answer(vocabulary: Path, span: tuple[int, int], answer: str, exact: float, score: float) -> None:
    task = span_task([TOWER], word_piece_tokenizer(vocabulary), 64)
    targets = np.asarray(task.targets)
    logits = _logits(task, span)

    assert answers(logits, targets) == [answer]
    assert exact_match(logits, targets).tolist() == [exact]
    assert f1(logits, targets).tolist() == [pytest.approx(score)]


def test_an_answer_lies_in_the_paragraph_forward_and_is_short_enough(vocabulary: Path) -> None:
    long = Question("who?", " ".join(["stone"] * 60), ("stone",), "Towers")
    task = span_task([TOWER, TOWER, long], word_piece_tokenizer(vocabulary), 128)
    logits = _logits(task, (1, 2), (13, 11), (4, 63))  # in the question; end before start; 60 pieces

    found = answers(logits, np.asarray(task.targets))

    assert found[0] in TOWER.paragraph
    assert found[1] == "The Tower is of red"  # the first of those that are as good without going backwards
    assert 1 <= len(found[2].split()) <= ANSWER_PIECES


def test_the_best_span_is_that_of_trying_all(vocabulary: Path) -> None:
    task = span_task([TOWER] * 20, word_piece_tokenizer(vocabulary), 64)
    targets = np.asarray(task.targets)
    logits = np.random.default_rng(0).normal(size=(20, 2, task.inputs["input_ids"].shape[1])).astype(np.float32)
    offsets = targets["offsets"][0]
    inside = np.flatnonzero(offsets[:, 0] >= 0)

    expected = []
    for start, end in logits:
        spans = [(start[a] + end[b], a, b) for a in inside for b in inside if 0 <= b - a < ANSWER_PIECES]
        _, a, b = max(spans)
        expected.append(TOWER.paragraph[offsets[a, 0] : offsets[b, 1]])

    assert answers(logits, targets) == expected


def test_other_outputs_and_targets_are_refused(vocabulary: Path) -> None:
    task = span_task([TOWER], word_piece_tokenizer(vocabulary), 64)

    with pytest.raises(DataError, match=r"output has shape \(1, 3\).*logits of start and end, \(1, 2, 19\)"):
        f1(np.zeros((1, 3)), np.asarray(task.targets))
    with pytest.raises(DataError, match=r"need the targets that lhc\.models\.squad makes, not float64"):
        f1(np.zeros((1, 2, 19)), np.zeros(1))  # type: ignore[arg-type]


def test_a_file_is_read_plain_and_compressed_and_refused_by_name(tmp_path: Path) -> None:
    questions = [{"question": "Who?", "answers": [{"text": "I"}, {"text": "me"}]}]
    content = json.dumps({"data": [{"title": "T", "paragraphs": [{"context": "I am.", "qas": questions}]}]})
    (tmp_path / "dev.json").write_text(content, encoding="utf-8")
    with lzma.open(tmp_path / "dev.json.xz", "wt", encoding="utf-8") as file:
        file.write(content)

    expected = [Question("Who?", "I am.", ("I", "me"), "T")]
    assert read_questions(tmp_path / "dev.json") == expected
    assert read_questions(tmp_path / "dev.json.xz") == expected
    for wrong in ("[]", '{"data": [{}]}', "{"):
        (tmp_path / "wrong.json").write_text(wrong, encoding="utf-8")
        with pytest.raises(DataError, match=r"wrong\.json: not questions of SQuAD v1\.1"):
            read_questions(tmp_path / "wrong.json")


@needs_data
def test_the_development_set_has_all_its_questions(lhc_data: Path) -> None:
    questions = read_questions()

    assert len(questions) == 10_570
    assert len({question.article for question in questions}) == 48
    assert all(question.references for question in questions)
