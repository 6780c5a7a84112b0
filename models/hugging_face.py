"""Llama-style decoders in folders of Hugging Face: ``config.json`` and ``*.safetensors``. Nothing is executed."""

import json
from collections.abc import Callable
from pathlib import Path

from lhc.errors import ModelError
from lhc.models.decoder import DecoderSizes, WeightSource
from lhc.models.zoo_entry import require
from lhc.samples.metrics import Array

_PREFIX, _SUFFIX = "model.", ".weight"
_COMPUTED = "rotary_emb.inv_freq"
"""What older files store and the sizes tell."""


def folder_decoder(folder: Path) -> tuple[DecoderSizes, WeightSource]:
    """Sizes of a decoder, and its weights by name, read when they are asked for.

    Raises:
        ModelError: the folder holds something else.
        MissingDependencyError: ``safetensors`` or torch is not installed.
    """
    require(f"reading {folder} needs the package safetensors", "safetensors", "torch", extra="llm")
    sizes = _sizes(folder)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{folder}: holds no .safetensors; give a folder of Hugging Face, or a GGUF file")
    from safetensors import SafetensorError, safe_open

    weights: dict[str, Callable[[], Array]] = {}
    try:
        for file in files:
            with safe_open(file, "pt") as content:
                names = [name for name in content.keys() if not name.endswith(_COMPUTED)]  # noqa: SIM118  # no mapping
            plain = (name.removeprefix(_PREFIX).removesuffix(_SUFFIX) for name in names)
            weights.update({short: _reader(file, name) for short, name in zip(plain, names, strict=True)})
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{file}: cannot be read: {error}") from error
    if _config(folder).get("tie_word_embeddings"):
        weights.pop("lm_head", None)
    return sizes, weights


def _reader(file: Path, name: str) -> Callable[[], Array]:
    def read() -> Array:
        from safetensors import safe_open

        with safe_open(file, "pt") as content:  # numpy has no bfloat16
            array: Array = content.get_tensor(name).float().numpy()
        return array

    return read


def _config(folder: Path) -> dict[str, object]:
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not a network's description: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: not a network's description")
    return found


def _sizes(folder: Path) -> DecoderSizes:
    config = _config(folder)
    where = folder / "config.json"
    if config.get("model_type") != "llama":
        raise ModelError(f"{where}: its type is {config.get('model_type')!r}; lhc reads 'llama'")
    rope = config.get("rope_parameters") or {}  # since transformers 5; "rope_theta" and "rope_scaling" before
    if not isinstance(rope, dict) or config.get("rope_scaling") or rope.get("rope_type", "default") != "default":
        raise ModelError(f"{where}: its rotary positions are scaled, which lhc does not read")
    if config.get("attention_bias") or config.get("mlp_bias") or config.get("hidden_act", "silu") != "silu":
        raise ModelError(f"{where}: projections with a bias, or another activation than silu, are not read")
    try:
        heads = int(str(config["num_attention_heads"]))
        sizes = DecoderSizes(
            words=int(str(config["vocab_size"])),
            width=int(str(config["hidden_size"])),
            layers=int(str(config["num_hidden_layers"])),
            heads=heads,
            key_heads=int(str(config.get("num_key_value_heads", heads))),
            inner=int(str(config["intermediate_size"])),
            theta=float(str(rope.get("rope_theta", config.get("rope_theta", 10_000.0)))),
            epsilon=float(str(config["rms_norm_eps"])),
        )
    except (KeyError, ValueError) as error:
        raise ModelError(f"{where}: not the description of a Llama: {type(error).__name__}: {error}") from error
    if int(str(config.get("head_dim") or sizes.head_size)) != sizes.head_size:
        raise ModelError(f"{where}: heads of {config['head_dim']} numbers do not make up its width")
    return sizes
