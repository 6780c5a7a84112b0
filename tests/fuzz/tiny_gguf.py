"""A decoder as a GGUF file of 60 KB."""

from pathlib import Path

import numpy as np

__all__ = ["write_tiny_gguf"]


def write_tiny_gguf(path: Path) -> None:
    """A Llama of 2 layers and random weights, its vocabulary of bytes and a few pairs of them."""
    import gguf

    width, inner, layers, heads, key_heads = 32, 64, 2, 4, 2
    marks = ["<|endoftext|>", "<|im_start|>"]
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]  # GPT-2's byte-level alphabet
    hidden = [byte for byte in range(256) if byte not in shown]
    letters = [chr(byte) for byte in shown] + [chr(256 + number) for number in range(len(hidden))]
    merges = ["Ġ t", "h e", "Ġt he", "i n", "1 2"]
    pieces = [*marks, *letters, *(merge.replace(" ", "") for merge in merges)]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_rope_freq_base(100_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(pieces)
    writer.add_token_types([3] * len(marks) + [1] * (len(pieces) - len(marks)))
    writer.add_token_merges(merges)
    rng = np.random.default_rng(7)
    keys = width // heads * key_heads
    shapes = {
        "attn_q": (width, width),
        "attn_k": (keys, width),
        "attn_v": (keys, width),
        "attn_output": (width, width),
        "ffn_gate": (inner, width),
        "ffn_up": (inner, width),
        "ffn_down": (width, inner),
    }
    kind = gguf.GGMLQuantizationType.Q4_1
    for layer in range(layers):
        for name, shape in shapes.items():
            stored = gguf.quantize(rng.normal(0, 0.3, shape).astype(np.float32), kind)
            writer.add_tensor(f"blk.{layer}.{name}.weight", stored, raw_dtype=kind)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", rng.uniform(0.5, 2, width).astype(np.float32))
    writer.add_tensor("output_norm.weight", rng.uniform(0.5, 2, width).astype(np.float32))
    writer.add_tensor("token_embd.weight", rng.normal(0, 0.5, (len(pieces), width)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
