"""ONNX files of the networks, as exporters write them and tools leave them."""

import inspect
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from tests.trials.trial_networks import NETWORKS, Network

__all__ = ["KERAS", "TOOLS", "TRIALS", "exported"]

SAMPLES = 72
OPSET = 18
SMALL = ("BERT", "GPT-2", "Llama, with a cache", "MobileNetV3")
"""Networks that every tool of onnxruntime is tried on."""
FUSED_AS = {"BERT": "bert", "GPT-2": "gpt2", "Llama, with a cache": "gpt2"}
"""What onnxruntime.transformers.optimizer is told that the network is."""


def exported(network: str, way: str, folder: Path) -> tuple[Path, dict[str, np.ndarray], str | None]:
    """The file that a way makes of a network, samples for it, and the output that is scored.

    Raises:
        Exception: whatever the exporter or the tool says.
    """
    warnings.simplefilter("ignore")
    path = folder / "model.onnx"
    if way == "tf2onnx":
        samples = _keras(network, path)
        return path, samples, None
    built = NETWORKS[network]()
    if way == "ultralytics":
        return _ultralytics(folder), {"images": built.samples(SAMPLES)["x"]}, None
    exporter = way if way in EXPORTERS else "dynamo" if network.startswith("Llama") else "TorchScript"
    plain = path if way in EXPORTERS else folder / "plain.onnx"
    if way not in BUILDERS:
        _export(built, plain, dynamo=exporter == "dynamo")
    samples = (built.given or built.samples)(SAMPLES)
    if way not in EXPORTERS:
        (TOOLS | BUILDERS)[way](plain, path, network, samples)
        samples = _as_read(path, samples)
    return path, samples, built.scored


def _export(network: Network, path: Path, dynamo: bool) -> None:
    torch = import_module("torch")
    samples = network.samples(2)
    arguments = tuple(torch.from_numpy(array) for array in samples.values())
    sizes = {name: network.open.get(name, {0: "batch"}) for name in samples}
    names: dict[str, Any] = {"input_names": list(samples), "output_names": list(network.outputs)}
    if dynamo:
        dimension = torch.export.Dim
        dynamic = tuple(dict.fromkeys(axes, dimension.DYNAMIC) for axes in sizes.values())
        first = next(iter(inspect.signature(network.module.forward).parameters.values()))
        as_one = first.kind is inspect.Parameter.VAR_POSITIONAL  # forward(*inputs)
        names |= {"dynamic_shapes": (dynamic,) if as_one else dynamic, "opset_version": OPSET}
    else:
        outputs = {name: {0: "batch"} for name in network.outputs if sizes[next(iter(sizes))]}
        names |= {"dynamic_axes": {k: dict(v) for k, v in (sizes | outputs).items()}, "opset_version": 17}
    torch.onnx.export(network.module, arguments, str(path), dynamo=dynamo, external_data=False, **names)


