"""Tokenizers of the zoo's language models, by the library ``tokenizers``."""

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from lhc.errors import DataError
from lhc.models.gguf_file import gguf_tokenizer
from lhc.models.zoo_entry import data_file, require

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCABULARY = "models/bert_uncased_vocab.txt"
"""Below the folder that ``LHC_DATA`` names: one piece a line, 30,522 of them."""
_BYTES = range(3, 259)
"""Indices of the pieces that stand for single bytes, behind ``<unk>``, begin and end of text."""
_MOST_PIECES = 2**20
_NEEDED = "the zoo's language models need the package tokenizers"


def word_piece_tokenizer(vocabulary: Path | None = None) -> "Tokenizer":
    """WordPiece for lower-cased English as BERT has it; it puts no ``[CLS]`` and ``[SEP]`` around a text.

    Args:
        vocabulary: None takes that in the folder that ``LHC_DATA`` names.

    Raises:
        DataError: the vocabulary is not found or cannot be read.
        MissingDependencyError: ``tokenizers`` is not installed.
    """
    path = vocabulary or data_file("vocabulary of BERT (uncased)", VOCABULARY)
    require(_NEEDED, "tokenizers", extra="text")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    try:
        pieces = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a vocabulary: {error}") from error
    numbers = {piece: number for number, piece in enumerate(pieces)}
    missing = [piece for piece in ("[UNK]", "[CLS]", "[SEP]") if piece not in numbers]
    if missing:
        raise DataError(f"{path}: not a vocabulary of BERT: it lacks {', '.join(missing)}")
    tokenizer = Tokenizer(models.WordPiece(vocab=numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def load_tokenizer(path: Path) -> "Tokenizer":
    """A tokenizer from a file of the library's own (``tokenizer.json``), a folder that holds one, or a GGUF file.

    It cuts no text and fills none up, though the file may say so: lhc cuts windows itself, and fillings are no text.

    Raises:
        DataError: there is none, or it cannot be read.
        ModelError: a GGUF file that cannot be read.
        MissingDependencyError: ``tokenizers``, or ``gguf``, is not installed.
    """
    if path.suffix == ".gguf":
        return gguf_tokenizer(path)
    require("--tokenizer needs the package tokenizers", "tokenizers", extra="text")
    from tokenizers import Tokenizer

    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        tokenizer = Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises plain ones
        raise DataError(f"{file}: not a tokenizer.json: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def edge_marks(tokenizer: "Tokenizer") -> tuple[int, int]:
    """Indices of ``[CLS]`` and ``[SEP]``, which begin and end a text.

    Raises:
        DataError: the vocabulary lacks one.
    """
    cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    if cls is None or sep is None:
        raise DataError("the tokenizer is not one of BERT: its vocabulary lacks [CLS] or [SEP]")
    return cls, sep


def byte_pair_tokenizer(path: Path) -> "Tokenizer":
    """Byte-pair encoding of a text as one word, from a vocabulary with scores (llama2.c's ``tokenizer.bin``).

    Two neighbours are merged while their union is a piece, that of the highest score first. The scores become the
    order of merges: every way to split a piece into two pieces is a merge of its rank. A character without a piece
    becomes its UTF-8 bytes.

    Raises:
        DataError: the file cannot be read.
        MissingDependencyError: ``tokenizers`` is not installed.
    """
    scored = read_pieces(path)
    require(_NEEDED, "tokenizers", extra="text")
    from tokenizers import Tokenizer, models

    numbers = {piece: number for number, (piece, _) in enumerate(scored)}
    ranked = sorted(numbers, key=lambda piece: -scored[numbers[piece]][1])
    merged = [piece for piece in ranked if numbers[piece] not in _BYTES]
    splits = [(piece[:at], piece[at:]) for piece in merged for at in range(1, len(piece))]
    merges = [(left, right) for left, right in splits if left in numbers and right in numbers]
    return Tokenizer(models.BPE(vocab=numbers, merges=merges, byte_fallback=True, unk_token=scored[0][0]))


def read_pieces(path: Path) -> list[tuple[str, float]]:
    """Pieces and their scores: int32 greatest length, then for each float32 score, int32 length, UTF-8 bytes.

    Raises:
        DataError: the file is cut off, or holds something else.
    """
    try:
        content = path.read_bytes()
        pieces: list[tuple[str, float]] = []
        at = 4
        while at < len(content) and len(pieces) < _MOST_PIECES:
            score, length = struct.unpack_from("<fi", content, at)
            if length < 1 or at + 8 + length > len(content):
                raise DataError(f"{path}: not a vocabulary with scores: piece {len(pieces)} is cut off")
            pieces.append((content[at + 8 : at + 8 + length].decode(), score))
            at += 8 + length
    except (OSError, UnicodeDecodeError, struct.error) as error:
        raise DataError(f"{path}: not a vocabulary with scores: {error}") from error
    if len(pieces) <= _BYTES.stop:
        raise DataError(f"{path}: not a vocabulary with scores: {len(pieces)} pieces are fewer than bytes")
    return pieces
