"""Decoders in GGUF files, read by the package ``gguf``: sizes, weights as float32, and the tokenizer.

Quantised weights are dequantised; what lhc calls the digital network is that network. GGUF stores the rows of query and
key projections so that rotary positions turn neighbours ``(2i, 2i + 1)``; here they turn ``(i, i + size / 2)``, as in
Hugging Face's files, so these rows are put back. Weights are read one at a time: the file is mapped into memory.

Read is the architecture ``llama`` with ordinary rotary positions, and byte-level byte-pair vocabularies.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lhc.errors import DataError, ModelError
from lhc.models.decoder import DecoderSizes, WeightSource
from lhc.models.zoo_entry import require
from lhc.samples.metrics import Array

if TYPE_CHECKING:
    from gguf import GGUFReader
    from tokenizers import Tokenizer

_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""GGUF's names of the weights of a layer, and Hugging Face's."""
_DIGITS = {"smollm": True, "gpt-2": False}
"""Whether a vocabulary, by ``tokenizer.ggml.pre``, has every digit apart."""
_CONTROL = 3
"""``tokenizer.ggml.token_type`` of a token that stands for no text."""


@dataclass(frozen=True)
class _Content:
    """A GGUF file that is open."""

    path: Path
    reader: "GGUFReader"

    def field(self, key: str, default: object = None) -> Any:  # noqa: ANN401  # what a file holds under a key
        """A value of the file's own description.

        Raises:
            ModelError: it is not there, and there is no default.
        """
        found = self.reader.get_field(key)
        if found is not None:
            return found.contents()
        if default is None:
            raise ModelError(f"{self.path}: not a decoder that lhc reads: it does not say {key}")
        return default


@contextmanager
def _opened(path: Path) -> Iterator[_Content]:
    require(f"reading {path} needs the package gguf", "gguf", extra="llm")
    from gguf import GGUFReader

    class BoundedReader(GGUFReader):
        """One that reads nothing behind the end of a file, where an array may claim to have 2^60 values."""

        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:  # noqa: ANN401
            if int(offset) + int(count) * np.dtype(dtype).itemsize > len(self.data):
                raise ValueError("it says that it holds more than it does")
            return super()._get(offset, dtype, count, override_order)

    if not path.is_file():
        raise ModelError(f"{path}: no such file of weights")
    try:
        yield _Content(path, BoundedReader(path))
    except (ValueError, IndexError, KeyError, OSError, UnicodeDecodeError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path}: not a GGUF file, or a truncated one: {error}") from error


def gguf_decoder(path: Path) -> tuple[DecoderSizes, WeightSource]:
    """Sizes of a decoder, and its weights under Hugging Face's names, read when they are asked for.

    Raises:
        ModelError: the file is something else, or of an architecture that is not read.
        MissingDependencyError: ``gguf`` is not installed.
    """
    with _opened(path) as content:
        sizes = _sizes(content)
        tensors = {tensor.name: tensor for tensor in content.reader.tensors}
    layer_names = {f"blk.{n}.{key}.weight": f"layers.{n}.{_NAMES[key]}" for n in range(sizes.layers) for key in _NAMES}
    names = {"token_embd.weight": "embed_tokens", "output_norm.weight": "norm", "output.weight": "lm_head"}
    unknown = sorted(set(tensors) - set(layer_names) - set(names))
    if unknown:
        raise ModelError(f"{path}: not a decoder that lhc reads: it has weights {', '.join(unknown[:3])}")
    weights: dict[str, Callable[[], Array]] = {}
    for key, name in (names | layer_names).items():
        if key not in tensors:
            if name != "lm_head":
                raise ModelError(f"{path}: weights {key} are missing")
            continue
        heads = {"q_proj": sizes.heads, "k_proj": sizes.key_heads}.get(name.rpartition(".")[2], 0)
        weights[name] = _dequantised(tensors[key], heads)
    return sizes, weights


def _dequantised(tensor: Any, heads: int) -> Callable[[], Array]:  # noqa: ANN401  # gguf's own type
    def read() -> Array:
        from gguf import dequantize

        array = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
        if not heads:
            return array
        turned = array.reshape(heads, -1, 2, array.shape[-1]).swapaxes(1, 2)
        return turned.reshape(array.shape)

    return read


def _sizes(content: _Content) -> DecoderSizes:
    kind = content.field("general.architecture")
    if kind != "llama":
        raise ModelError(f"{content.path}: its architecture is {kind!r}; lhc reads GGUF files of 'llama'")
    scaling = content.field("llama.rope.scaling.type", "none")
    if scaling != "none":
        raise ModelError(f"{content.path}: its rotary positions are scaled ({scaling}), which lhc does not read")
    heads = int(content.field("llama.attention.head_count"))
    sizes = DecoderSizes(
        words=len(content.field("tokenizer.ggml.tokens")),
        width=int(content.field("llama.embedding_length")),
        layers=int(content.field("llama.block_count")),
        heads=heads,
        key_heads=int(content.field("llama.attention.head_count_kv", heads)),
        inner=int(content.field("llama.feed_forward_length")),
        theta=float(content.field("llama.rope.freq_base", 10_000.0)),
        epsilon=float(content.field("llama.attention.layer_norm_rms_epsilon")),
    )
    turned = int(content.field("llama.rope.dimension_count", sizes.head_size))
    if turned != sizes.head_size:
        raise ModelError(f"{content.path}: rotary positions turn {turned} of {sizes.head_size} numbers of a head")
    return sizes


def gguf_tokenizer(path: Path) -> "Tokenizer":
    """The tokenizer of a GGUF file: byte-level byte pairs by its own vocabulary and merges. It adds no marks.

    Raises:
        DataError: a vocabulary of another kind.
        ModelError: the file cannot be read.
        MissingDependencyError: ``gguf`` or ``tokenizers`` is not installed.
    """
    require("the tokenizer of a GGUF file needs the package tokenizers", "tokenizers", extra="llm")
    with _opened(path) as content:
        kind, split = content.field("tokenizer.ggml.model"), content.field("tokenizer.ggml.pre", "unknown")
        if kind != "gpt2" or split not in _DIGITS:
            raise DataError(
                f"{path}: its vocabulary is {kind!r} with words split as {split!r}; lhc reads 'gpt2' with"
                f" {' or '.join(map(repr, _DIGITS))}: give the network's tokenizer.json with --tokenizer"
            )
        pieces, merges = content.field("tokenizer.ggml.tokens"), content.field("tokenizer.ggml.merges")
        kinds = content.field("tokenizer.ggml.token_type")
    return _byte_level(pieces, merges, [p for p, k in zip(pieces, kinds, strict=True) if k == _CONTROL], _DIGITS[split])


def _byte_level(pieces: list[str], merges: list[str], marks: list[str], digits: bool) -> "Tokenizer":
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    numbers: Mapping[str, int] = {piece: number for number, piece in enumerate(pieces)}
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocab=dict(numbers), merges=pairs))
    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    alone = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*alone, bytewise])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    return tokenizer
