"""MACs of attention: projections by stored weights, and products of two activations.

Scores (queries by keys) and values (probabilities by values) are counted in full: a mask, causal or not, saves nothing.
Past keys and values count as many as the past tensor has room for.
"""

import math
from collections.abc import Iterator

from lhc.onnx_io.operators.mac_counting import Counter
from lhc.onnx_io.operators.matrix_product import Unsized
from lhc.onnx_io.operators.operands import Operands, Part


def attend(sequences: int, queries: int, keys: int, hidden: int, value_hidden: int, heads: int) -> Iterator[Part]:
    """Scores and values of all heads.

    Args:
        keys: tokens that each of them attends to.
        hidden: features of a query, of all heads together.
        value_hidden: features of what a query gets, of all heads together.
    """
    heads = max(heads, 1)
    yield Part(hidden // heads, keys, sequences * queries, None, heads)
    yield Part(keys, value_hidden // heads, sequences * queries, None, heads)


def projected(*weights: int, past: int | None = None, batch: int | None = None) -> Counter:
    """MACs of attention with its projections inside.

    Args:
        weights: inputs that hold them, Q, K and V side by side in one or one each.
        past: input with past keys and values (2, sequences, heads, tokens, head size).
        batch: input with shape (sequences, tokens), where the first one has them packed.
    """

    def count(o: Operands) -> Iterator[Part]:
        *outer, rows = o.shape(0)
        for weight in weights:
            yield Part(rows, o.size(weight) // rows, math.prod(outer), weight)
        sequences, tokens = o.shape(batch) if batch is not None else outer
        earlier = o.shape(past)[3] if past is not None and o.has(past) else 0
        third = sum(o.size(weight) for weight in weights) // rows // 3
        hidden, _, value_hidden = o.integers("qkv_hidden_sizes") or (third, third, third)
        yield from attend(sequences, tokens, tokens + earlier, hidden, value_hidden, o.integer("num_heads", 1))

    return count


def decoder(o: Operands) -> Iterator[Part]:
    """MACs of DecoderAttention: query (tokens, sequences, hidden), keys (all tokens, sequences, hidden)."""
    (tokens, sequences, hidden), (every, _, _) = o.shape(0), o.shape(1)
    yield Part(hidden, hidden, tokens * sequences, 2)
    yield Part(hidden, 2 * hidden, every * sequences, 3)
    yield from attend(sequences, tokens, every, hidden, hidden, o.integer("num_heads", 1))


def longformer(weight: int, everywhere: int) -> Counter:
    """MACs of windowed attention; weights for global tokens count as if every token were one."""

    def count(o: Operands) -> Iterator[Part]:
        sequences, tokens, hidden = o.shape(0)
        for index in (weight, everywhere):
            yield Part(hidden, o.size(index) // hidden, sequences * tokens, index)
        keys = min(2 * o.integer("window") + 1, tokens)
        yield from attend(sequences, tokens, keys, hidden, hidden, o.integer("num_heads", 1))

    return count


def multi_head(o: Operands) -> Iterator[Part]:
    """MACs of MultiHeadAttention and the like.

    Query (sequences, tokens, hidden) or with keys and values in it (…, heads, 3, size); keys (…, hidden), with values
    in them (…, heads, 2, size), or (sequences, heads, tokens, size); past keys (sequences, heads, tokens, size).
    """
    masked = o.node.op_type == "DecoderMaskedMultiHeadAttention"
    query, heads = o.shape(0), o.integer("num_heads", 1)
    sequences, tokens = query[:2]
    past = o.shape(5 if masked else 6)[2] if o.has(5 if masked else 6) else 0
    if not o.has(1):
        hidden = query[2] * query[4] if len(query) == 5 else query[2] // 3
        keys, value_hidden = tokens, hidden
    else:
        key = o.shape(1)
        hidden, keys = query[2], key[2] if len(key) == 4 else key[1]
        value_hidden = hidden
        if o.has(2):
            value = o.shape(2)
            value_hidden = value[1] * value[3] if len(value) == 4 else value[2]
    yield from attend(sequences, tokens, keys + past, hidden, value_hidden, heads)


def packed(o: Operands) -> Iterator[Part]:
    """MACs of PackedMultiHeadAttention: sequences and longest length from the offsets (sequences, tokens)."""
    query, (sequences, tokens) = o.shape(0), o.shape(4)
    hidden = query[1] if len(query) == 2 else query[1] * query[3]
    value_hidden = o.shape(2)[1] if o.has(2) else hidden
    yield from attend(sequences, tokens, tokens, hidden, value_hidden, o.integer("num_heads", 1))


def grouped(o: Operands) -> Iterator[Part]:
    """MACs of GroupQueryAttention: query (sequences, tokens, hidden), or packed with keys and values."""
    (sequences, tokens, width), heads = o.shape(0), o.integer("num_heads", 1)
    size = width // heads if o.has(1) else width // (heads + 2 * o.integer("kv_num_heads", heads))
    past = o.shape(3)[2] if o.has(3) else 0
    yield from attend(sequences, tokens, tokens + past, heads * size, heads * size, heads)


def standard(o: Operands) -> Iterator[Part]:
    """MACs of Attention and FlexAttention: (sequences, heads, tokens, size) or (sequences, tokens, hidden)."""
    query, key, value = o.shape(0), o.shape(1), o.shape(2)
    past = o.shape(4)[2] if o.node.op_type == "Attention" and o.has(4) else 0
    if len(query) == 4:
        sequences, heads, tokens, size = query
        yield from attend(sequences, tokens, key[2] + past, heads * size, heads * value[3], heads)
        return
    heads, key_heads = o.integer("q_num_heads", 1), o.integer("kv_num_heads", 1)
    sequences, tokens, hidden = query
    yield from attend(sequences, tokens, key[1] + past, hidden, value[2] // key_heads * heads, heads)


def linear(o: Operands) -> Iterator[Part]:
    """MACs of LinearAttention and GatedDeltaNet: each token writes and reads a state (key, value) of every head.

    A delta rule reads it once more. GatedDeltaNet has its heads in an axis, LinearAttention in attributes.
    """
    query = o.shape(0)
    if not o.has(1):
        raise Unsized(query)
    key, value = o.shape(1), o.shape(2)
    if o.node.op_type == "GatedDeltaNet":
        tokens, (read, write) = query[0], (query[1], value[1])
        key_size, value_size = key[2], value[2]
    else:
        tokens, (read, write) = query[0] * query[1], (o.integer("q_num_heads", 1), o.integer("kv_num_heads", 1))
        key_size, value_size = key[2] // write, value[2] // write
    again = o.text("update_rule", "gated_delta").endswith("delta")
    yield Part(key_size, value_size, tokens, None, write * (2 if again else 1))
    yield Part(key_size, value_size, tokens, None, max(read, write))


def gate(o: Operands) -> Iterator[Part]:
    """MACs of EngramGate: a key by a query of every stream."""
    *outer, hidden = o.shape(0)
    yield Part(hidden, 1, math.prod(outer), None)


def mixed_streams(o: Operands) -> Iterator[Part]:
    """MACs of HyperConnectionPostMix: the streams by a matrix (streams, streams), where one is given."""
    if o.has(3):
        streams = o.shape(3)[-1]
        yield Part(streams, o.size(0) // streams, streams, 3 if o.is_stored(3) else None, parameters=o.size(3))
