"""Folders of Hugging Face: the decoder against transformers' own, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from lhc import HybridSession
from lhc.errors import ModelError
from lhc.models.decoder import write_decoder
from lhc.models.hugging_face import folder_decoder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "own head"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        tie_word_embeddings=request.param,
    )
    made: Path = tmp_path_factory.mktemp("hf")
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(made)
    return made


def test_the_decoder_equals_that_of_transformers(folder: Path, tmp_path: Path) -> None:
    write_decoder(*folder_decoder(folder), tmp_path / "a.onnx")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = np.random.default_rng(0).integers(0, 50, (2, 7))

    (logits,) = HybridSession(tmp_path / "a.onnx").run(None, {"input_ids": ids})

    with torch.no_grad():
        expected = theirs(torch.from_numpy(ids)).logits.numpy()
    np.testing.assert_allclose(logits, expected, atol=2e-5 * np.abs(expected).max())  # float32, two orders of sums


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "its type is 'gpt2'; lhc reads 'llama'"),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, "positions are scaled"),
        ({"attention_bias": True}, "projections with a bias"),
        ({"hidden_size": None}, "not the description of a Llama: ValueError"),
    ],
    ids=["type", "scaled", "bias", "size"],
)
def test_networks_of_another_kind_are_refused(
    folder: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    config = json.loads((folder / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))

    with pytest.raises(ModelError, match=message):
        folder_decoder(tmp_path)


def test_a_folder_without_description_or_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json: not a network's description"):
        folder_decoder(tmp_path)

    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(ModelError, match=r"holds no \.safetensors"):
        folder_decoder(tmp_path)
