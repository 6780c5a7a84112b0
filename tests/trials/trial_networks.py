"""Real architectures with random weights, narrow and shallow: each is built by its own library, and samples fit it.

`NETWORKS` names them. Nothing here is imported before it is built: no library but torch is needed by the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

__all__ = ["NETWORKS", "Network"]

Arrays = dict[str, np.ndarray]
TOKENS, VOCABULARY, HEADS, WIDTH = 6, 64, 2, 32
TEXT = {0: "batch", 1: "tokens"}


@dataclass(frozen=True)
class Network:
    """A module, and what it reads.

    Attributes:
        module: in evaluation mode; its inputs are positional, in the order of the samples' arrays.
        samples: so many of them.
        outputs: names of what it returns.
        open: input -> axis -> name of its size, where that is left open; the batch of every input by default.
        scored: the output that is scored; the first by default.
        given: samples that are tried, where they differ from those that it is exported on.
    """

    module: Any
    samples: Callable[[int], Arrays]
    outputs: tuple[str, ...] = ("y",)
    open: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    scored: str | None = None
    given: Callable[[int], Arrays] | None = None


def _seeded() -> Any:  # noqa: ANN401
    torch = import_module("torch")
    torch.manual_seed(0)
    return torch


def _wrapped(build: Callable[[], Any], forward: Callable[..., Any]) -> Any:  # noqa: ANN401
    """A module whose forward pass is this function of the inner module and of the inputs."""
    torch = _seeded()

    class Wrapped(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = build()

        def forward(self, *inputs: Any) -> Any:  # noqa: ANN401
            return forward(self.inner, *inputs)

    return Wrapped().eval()


def _normal(**shapes: tuple[int, ...]) -> Callable[[int], Arrays]:
    """Samples of standard normal numbers."""

    def samples(count: int) -> Arrays:
        rng = np.random.default_rng(0)
        return {name: rng.normal(size=(count, *shape)).astype(np.float32) for name, shape in shapes.items()}

    return samples


def _texts(*more: str, tokens: int = TOKENS) -> Callable[[int], Arrays]:
    """Samples of tokens, a mask, and further integers that are 0."""

    def samples(count: int) -> Arrays:
        ids = np.random.default_rng(0).integers(3, VOCABULARY, (count, tokens))
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)} | {name: np.zeros_like(ids) for name in more}

    return samples


def _torchvision(name: str, size: int = 32, **options: Any) -> Network:  # noqa: ANN401
    _seeded()
    return Network(getattr(import_module("torchvision.models"), name)(**options).eval(), _normal(x=(3, size, size)))


def _timm(name: str, size: int = 32, **options: Any) -> Network:  # noqa: ANN401
    _seeded()
    return Network(import_module("timm").create_model(name, **options).eval(), _normal(x=(3, size, size)))


def _efficientnet() -> Network:
    _seeded()
    build = import_module("timm.models.efficientnet")._gen_efficientnet
    narrow = build("efficientnet_b0", channel_multiplier=0.3, depth_multiplier=0.3, num_classes=10)
    return Network(narrow.eval(), _normal(x=(3, 32, 32)))


def _resnet50() -> Network:
    _seeded()
    resnet = import_module("torchvision.models.resnet")
    return Network(resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], num_classes=10).eval(), _normal(x=(3, 32, 32)))


def _densenet() -> Network:
    _seeded()
    densenet = import_module("torchvision.models").DenseNet(8, (2, 2, 2, 2), 16, num_classes=10)
    return Network(densenet.eval(), _normal(x=(3, 32, 32)))


def _lraspp() -> Network:
    segmentation = import_module("torchvision.models.segmentation")
    options = {"weights": None, "weights_backbone": None, "num_classes": 5}
    module = _wrapped(lambda: segmentation.lraspp_mobilenet_v3_large(**options), lambda inner, x: inner(x)["out"])
    return Network(module, _normal(x=(3, 48, 48)))


def _ssdlite(postprocessed: bool) -> Network:
    """What its heads say of a batch, or the boxes that it finds in one image."""
    torch = _seeded()
    build = import_module("torchvision.models.detection").ssdlite320_mobilenet_v3_large

    def heads(inner: Any, x: Any) -> Any:  # noqa: ANN401
        found = inner.head(list(inner.backbone(x).values()))
        return found["cls_logits"], found["bbox_regression"]

    def boxes(inner: Any, x: Any) -> Any:  # noqa: ANN401
        found = inner([x[0]])[0]
        return found["boxes"], found["scores"], found["labels"]

    options = {"weights": None, "weights_backbone": None, "num_classes": 5, "score_thresh": 0.0}
    module = _wrapped(lambda: build(**options), boxes if postprocessed else heads)
    if not postprocessed:
        return Network(module, _normal(x=(3, 96, 96)), ("scores", "boxes"))
    samples = _normal(x=(3, 320, 320))
    del torch
    return Network(module, samples, ("boxes", "scores", "labels"), {"x": {}})


def _unet() -> Network:
    torch = _seeded()
    nn = torch.nn

    def block(inputs: int, outputs: int) -> Any:  # noqa: ANN401
        convs = (nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1))
        return nn.Sequential(convs[0], nn.BatchNorm2d(outputs), nn.ReLU(), convs[1], nn.BatchNorm2d(outputs), nn.ReLU())

    def parts() -> Any:  # noqa: ANN401
        return nn.ModuleDict(
            {
                "first": block(3, 8), "low": block(8, 16), "lowest": block(16, 32),
                "up": nn.ConvTranspose2d(32, 16, 2, stride=2), "joined": block(32, 16),
                "top": nn.ConvTranspose2d(16, 8, 2, stride=2), "last": block(16, 8), "head": nn.Conv2d(8, 4, 1),
            }
        )  # fmt: skip

    def forward(p: Any, x: Any) -> Any:  # noqa: ANN401
        pool = nn.functional.max_pool2d
        first = p["first"](x)
        low = p["low"](pool(first, 2))
        joined = p["joined"](torch.cat([p["up"](p["lowest"](pool(low, 2))), low], 1))
        return p["head"](p["last"](torch.cat([p["top"](joined), first], 1)))

    return Network(_wrapped(parts, forward), _normal(x=(3, 32, 32)))


def _yolo() -> Network:
    _seeded()
    tasks = import_module("ultralytics.nn.tasks")
    module = tasks.DetectionModel("yolov8n.yaml", nc=5, verbose=False).eval().fuse(verbose=False)
    module.model[-1].export, module.model[-1].format = True, "onnx"
    return Network(module, _normal(x=(3, 64, 64)))


def _transformer(kind: str, config: str, samples: Callable[[int], Arrays], options: Mapping[str, Any]) -> Network:
    """A model of transformers over tokens; its first output."""
    transformers = import_module("transformers")
    _seeded()
    configuration = getattr(transformers, config)(**options)
    names = tuple(samples(1))
    module = _wrapped(
        lambda: getattr(transformers, kind)(configuration),
        lambda inner, *inputs: inner(**dict(zip(names, inputs, strict=True)), return_dict=False)[0],
    )
    return Network(module, samples, open=dict.fromkeys(names, TEXT))


_SIZES = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS}
_BERT = _SIZES | {"intermediate_size": 2 * WIDTH, "max_position_embeddings": 64}
_LLAMA = _BERT | {"num_key_value_heads": 1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_GPT2 = {"vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": 2, "n_head": HEADS, "n_positions": 64}
_GPT2 |= {"use_cache": False, "bos_token_id": 1, "eos_token_id": 2}
_EXPERTS: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2, "use_cache": False}
_EXPERTS |= {"experts_implementation": "batched_mm"}  # others are not exported: loops over experts, a grouped product
_MIXTRAL = _LLAMA | _EXPERTS
_DISTILBERT = {"vocab_size": VOCABULARY, "dim": WIDTH, "hidden_dim": 2 * WIDTH, "n_layers": 2, "n_heads": HEADS}


def _cached(kind: str, config: str, past: int) -> Network:
    """A decoder with keys and values of earlier tokens as inputs and outputs; tried with so many of them."""
    transformers = import_module("transformers")
    configuration = getattr(transformers, config)(**_LLAMA)
    layers = range(configuration.num_hidden_layers)
    names = [f"past_key_values.{layer}.{what}" for layer in layers for what in ("key", "value")]

    def forward(inner: Any, ids: Any, mask: Any, *kept: Any) -> Any:  # noqa: ANN401
        cache = transformers.DynamicCache(zip(kept[::2], kept[1::2], strict=True))
        logits, cache = inner(input_ids=ids, attention_mask=mask, past_key_values=cache, return_dict=False)[:2]
        return (logits, *(t for layer in cache.layers for t in (layer.keys, layer.values)))

    def samples(past: int) -> Callable[[int], Arrays]:
        def made(count: int) -> Arrays:
            rng = np.random.default_rng(0)
            ids = rng.integers(3, VOCABULARY, (count, TOKENS))
            kept = {name: rng.normal(size=(count, 1, past, WIDTH // HEADS)).astype(np.float32) for name in names}
            return {"input_ids": ids, "attention_mask": np.ones((count, past + TOKENS), np.int64)} | kept

        return made

    sizes: dict[str, Mapping[int, str]] = {"input_ids": TEXT, "attention_mask": {0: "batch", 1: "total"}}
    sizes |= {name: {0: "batch", 2: "past"} for name in names}
    outputs = ("logits", *(name.replace("past_key_values", "present") for name in names))
    module = _wrapped(lambda: getattr(transformers, kind)(configuration), forward)
    return Network(module, samples(3), outputs, sizes, given=samples(past))


def _whisper() -> Network:
    transformers = import_module("transformers")
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 2 * WIDTH, "decoder_ffn_dim": 2 * WIDTH}
    heads = {"encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS, "d_model": WIDTH, "num_mel_bins": 8}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    config = transformers.WhisperConfig(
        vocab_size=VOCABULARY, max_source_positions=16, max_target_positions=16, use_cache=False, **sizes, **heads,
        **tokens, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip

    def samples(count: int) -> Arrays:
        ids, mask = _texts()(count).values()
        sounds = _normal(x=(8, 32))(count)["x"]
        return {"input_features": sounds, "decoder_input_ids": ids, "decoder_attention_mask": mask}

    module = _wrapped(
        lambda: transformers.WhisperForConditionalGeneration(config),
        lambda inner, x, ids, mask: inner(
            input_features=x, decoder_input_ids=ids, decoder_attention_mask=mask, return_dict=False
        )[0],
    )
    text = dict.fromkeys(("decoder_input_ids", "decoder_attention_mask"), TEXT)
    return Network(module, samples, open={"input_features": {0: "batch"}} | text)


def _clip() -> Network:
    transformers = import_module("transformers")
    sizes = {k: v for k, v in _BERT.items() if k not in ("vocab_size", "max_position_embeddings")}
    text = {**sizes, "vocab_size": VOCABULARY, "max_position_embeddings": 16, "eos_token_id": 2, "bos_token_id": 1}
    config = transformers.CLIPConfig(
        text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 16}, projection_dim=16
    )
    names = ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds")

    def forward(inner: Any, ids: Any, pixels: Any, mask: Any) -> Any:  # noqa: ANN401
        found = inner(input_ids=ids, pixel_values=pixels, attention_mask=mask)
        return tuple(found[name] for name in names)

    def samples(count: int) -> Arrays:
        texts = _texts()(count)
        texts["input_ids"][:, -1] = 2
        pixels = _normal(x=(3, 32, 32))(count)["x"]
        return {"input_ids": texts["input_ids"], "pixel_values": pixels, "attention_mask": texts["attention_mask"]}

    module = _wrapped(lambda: transformers.CLIPModel(config), forward)
    sizes_open = {"input_ids": TEXT, "pixel_values": {0: "batch"}, "attention_mask": TEXT}
    return Network(module, samples, names, sizes_open, scored="image_embeds")


def _recurrent(kind: str) -> Network:
    torch = _seeded()

    def build() -> Any:  # noqa: ANN401
        inner = getattr(torch.nn, kind)(8, 16, batch_first=True, bidirectional=True)
        return torch.nn.ModuleDict({"steps": inner, "head": torch.nn.Linear(32, 5)})

    module = _wrapped(build, lambda inner, x: inner["head"](inner["steps"](x)[0][:, -1]))
    return Network(module, _normal(x=(6, 8)))


def _tcn() -> Network:
    torch = _seeded()
    nn = torch.nn

    def forward(convs: Any, x: Any) -> Any:  # noqa: ANN401
        for index, conv in enumerate(convs[:-1]):
            y = torch.relu(conv(nn.functional.pad(x, (2 * 2**index, 0))))
            x = y if index == 0 else x + y
        return convs[-1](x.mean(-1))

    def build() -> Any:  # noqa: ANN401
        convs = [nn.Conv1d(16 if i else 4, 16, 3, dilation=2**i) for i in range(4)]
        normed = [nn.utils.parametrizations.weight_norm(conv) for conv in convs]
        return nn.ModuleList([*normed, nn.Linear(16, 5)])

    return Network(_wrapped(build, forward), _normal(x=(4, 40)))


NETWORKS: dict[str, Callable[[], Network]] = {
    "ResNet-50": _resnet50,
    "MobileNetV3": lambda: _torchvision("mobilenet_v3_small", width_mult=0.35, num_classes=10),
    "EfficientNet": _efficientnet,
    "ConvNeXt": lambda: _timm("convnext_tiny", depths=(1, 1, 1, 1), dims=(16, 24, 32, 48), num_classes=10),
    "DenseNet": _densenet,
    "LR-ASPP": _lraspp,
    "SSD-lite": lambda: _ssdlite(postprocessed=False),
    "SSD-lite, boxes": lambda: _ssdlite(postprocessed=True),
    "U-Net": _unet,
    "YOLOv8": _yolo,
    "ViT": lambda: _timm(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=WIDTH, num_heads=HEADS, num_classes=10
    ),
    "BERT": lambda: _transformer("BertModel", "BertConfig", _texts("token_type_ids"), _BERT),
    "DistilBERT": lambda: _transformer("DistilBertForMaskedLM", "DistilBertConfig", _texts(), _DISTILBERT),
    "GPT-2": lambda: _transformer("GPT2LMHeadModel", "GPT2Config", _texts(), _GPT2),
    "Llama, with a cache": lambda: _cached("LlamaForCausalLM", "LlamaConfig", past=3),
    "Qwen2, with an empty cache": lambda: _cached("Qwen2ForCausalLM", "Qwen2Config", past=0),
    "Whisper": _whisper,
    "CLIP": _clip,
    "Mixtral": lambda: _transformer("MixtralForCausalLM", "MixtralConfig", _texts(), _MIXTRAL),
    "LSTM": lambda: _recurrent("LSTM"),
    "GRU": lambda: _recurrent("GRU"),
    "TCN": _tcn,
}
