"""GGUF files: the decoder against the one in PyTorch, the tokenizer, and what is refused."""

import shutil
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from lhc import HybridSession
from lhc.errors import DataError, ModelError
from lhc.models.decoder import write_decoder
from lhc.models.gguf_file import gguf_decoder, gguf_tokenizer
from lhc.onnx_io import load_model

gguf = pytest.importorskip("gguf", reason="the files are written by gguf")


def _changed(tiny: Path, path: Path, before: bytes, after: bytes) -> Path:
    assert len(before) == len(after)
    content = tiny.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after, 1))
    return path


def test_the_decoder_turns_neighbours_as_the_file_means_it(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    llama = pytest.importorskip("lhc.models.llama")
    monkeypatch.setattr(llama, "THETA", 100_000.0)
    stored = {
        tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type) for tensor in gguf.GGUFReader(tiny_gguf).tensors
    }
    words, width = stored["token_embd.weight"].shape
    theirs = llama.Llama(words, width, layers=2, heads=4, key_heads=2, inner=64)
    names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_output": "self_attn.o_proj"}
    names |= {f"attn_{one}": f"self_attn.{one}_proj" for one in "qkv"}
    names |= {f"ffn_{one}": f"mlp.{one}_proj" for one in ("gate", "up", "down")}
    state = {"norm.weight": "output_norm.weight", "lm_head.weight": "token_embd.weight"}
    state |= {f"layers.{n}.{name}.weight": f"blk.{n}.{own}.weight" for n in (0, 1) for own, name in names.items()}
    theirs.load_state_dict({name: torch.from_numpy(stored[own].copy()) for name, own in state.items()}, strict=False)
    write_decoder(*gguf_decoder(tiny_gguf), tmp_path / "tiny.onnx")
    ids = np.random.default_rng(0).integers(1, words, (3, 9))

    (logits,) = HybridSession(tmp_path / "tiny.onnx").run(None, {"input_ids": ids})

    with torch.no_grad():
        expected = theirs(torch.from_numpy(ids)).numpy()
    np.testing.assert_allclose(logits, expected, atol=2e-5 * np.abs(expected).max())  # float32, two orders of sums


def test_what_fills_up_changes_nothing_before_it(tiny_gguf: Path, tmp_path: Path) -> None:
    write_decoder(*gguf_decoder(tiny_gguf), tmp_path / "tiny.onnx")
    session = HybridSession(tmp_path / "tiny.onnx")

    (whole,) = session.run(None, {"input_ids": np.array([[5, 9, 7]])})
    (filled,) = session.run(None, {"input_ids": np.array([[5, 9, 7, 0, 0]])})

    np.testing.assert_allclose(filled[:, :3], whole, rtol=1e-5, atol=1e-5)


def test_weights_lie_beside_the_model_and_the_head_shares_the_embedding(tiny_gguf: Path, tmp_path: Path) -> None:
    write_decoder(*gguf_decoder(tiny_gguf), tmp_path / "tiny.onnx")

    model = load_model(tmp_path / "tiny.onnx")

    names = [tensor.name for tensor in model.external]
    assert len(names) == 2 * 9 + 2
    assert sum("embed" in name or "head" in name for name in names) == 1
    assert (tmp_path / "tiny.onnx").stat().st_size < 40_000


def test_digits_stand_alone_words_merge_and_marks_are_one_token(tiny_gguf: Path) -> None:
    tokenizer = gguf_tokenizer(tiny_gguf)

    found = tokenizer.encode("in the 12é<|im_start|>")

    assert found.tokens == ["in", "Ġthe", "Ġ", "1", "2", "Ã", "©", "<|im_start|>"]  # 12 would be a piece
    assert tokenizer.decode(found.ids) == "in the 12é"


def test_other_architectures_and_vocabularies_are_refused(tiny_gguf: Path, tmp_path: Path) -> None:
    other = _changed(tiny_gguf, tmp_path / "other.gguf", b"llama", b"gemma")
    with pytest.raises(ModelError, match=r"other\.gguf: its architecture is 'gemma'; lhc reads GGUF files of 'llama'"):
        gguf_decoder(other)

    split = _changed(tiny_gguf, tmp_path / "split.gguf", b"smollm", b"magpie")
    with pytest.raises(DataError, match=r"split\.gguf: .*'magpie'; lhc reads .*--tokenizer"):
        gguf_tokenizer(split)


def test_weights_that_are_unknown_or_missing_are_named(tiny_gguf: Path, tmp_path: Path) -> None:
    changed = _changed(tiny_gguf, tmp_path / "changed.gguf", b"blk.1.ffn_up", b"blk.1.ffn_xx")

    with pytest.raises(ModelError, match=r"changed\.gguf: not a decoder that lhc reads: it has weights blk\.1\.ffn_xx"):
        gguf_decoder(changed)


@pytest.mark.parametrize("size", [0, 3, 100, 5000], ids=str)
def test_a_file_that_is_cut_off_is_refused(tiny_gguf: Path, tmp_path: Path, size: int) -> None:
    shutil.copy(tiny_gguf, tmp_path / "cut.gguf")
    with (tmp_path / "cut.gguf").open("r+b") as file:
        file.truncate(size)

    with pytest.raises(ModelError, match=r"cut\.gguf: not a GGUF file, or a truncated one"):
        gguf_decoder(tmp_path / "cut.gguf")


@pytest.mark.parametrize("nested", [False, True], ids=["2^40 values", "arrays in arrays"])
def test_a_file_that_claims_more_than_it_holds_is_refused_at_once(tmp_path: Path, nested: bool) -> None:
    uint8, array, path = 0, 9, tmp_path / "forged.gguf"
    header = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q1sI", 1, b"k", array)
    values = struct.pack("<IQ", array, 1) * 5000 if nested else struct.pack("<IQ", uint8, 2**40)
    path.write_bytes(header + values)

    began = time.process_time()
    with pytest.raises(ModelError, match=r"forged\.gguf: not a GGUF file, or a truncated one"):
        gguf_decoder(path)
    assert time.process_time() - began < 5


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.gguf: no such file of weights"):
        gguf_decoder(tmp_path / "none.gguf")
