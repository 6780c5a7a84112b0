"""stories260K: a decoder of 260,032 parameters that tells stories for children.

Of A. Karpathy's "tinyllamas" (MIT), trained on TinyStories (Eldan and Li, 2023); Llama-2's architecture in the format
of llama2.c: seven int32 (width, inner width, layers, heads, key heads, vocabulary, longest sequence), then float32
arrays in a fixed order. The output layer shares the embedding's weights.

A sample is a story: a paragraph that begins with "Once" or "One day" begins one, as the text holds no other border.
Paragraphs are joined by a single line break, as in the text that the network was trained on. A story begins with
index 1 and is cut at 512.
"""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lhc.errors import DataError, ModelError
from lhc.models.export import export_onnx
from lhc.models.tokens import byte_pair_tokenizer
from lhc.models.weights import Weights, WeightsEntry, load_weights
from lhc.models.zoo_entry import DATA_VARIABLE, data_file
from lhc.samples.metrics import IGNORED, get_metric
from lhc.samples.task import Task

if TYPE_CHECKING:
    import onnx
    from tokenizers import Tokenizer

    from lhc.models.llama import Llama

PIECES = ("models/stories260K_tok512.bin", "stories260K_tok512.bin")
TEXT = ("text/tinystories_200k.txt", "tinystories_200k.txt")
BEGIN, PADDING = 1, 0
LONGEST = 512
OPENINGS = ("Once", "One day")
_HEADER = struct.Struct("<7i")

Sizes = Mapping[str, int]


class Stories260k(WeightsEntry):
    """Decoder of five layers: 36 projections, and 10 products between activations that stay digital."""

    name: ClassVar[str] = "stories260k"
    description: ClassVar[str] = (
        f"stories260K, a Llama-style decoder on TinyStories, nats per token; weights and text by ${DATA_VARIABLE}"
    )
    max_drop: ClassVar[float] = 0.05
    weights: ClassVar[Path] = Path("models", "stories260K.bin")

    def exported(self, path: Path) -> "onnx.ModelProto":
        """With weights in llama2.c's format."""
        import torch

        example = torch.ones(2, 8, dtype=torch.long)
        return export_onnx(build(*read_llama(path)), {"input_ids": example}, ("logits",), {"input_ids": 1})

    def tokenizer(self) -> "Tokenizer":
        return byte_pair_tokenizer(data_file("vocabulary of stories260K", *PIECES))

    def task(self) -> Task:
        """The 254 stories of the text, judged by the negative log likelihood per token, in nats.

        Its exponential is the perplexity of a story; that of all tokens is the metric ``perplexity``.
        """
        return story_task(read_stories(data_file("text of TinyStories", *TEXT)), self.tokenizer(), LONGEST)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"input_ids": (1, LONGEST - 1)}


def read_llama(path: Path) -> tuple[Sizes, Weights]:
    """Sizes and weights from a file in llama2.c's format, under Hugging Face's names.

    Raises:
        ModelError: the file is something else, or cut off.
    """
    try:
        content = path.read_bytes()
        width, inner, layers, heads, key_heads, words, _ = _HEADER.unpack_from(content)
        numbers = np.frombuffer(content, "<f4", offset=_HEADER.size)
    except (OSError, ValueError, struct.error) as error:
        raise ModelError(f"{path}: not weights in llama2.c's format: {error}") from error
    sizes = {"width": width, "inner": inner, "layers": layers, "heads": heads, "key_heads": key_heads, "words": words}
    if min(sizes.values()) < 1 or width % heads or heads % key_heads:
        raise ModelError(f"{path}: not weights in llama2.c's format with a shared output layer: its sizes are {sizes}")
    keys = width // heads * key_heads
    shapes: dict[str, tuple[int, ...]] = {
        "embed_tokens": (words, width),
        "layers.{}.input_layernorm": (layers, width),
        "layers.{}.self_attn.q_proj": (layers, width, width),
        "layers.{}.self_attn.k_proj": (layers, keys, width),
        "layers.{}.self_attn.v_proj": (layers, keys, width),
        "layers.{}.self_attn.o_proj": (layers, width, width),
        "layers.{}.post_attention_layernorm": (layers, width),
        "layers.{}.mlp.gate_proj": (layers, inner, width),
        "layers.{}.mlp.down_proj": (layers, width, inner),
        "layers.{}.mlp.up_proj": (layers, inner, width),
        "norm": (width,),
    }
    needed = sum(map(math.prod, shapes.values()))
    if len(numbers) < needed:
        raise ModelError(f"{path}: cut off: its sizes {sizes} take {needed} numbers, it holds {len(numbers)}")
    weights, at = {}, 0
    for name, shape in shapes.items():
        array = numbers[at : at + math.prod(shape)].reshape(shape)
        at += array.size
        for layer in range(layers) if "{}" in name else (None,):
            weights[f"{name.format(layer)}.weight"] = array if layer is None else array[layer]
    weights["lm_head.weight"] = weights["embed_tokens.weight"]
    return sizes, weights


def build(sizes: Sizes, weights: Weights) -> "Llama":
    """The decoder in evaluation mode."""
    from lhc.models.llama import Llama

    network = Llama(**sizes)
    load_weights(network, weights, "stories260k", "the weights")
    return network.eval()


def read_stories(path: Path) -> list[str]:
    """Stories of a text, as the module says.

    Raises:
        DataError: the text cannot be read or is empty.
    """
    try:
        paragraphs = [part.strip() for part in path.read_text(encoding="utf-8").split("\n\n") if part.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text: {error}") from error
    stories: list[list[str]] = []
    for paragraph in paragraphs:
        if not stories or paragraph.startswith(OPENINGS):
            stories.append([])
        stories[-1].append(paragraph)
    if not stories:
        raise DataError(f"{path}: holds no story")
    return ["\n".join(story) for story in stories]


def story_task(stories: list[str], tokenizer: "Tokenizer", longest: int) -> Task:
    """Stories as samples; the target at a position is the next index.

    Args:
        stories: at least one, each of at least one character.
        tokenizer: takes a text with a space before it.
        longest: indices of a story, the first included.

    Returns:
        Input ``input_ids`` and targets, ``(stories, sequence)``; behind the end 0 and `lhc.samples.metrics.IGNORED`.
    """
    codes = [[BEGIN, *code.ids][:longest] for code in tokenizer.encode_batch([f" {story}" for story in stories])]
    length = max(map(len, codes)) - 1
    ids = np.full((len(codes), length), PADDING, np.int64)
    targets = np.full((len(codes), length), IGNORED, np.int64)
    for row, code in enumerate(codes):
        ids[row, : len(code) - 1] = code[:-1]
        targets[row, : len(code) - 1] = code[1:]
    return Task({"input_ids": ids}, targets, get_metric("nll"))
