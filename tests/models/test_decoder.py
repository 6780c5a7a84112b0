"""A decoder written as ONNX: weights of its own head, and sizes and weights that do not fit."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lhc import HybridSession
from lhc.errors import ModelError
from lhc.models.decoder import DecoderSizes, write_decoder
from lhc.samples.metrics import Array

SIZES = DecoderSizes(words=11, width=8, layers=1, heads=2, key_heads=1, inner=6)


def _arrays() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embed_tokens": (11, 8),
        "norm": (8,),
        "layers.0.input_layernorm": (8,),
        "layers.0.post_attention_layernorm": (8,),
        "layers.0.self_attn.q_proj": (8, 8),
        "layers.0.self_attn.k_proj": (4, 8),
        "layers.0.self_attn.v_proj": (4, 8),
        "layers.0.self_attn.o_proj": (8, 8),
        "layers.0.mlp.gate_proj": (6, 8),
        "layers.0.mlp.up_proj": (6, 8),
        "layers.0.mlp.down_proj": (8, 6),
    }
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def _write(path: Path, changes: Mapping[str, Array | None], sizes: DecoderSizes = SIZES) -> Path:
    arrays = _arrays() | {name: array for name, array in changes.items() if array is not None}
    kept = {name: array for name, array in arrays.items() if changes.get(name, array) is not None}
    write_decoder(sizes, {name: partial(np.asarray, array) for name, array in kept.items()}, path)
    return path


def test_a_head_of_its_own_takes_the_place_of_the_embedding(tmp_path: Path) -> None:
    feeds = {"input_ids": np.array([[3, 1, 4]])}

    (tied,) = HybridSession(_write(tmp_path / "tied.onnx", {})).run(None, feeds)
    (twice,) = HybridSession(_write(tmp_path / "twice.onnx", {"lm_head": 2 * _arrays()["embed_tokens"]})).run(
        None, feeds
    )

    np.testing.assert_allclose(twice, 2 * tied, rtol=1e-5)


def test_weights_that_do_not_fit_are_named_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"weights layers\.0\.mlp\.up_proj are missing"):
        _write(tmp_path / "a.onnx", {"layers.0.mlp.up_proj": None})
    with pytest.raises(ModelError, match=r"weights norm have shape \(7,\) instead of \(8,\)"):
        _write(tmp_path / "a.onnx", {"norm": np.ones(7)})
    with pytest.raises(ModelError, match=r"weights norm hold NaN"):
        _write(tmp_path / "a.onnx", {"norm": np.full(8, np.nan)})

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "sizes",
    [replace(SIZES, heads=3), replace(SIZES, heads=2, key_heads=3), replace(SIZES, heads=8), replace(SIZES, layers=0)],
    ids=["width by heads", "heads by key heads", "heads of one number", "no layer"],
)
def test_sizes_that_do_not_fit_each_other_are_refused(tmp_path: Path, sizes: DecoderSizes) -> None:
    with pytest.raises(ModelError, match="not a decoder"):
        _write(tmp_path / "a.onnx", {}, sizes)