def _as_read(path: Path, samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The samples in the types that a tool left the inputs with."""
    graph = onnx.load(path, load_external_data=False).graph
    types = {v.name: onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type) for v in graph.input}
    return {name: array.astype(types[name]) for name, array in samples.items() if name in types}


Tool = Callable[[Path, Path, str, Mapping[str, np.ndarray]], None]


def _optimised(level: str) -> Tool:
    def run(plain: Path, path: Path, network: str, samples: Mapping[str, np.ndarray]) -> None:
        del network, samples
        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        ort.InferenceSession(str(plain), options, providers=["CPUExecutionProvider"])

    return run


def _fused(plain: Path, path: Path, network: str, samples: Mapping[str, np.ndarray]) -> None:
    del samples
    optimizer = import_module("onnxruntime.transformers.optimizer")
    found = optimizer.optimize_model(str(plain), FUSED_AS[network], num_heads=2, hidden_size=32, opt_level=0)
    found.save_model_to_file(str(path))


def _qdq(plain: Path, path: Path, network: str, samples: Mapping[str, np.ndarray]) -> None:
    quantization = import_module("onnxruntime.quantization")
    prepared = path.with_name("prepared.onnx")
    import_module("onnxruntime.quantization.shape_inference").quant_pre_process(
        str(plain), str(prepared), skip_symbolic_shape=True
    )

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.left: Iterator[dict[str, np.ndarray]] = iter([{k: v[:8] for k, v in samples.items()}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    quantization.quantize_static(str(prepared), str(path), Reader(), per_channel=network == "MobileNetV3")


def _dynamic(plain: Path, path: Path, network: str, samples: Mapping[str, np.ndarray]) -> None:
    del samples
    quantization = import_module("onnxruntime.quantization")
    kind = quantization.QuantType.QUInt8 if network == "MobileNetV3" else quantization.QuantType.QInt8
    quantization.quantize_dynamic(str(plain), str(path), weight_type=kind)


def _four_bits(form: str) -> Tool:
    def run(plain: Path, path: Path, network: str, samples: Mapping[str, np.ndarray]) -> None:
        del network, samples
        quantizer = import_module("onnxruntime.quantization.matmul_nbits_quantizer")
        form_of = import_module("onnxruntime.quantization").QuantFormat[form]
        found = quantizer.MatMulNBitsQuantizer(
            onnx.load(plain), block_size=32, is_symmetric=form == "QDQ", quant_format=form_of
        )
        found.process()
        onnx.save(found.model.model, path)

    return run


def _float16(plain: Path, path: Path, network: str, samples: Mapping[str, np.ndarray]) -> None:
    del network, samples
    float16 = import_module("onnxruntime.transformers.float16")
    onnx.save(float16.convert_float_to_float16(onnx.load(plain)), path)


def _ultralytics(folder: Path) -> Path:
    """As ``yolo export`` writes it, its batch fixed at 1."""
    found = import_module("ultralytics").YOLO("yolov8n.yaml", verbose=False)
    found.model.yaml_file = str(folder / "model.yaml")  # beside which the file is written
    found.overrides["model"] = str(folder / "model.pt")
    written = found.export(format="onnx", imgsz=64, simplify=False, opset=17)
    return Path(shutil.move(written, folder / "model.onnx"))


def _genai(bits: str) -> Tool:
    """As onnxruntime-genai's builder writes it, from the weights in the form of Hugging Face's hub."""

    def run(plain: Path, path: Path, network: str, samples: Mapping[str, np.ndarray]) -> None:
        del plain, samples
        tokenizers, transformers = import_module("tokenizers"), import_module("transformers")
        inner, given = NETWORKS[network]().module.inner, path.parent / "hub"
        inner.save_pretrained(given)
        words = {f"word{number}": number for number in range(inner.config.vocab_size)}
        tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="word0"))
        special = {"unk_token": "word0", "pad_token": "word0", "bos_token": "word1", "eos_token": "word2"}
        transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(given)
        places = ["-i", str(given), "-o", str(path.parent), "-c", str(path.parent / "cache")]
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", *places, "-p", bits, "-e", "cpu"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return run


def _keras(network: str, path: Path) -> dict[str, np.ndarray]:
    tensorflow, tf2onnx = import_module("tensorflow"), import_module("tf2onnx")
    keras = tensorflow.keras
    keras.utils.set_random_seed(0)
    model = KERAS[network](keras)
    shape = model.inputs[0].shape
    signature = (tensorflow.TensorSpec((None, *shape[1:]), tensorflow.float32, name="x"),)
    function = tensorflow.function(lambda x: model(x, training=False), input_signature=signature)
    found, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=17)
    onnx.save(found, path)
    return {"x": np.random.default_rng(0).normal(size=(SAMPLES, *shape[1:])).astype(np.float32)}


def _keras_recurrent(kind: str) -> Callable[[Any], Any]:
    def build(keras: Any) -> Any:  # noqa: ANN401
        steps = keras.layers.Bidirectional(getattr(keras.layers, kind)(16))
        return keras.Sequential([keras.Input((6, 8)), steps, keras.layers.Dense(5)])

    return build


KERAS: dict[str, Callable[[Any], Any]] = {
    "MobileNetV3": lambda keras: keras.applications.MobileNetV3Small(
        (32, 32, 3), alpha=0.35, minimalistic=False, weights=None, classes=10
    ),
    "LSTM": _keras_recurrent("LSTM"),
    "GRU": _keras_recurrent("GRU"),
}
EXPORTERS = ("TorchScript", "dynamo")
TOOLS: dict[str, Tool] = {
    "optimiser, basic": _optimised("BASIC"),
    "optimiser, extended": _optimised("EXTENDED"),
    "optimiser, all": _optimised("ALL"),
    "transformers.optimizer": _fused,
    "QDQ": _qdq,
    "dynamic": _dynamic,
    "4 bits": _four_bits("QOperator"),
    "4 bits, QDQ": _four_bits("QDQ"),
    "float16": _float16,
}
"""What onnxruntime's tools make of a file."""
BUILDERS: dict[str, Tool] = {"genai builder": _genai("fp32"), "genai builder, 4 bits": _genai("int4")}
"""What needs no file, but weights of transformers. onnxruntime takes one sample a call of theirs where a cache is not
empty."""
_TOOLED = [(network, tool) for network in SMALL for tool in TOOLS]
_NONE = [(n, t) for n, t in _TOOLED if n == "MobileNetV3" and t in ("transformers.optimizer", "4 bits", "4 bits, QDQ")]
TRIALS = [
    *((network, exporter) for network in NETWORKS for exporter in EXPORTERS),
    *(trial for trial in _TOOLED if trial not in _NONE),
    *((network, "tf2onnx") for network in KERAS),
    ("YOLOv8", "ultralytics"),
    *(("Qwen2, with an empty cache", builder) for builder in BUILDERS),
]
"""Every network and the way that its file is made; tools for products of transformers are not tried on images."""
