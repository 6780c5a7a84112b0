"""Files with operators that stand for products, made by the tools that make such files."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper

RNG = np.random.default_rng(20261126)


def model_of(text: str, **shapes: tuple[int, ...]) -> onnx.ModelProto:
    """A model with random weights of these shapes."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>\n{text}')
    rng = np.random.default_rng(20261126)  # of its own: what a test sees depends on no other
    for name, shape in shapes.items():
        array = rng.normal(size=shape) / np.sqrt(shape[0] if len(shape) > 1 else 1)
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    return model


def optimised(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """What onnxruntime's own optimiser writes at its level "extended"."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx")


MLP = """net (float[N, 5, 64] x) => (float[N, 5, 10] y) {
  [fc1] h = MatMul(x, w)
  [act] r = Relu(h)
  [fc2] y = MatMul(r, v)
}"""


def few_bits(folder: Path, **how: Any) -> onnx.ModelProto:  # noqa: ANN401
    """MatMulNBits, by onnxruntime's quantiser."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantiser = MatMulNBitsQuantizer(model_of(MLP, w=(64, 96), v=(96, 10)), block_size=32, **how)
    quantiser.process()
    made: onnx.ModelProto = quantiser.model.model
    return made


def fused(folder: Path) -> onnx.ModelProto:
    """FusedConv, FusedGemm and FusedMatMul, by onnxruntime's optimiser."""
    text = """net (float[N, 3, 8, 8] x) => (float[N, 10] y) <float half = {0.5}> {
      [conv1] a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w1, b1)
      [relu1] b = Relu(a)
      [conv2] c = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(b, w2, b2)
      [sum] d = Add(c, b)
      [relu2] e = Relu(d)
      [leaky] l = Conv<kernel_shape = [1, 1]>(e, w3)
      [relu3] m = LeakyRelu<alpha = 0.2>(l)
      [pool] p = GlobalAveragePool(m)
      [flat] f = Flatten(p)
      [fc1] g = Gemm<transB = 1>(f, w4, b4)
      [relu4] h = Relu(g)
      [scale] s = Mul(h, half)
      [fc2] y = MatMul(s, w5)
    }"""
    shapes = {"w1": (16, 3, 3, 3), "b1": (16,), "w2": (16, 16, 3, 3), "b2": (16,), "w3": (24, 16, 1, 1)}
    return optimised(model_of(text, **shapes, w4=(32, 24), b4=(32,), w5=(32, 10)), folder)


def packed_attention(folder: Path) -> onnx.ModelProto:
    """Attention with packed projections and a mask."""
    text = """net (float[N, 6, 32] x, int32[N, 6] mask) => (float[N, 6, 32] y) {
      [att] a = com.microsoft.Attention<num_heads = 4>(x, w, b, mask)
      [out] y = MatMul(a, o)
    }"""
    return model_of(text, w=(32, 96), b=(96,), o=(32, 32))


def attention_with_past(folder: Path) -> onnx.ModelProto:
    """Packed projections, keys and values of earlier tokens, and those of all tokens as a further output."""
    text = """net (float[N, 6, 32] x, int32[N, 9] mask, float[N, 2, 4, 3, 8] past) => (float[N, 768] y) {
      [kept] p = Transpose<perm = [1, 0, 2, 3, 4]>(past)
      [att] a, q = com.microsoft.Attention<num_heads = 4, unidirectional = 1>(x, w, b, mask, p)
      [every] e = Transpose<perm = [1, 0, 2, 3, 4]>(q)
      [out] o1 = MatMul(a, o)
      [flat] o2 = Flatten(o1)
      [keys] k = Flatten(e)
      [both] y = Concat<axis = 1>(o2, k)
    }"""
    return model_of(text, w=(32, 96), b=(96,), o=(32, 32))


def einsum(folder: Path) -> onnx.ModelProto:
    """Projections to heads and back, as flax and keras write them."""
    text = """net (float[N, 6, 32] x) => (float[N, 6, 32] y) {
      [heads] q = Einsum<equation = "bsd,dhk->bhsk">(x, w)
      [act] r = Tanh(q)
      [back] y = Einsum<equation = "hkd,bhsk->bsd">(v, r)
    }"""
    return model_of(text, w=(32, 4, 8), v=(4, 8, 32))


class Recurrent(torch.nn.Module):
    """A recurrent layer of torch between two linear ones."""

    def __init__(self, kind: str, **how: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.layer = getattr(torch.nn, kind)(12, 16, batch_first=True, **how)
        self.last = torch.nn.Linear(32 if how.get("bidirectional") else 16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores from the states of all steps."""
        output: torch.Tensor = self.last(self.layer(x)[0].mean(dim=1))
        return output


def recurrent(kind: str, open_steps: bool = False, **how: Any) -> Callable[[Path], onnx.ModelProto]:  # noqa: ANN401
    """A recurrent network by torch's exporter of TorchScript."""

    def made(folder: Path) -> onnx.ModelProto:
        torch.manual_seed(0)
        module, path = Recurrent(kind, **how).eval(), folder / "recurrent.onnx"
        torch.onnx.export(
            module, (torch.zeros(1, 7, 12),), path, dynamo=False, input_names=["x"], output_names=["y"],
            dynamic_axes={"x": {0: "N"} | ({1: "T"} if open_steps else {}), "y": {0: "N"}}, opset_version=17,
        )  # fmt: skip
        return onnx.load(path)

    return made


def transposed(folder: Path) -> onnx.ModelProto:
    """The upper half of a U-Net and what else torch's exporter writes ConvTranspose for."""
    layers = torch.nn.Sequential(
        torch.nn.ConvTranspose2d(4, 8, 2, stride=2),
        torch.nn.ReLU(),
        torch.nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        torch.nn.ReLU(),
        torch.nn.ConvTranspose2d(6, 3, 3, stride=(1, 3), padding=(5, 0), dilation=2, bias=False),
    )
    torch.onnx.export(
        layers.eval(), (torch.zeros(1, 4, 5, 4),), folder / "transposed.onnx", dynamo=False, input_names=["x"],
        output_names=["y"], dynamic_axes={"x": {0: "N"}, "y": {0: "N"}}, opset_version=17,
    )  # fmt: skip
    return onnx.load(folder / "transposed.onnx")


QUANTISABLE = """net (float[N, 3, 8, 8] x) => (float[N, 10] y) {
  [conv1] a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w1, b1)
  [relu1] b = Relu(a)
  [conv2] c = Conv<kernel_shape = [3, 3], strides = [2, 2], group = 2>(b, w2)
  [relu2] d = Relu(c)
  [flat] e = Flatten(d)
  [fc1] f = MatMul(e, w3)
  [relu3] g = Relu(f)
  [fc2] y = Gemm<transB = 1>(g, w4, b4)
}"""
_QUANTISABLE = {"w1": (16, 3, 3, 3), "b1": (16,), "w2": (8, 8, 3, 3), "w3": (72, 32), "w4": (10, 32), "b4": (10,)}


def on_integers(per_channel: bool) -> Callable[[Path], onnx.ModelProto]:
    """QLinearConv, QLinearMatMul and QGemm, by onnxruntime's quantiser, in 7 bits, which no processor clips."""

    def made(folder: Path) -> onnx.ModelProto:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        class Samples(CalibrationDataReader):  # type: ignore[misc]  # untyped
            left = 4
            rng = np.random.default_rng(0)

            def get_next(self) -> dict[str, Any] | None:
                self.left -= 1
                return None if self.left < 0 else {"x": self.rng.normal(size=(4, 3, 8, 8)).astype(np.float32)}

        onnx.save(model_of(QUANTISABLE, **_QUANTISABLE), folder / "float.onnx")
        quantize_static(
            folder / "float.onnx", folder / "integers.onnx", Samples(), quant_format=QuantFormat.QOperator,
            per_channel=per_channel, reduce_range=True, activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8 if per_channel else QuantType.QUInt8,
        )  # fmt: skip
        return onnx.load(folder / "integers.onnx")

    return made


def dynamic_integers(folder: Path) -> onnx.ModelProto:
    """MatMulInteger and ConvInteger, by onnxruntime's quantiser."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    onnx.save(model_of(QUANTISABLE, **_QUANTISABLE), folder / "float.onnx")
    quantize_dynamic(
        folder / "float.onnx", folder / "integers.onnx", weight_type=QuantType.QUInt8, reduce_range=True,
        op_types_to_quantize=["Conv", "MatMul", "Gemm"],
    )  # fmt: skip
    return onnx.load(folder / "integers.onnx")


def dynamic_attention(folder: Path) -> onnx.ModelProto:
    """QAttention and MatMulInteger, by onnxruntime's quantiser."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    onnx.save(packed_attention(folder), folder / "float.onnx")
    quantize_dynamic(
        folder / "float.onnx", folder / "integers.onnx", weight_type=QuantType.QUInt8, reduce_range=True,
        op_types_to_quantize=["Attention", "MatMul"],
    )  # fmt: skip
    return onnx.load(folder / "integers.onnx")


def dynamic_recurrent(bidirectional: bool, by_channel: bool) -> Callable[[Path], onnx.ModelProto]:
    """DynamicQuantizeLSTM and MatMulInteger, by onnxruntime's quantiser."""

    def made(folder: Path) -> onnx.ModelProto:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        onnx.save(recurrent("LSTM", bidirectional=bidirectional)(folder), folder / "float.onnx")
        quantize_dynamic(
            folder / "float.onnx", folder / "integers.onnx", weight_type=QuantType.QInt8, reduce_range=True,
            per_channel=by_channel,
        )  # fmt: skip
        return onnx.load(folder / "integers.onnx")

    return made


def optimised_integers(folder: Path) -> onnx.ModelProto:
    """DynamicQuantizeMatMul and MatMulIntegerToFloat, by onnxruntime's quantiser and, after it, its optimiser."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    text = """net (float[N, 5, 64] x) => (float[N, 5, 10] y) {
      [fc1] h = MatMul(x, w)
      [act] r = Relu(h)
      [left] a = MatMul(r, u)
      [right] b = MatMul(r, v)
      [both] c = Add(a, bias)
      [sum] y = Add(c, b)
    }"""
    file = model_of(text, w=(64, 96), u=(96, 10), v=(96, 10), bias=(10,))
    onnx.save(file, folder / "float.onnx")
    how = {"weight_type": QuantType.QUInt8, "reduce_range": True}
    quantize_dynamic(folder / "float.onnx", folder / "integers.onnx", **how)
    return optimised(onnx.load(folder / "integers.onnx"), folder)


class Merged(torch.nn.Module):
    """Two ways to one answer, as merged decoders have with and without a cache."""

    def __init__(self) -> None:
        super().__init__()
        self.with_cache = torch.nn.Sequential(torch.nn.Linear(16, 24), torch.nn.ReLU(), torch.nn.Linear(24, 24))
        self.without = torch.nn.Linear(16, 24)
        self.head = torch.nn.Linear(24, 5)

    def forward(self, x: torch.Tensor, cached: torch.Tensor) -> torch.Tensor:
        h = self.with_cache(x) if bool(cached) else torch.relu(self.without(x))
        head: torch.Tensor = self.head(h)
        return head


def merged(folder: Path) -> onnx.ModelProto:
    """An If of a condition that is an input, by torch's exporter of scripts."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that there are newer ways
        scripted = torch.jit.script(Merged().eval())
        torch.onnx.export(
            scripted, (torch.zeros(2, 16), torch.tensor(True)), str(folder / "merged.onnx"), dynamo=False,
            input_names=["x", "cached"], output_names=["y"], dynamic_axes={"x": {0: "n"}}, opset_version=17,
        )  # fmt: skip
    return onnx.load(folder / "merged.onnx")


class Looped(torch.nn.Module):
    """A recurrent network written as a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.wx, self.wh, self.head = torch.nn.Linear(12, 16), torch.nn.Linear(16, 16), torch.nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.size(0), 16)
        for step in range(x.size(1)):
            h = torch.tanh(self.wx(x[:, step]) + self.wh(h))
        y: torch.Tensor = self.head(h)
        return y


def looped(folder: Path) -> onnx.ModelProto:
    """A Loop over as many steps as the input has, by torch's exporter of scripts."""
    torch.manual_seed(0)
    torch.onnx.export(
        torch.jit.script(Looped().eval()), (torch.zeros(2, 7, 12),), str(folder / "looped.onnx"), dynamo=False,
        input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "N", 1: "T"}}, opset_version=17,
    )  # fmt: skip
    return onnx.load(folder / "looped.onnx")


def scanned(folder: Path) -> onnx.ModelProto:
    """A Scan, as torch.onnx.export writes one for torch's scan (which takes it 17 seconds)."""
    text = """net (float[N, 7, 12] x) => (float[N, 7, 5] y) <int64[1] size = {16}, float zero = {0}> {
      [node_Shape_0] rows = Shape<start = 0, end = 1>(x)
      [node_Concat_6] sizes = Concat<axis = 0>(rows, size)
      [node_zeros] h0 = Expand(zero, sizes)
      [node_transpose] steps = Transpose<perm = [1, 0, 2]>(x)
      [node_scan] last, every = Scan<num_scan_inputs = 1, scan_input_directions = [0], scan_output_directions = [0],
        body = combine (float[n, 16] h, float[n, 12] step) => (float[n, 16] next, float[n, 16] copy) {
          [node_linear_2] a = Gemm<transB = 1>(step, wx, bx)
          [node_linear_1] b = Gemm<transB = 1>(h, wh, bh)
          [node_add] c = Add(a, b)
          [node_tanh] next = Tanh(c)
          [node_clone] copy = Identity(next)
        }>(h0, steps)
      [node_transpose_1] states = Transpose<perm = [1, 0, 2]>(every)
      [node_MatMul_8] y = MatMul(states, v)
    }"""
    return model_of(text, wx=(16, 12), bx=(16,), wh=(16, 16), bh=(16,), v=(16, 5))
