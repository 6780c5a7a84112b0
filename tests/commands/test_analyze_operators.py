"""Networks whose work is in operators other than Conv, Gemm and MatMul: all of it is listed, and nothing is 100 %."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

import lhc
from lhc.errors import OpenSizesError
from lhc.hardware import Hardware
from lhc.onnx_io import annotate, load_model, read_graph, read_plan
from lhc.passes import Qualify, initial_plan
from lhc.pipeline.analysis_and_partition_results import Analysis
from lhc.plan import LayerPlan
from lhc.plan.summary import summary
from lhc.report.wording.model_file import analysis_footer
from tests.conftest import Cli
from tests.networks import parsed

RNG = np.random.default_rng(3)


def numbers(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def text_model(text: str, constants: dict[str, np.ndarray], domains: str = "") -> onnx.ModelProto:
    return parsed(f'<ir_version: 10, opset_import: ["" : 20{domains}]>\n{text}', constants)


if TYPE_CHECKING:
    from torch import Tensor

MICROSOFT = ', "com.microsoft" : 1'


def row(analysis: Analysis, name: str) -> LayerPlan:
    return next(layer for layer in analysis.plan.layers if layer.name == name)


GRU = """
net (float[N, 20, 16] x) => (float[N, 3] y) {
  steps = Transpose <perm = [1, 0, 2]> (x)
  [gru] all, last = GRU <hidden_size = 64, clip = 1000.0> (steps, w, r)
  axis = Constant <value_ints = [0]> ()
  h = Squeeze (last, axis)
  [head] y = Gemm (h, v)
}"""
FLAT = """
net (float[N, 1, H, W] x) => (float[N, 3] y) {
  [conv] c = Conv <strides = [4, 4]> (x, k)
  f = Flatten (c)
  [head] y = Gemm (f, v)
}"""


def test_sizes_that_a_file_leaves_open_are_tried_before_the_user_is_asked() -> None:
    """A picture of 224 does not fit its Gemm; one of 64, which the message would name, does."""
    kernel = numbers(2, 1, 4, 4)
    found = lhc.analyze(text_model(FLAT, {"k": kernel, "v": numbers(2 * 16 * 16, 3)}))
    assert found.example == {"x": (1, 1, 64, 64)}
    assert "--shape x=1,1,64,64" in found.example_note
    assert row(found, "conv").macs == 32 * 16 * 16
    with pytest.raises(OpenSizesError, match=r"x=1,1,64,64, with sizes that fit: none that was tried does"):
        lhc.analyze(text_model(FLAT, {"k": kernel, "v": numbers(2 * 5 * 5, 3)}))


WAVEFORM = """
net (float[N, samples] sound) => (float[1, 8, frames] y) {
  same = Equal (sound, sound)
  places = NonZero (same)
  one = Constant <value_ints = [1]> ()
  row = Gather <axis = 0> (places, one)
  line = Cast <to = 1> (row)
  x = Unsqueeze (line, one)
  [spectrum] y = Conv <strides = [160]> (x, windows)
}"""


STATIC_WAVEFORM = """
net (float[N, samples] sound) => (float[N, 8, frames] y) {
  one = Constant <value_ints = [1]> ()
  x = Unsqueeze (sound, one)
  [spectrum] y = Conv <strides = [160]> (x, windows)
}"""


@pytest.mark.parametrize("text", [WAVEFORM, STATIC_WAVEFORM], ids=["known by a run alone", "known by inference"])
def test_a_waveform_gets_an_example_that_its_windows_fit_into(text: str) -> None:
    """Windows of 400 samples fit into none of the other examples; shape inference takes these, and counts nothing."""
    found = lhc.analyze(text_model(text, {"windows": numbers(8, 1, 400)}))
    assert found.example == {"sound": (1, 16_000)}
    assert row(found, "spectrum").macs == 8 * 400 * 98


GRU_MACS = 20 * 3 * 64 * (16 + 64)


@pytest.fixture
def gru() -> onnx.ModelProto:
    """Nearly all of its work is in the GRU, which clips and so stays as it is."""
    return text_model(GRU, {"w": numbers(1, 192, 16), "r": numbers(1, 192, 64), "v": numbers(64, 3)})


def test_a_network_that_is_mostly_a_gru_is_not_told_to_be_analog(gru: onnx.ModelProto) -> None:
    analysis = lhc.analyze(gru)

    assert [layer.name for layer in analysis.plan.layers] == ["gru", "head"]
    layer = row(analysis, "gru")
    assert (layer.macs, layer.parameters, layer.reason) == (GRU_MACS, 3 * 64 * 80, "unsupported")
    assert layer.detail.startswith("lhc places GRU on tiles step by step, and not this one: it clips")
    assert analysis.eligible_mac_fraction == 192 / (GRU_MACS + 192)
    assert analysis.totals.startswith(
        "1 of 2 layers can be analog: 0.1 % of MACs, 307,392 per sample in all; 1 tile of 256x255"
    )
    cells = next(line for line in analysis.table().splitlines() if line.startswith("gru"))
    assert "99.9 %" in cells


def test_the_json_of_analyze_has_every_operator(cli: Cli, gru: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(gru, tmp_path / "gru.onnx")
    result = cli("analyze", tmp_path / "gru.onnx", "--json")
    document = json.loads(result.stdout)
    assert document["layers"][0] | {"detail": ""} == {
        "name": "gru", "op_type": "GRU", "module": None, "block": "", "eligible": False, "reason": "unsupported",
        "detail": "", "macs": GRU_MACS, "activation_macs": 0, "counted": True, "parameters": 15360, "tiles": 0,
        "steps": 1, "mac_fraction": pytest.approx(GRU_MACS / (GRU_MACS + 192)),
    }  # fmt: skip
    totals = document["totals"]
    assert (totals["macs"], totals["activation_macs"], totals["uncounted"]) == (GRU_MACS + 192, 0, [])
    assert totals["eligible_mac_fraction"] == pytest.approx(192 / (GRU_MACS + 192))


@pytest.mark.analog
def test_the_plan_of_a_gru_says_its_share_everywhere(gru: onnx.ModelProto) -> None:
    data = {"x": numbers(40, 20, 16), "labels": RNG.integers(0, 3, 40)}

    result = lhc.partition(gru, data, max_drop=0.9, draws=2, objective="macs")

    assert result.plan.analog == {"head"}
    assert result.summary.startswith("analog 1/1 layer (1 more cannot be), 0.1 % of MACs, 1 tile of 256x255, ")
    nodes = {node.name: {entry.key: entry.value for entry in node.metadata_props} for node in result.model.graph.node}
    assert nodes["gru"]["lhc.placement"] == "digital"
    assert nodes["gru"]["lhc.reason"] == "unsupported"
    assert nodes["gru"]["lhc.macs"] == str(GRU_MACS)
    assert read_plan(load_model(result.model)) == result.plan
    assert result.cost is not None
    assert result.cost.layers["gru"].energy_j > result.cost.layers["head"].energy_j


LOOPED = """
net (bool c, int64 n, float[1, 5] x) => (float[1, 5] y) {
  [branch] h = If (c) <
    then_branch = yes () => (float[1, 5] a) {
      axis = Constant <value_ints = [1]> ()
      seq = Unsqueeze (x, axis)
      [inner] s, last = LSTM <hidden_size = 5> (seq, w, r)
      zero = Constant <value_ints = [0]> ()
      a = Squeeze (last, zero)
    },
    else_branch = no () => (float[1, 5] b) { b = Identity (x) }
  >
  [loop] y = Loop (n, c, h) <
    body = turn (int64 i, bool go, float[1, 5] state) => (bool again, float[1, 5] next) {
      again = Identity (go)
      axis2 = Constant <value_ints = [1]> ()
      seq2 = Unsqueeze (state, axis2)
      [deep] s2, last2 = LSTM <hidden_size = 5> (seq2, w, r)
      zero2 = Constant <value_ints = [0]> ()
      next = Squeeze (last2, zero2)
    }
  >
}"""


def test_an_lstm_in_a_branch_and_in_a_loop() -> None:
    analysis = lhc.analyze(text_model(LOOPED, {"w": numbers(1, 20, 5), "r": numbers(1, 20, 5)}))

    assert [(layer.name, layer.macs, layer.parameters) for layer in analysis.plan.layers] == [
        ("inner", 4 * 5 * 10, 200),
        ("deep", 4 * 5 * 10, 200),
    ]
    assert row(analysis, "deep").detail.startswith("in the body of Loop 'loop'; it can be placed where")
    assert "one iteration is counted" in row(analysis, "deep").detail
    assert analysis.plan.uncounted == ("deep",)


CARRIED = """
net (int64 n, bool c, float[1, 5] x) => (float[1, 5] y) {
  kernel = Transpose (w)
  [head] h = MatMul (x, v)
  [loop] y, k1, k2, k3 = Loop (n, c, h, v, kernel, v) <
    body = turn (int64 i, bool go, float[1, 5] state, float[5, 5] stays, float[A, B] made, float[5, 5] changes)
      => (bool again, float[1, 5] next, float[5, 5] stayed, float[A, B] as_made, float[5, 5] changed) {
      again = Identity (go)
      copy = Identity (stays)
      stayed = Identity (copy)
      as_made = Identity (made)
      changed = Neg (changes)
      [by_stored] a = MatMul (state, stays)
      [by_computed] b = MatMul (a, made)
      [by_changed] next = MatMul (b, changes)
    }
  >
}"""


def test_what_a_loop_carries_unchanged_is_a_constant() -> None:
    model = text_model(CARRIED, {"w": numbers(5, 5), "v": numbers(5, 5)})
    value_info = onnx.helper.make_tensor_value_info
    body = next(node for node in model.graph.node if node.name == "loop").attribute[0].g
    body.value_info.extend(value_info(name, onnx.TensorProto.FLOAT, (1, 5)) for name in "ab")
    analysis = lhc.analyze(model)

    assert {layer.name: (layer.macs, layer.activation_macs, layer.parameters) for layer in analysis.plan.layers} == {
        "head": (25, 0, 25),
        "by_stored": (25, 0, 25),
        "by_computed": (25, 0, 25),
        "by_changed": (0, 25, 0),
    }
    assert set(analysis.plan.uncounted) == {"by_stored", "by_computed", "by_changed"}


FUNCTION = """
net (float[1, 6, 8] x) => (float[1, 6, 4] y) {
  [call] h = own.Recur (x, w, r)
  [head] y = MatMul (h, v)
}
<opset_import: ["" : 20], domain: "own"> Recur (a, b, c) => (d) {
  s, last = RNN <hidden_size = 8, layout = 1> (a, b, c)
  shape = Constant <value_ints = [1, 6, 8]> ()
  d = Reshape (s, shape)
}"""


def test_an_rnn_in_a_local_function() -> None:
    proto = text_model(FUNCTION, {"w": numbers(1, 8, 8), "r": numbers(1, 8, 8), "v": numbers(8, 4)}, ', "own" : 1')
    analysis = lhc.analyze(proto)

    rows = analysis.plan.layers
    assert {(row.origin, row.operator) for row in rows if row.name != "head"} == {("call", "RNN")}
    assert sum(row.macs for row in rows) == 6 * 8 * 8 + 5 * 8 * 8 + 6 * 8 * 4  # the first state is 0
    assert analysis.eligible_mac_fraction == 1


DECODER = """
net (float[1, 6, 32] x, float[1, 1, 3, 16] pk, float[1, 1, 3, 16] pv) => (float[1, 6, 40] y) {
  [norm] a = LayerNormalization (x, scale)
  [qkv] p = com.microsoft.MatMulNBits <K = 32, N = 64, bits = 4, block_size = 32> (a, w1, s1)
  [attend] o, k2, v2 = com.microsoft.GroupQueryAttention <num_heads = 2, kv_num_heads = 1> (p, , , pk, pv, last, all)
  [out] q = com.microsoft.MatMulNBits <K = 32, N = 32, bits = 4, block_size = 32> (o, w2, s2)
  [skip] b, , , c = com.microsoft.SkipSimplifiedLayerNormalization <epsilon = 0.00001> (x, q, scale)
  [up] u = com.microsoft.MatMulNBits <K = 32, N = 48, bits = 4, block_size = 16> (b, w3, s3)
  [down] d = com.microsoft.MatMulNBits <K = 48, N = 32, bits = 4, block_size = 16> (u, w4, s4)
  [tied] y = com.microsoft.MatMulNBits <K = 32, N = 40, bits = 4, block_size = 32> (d, table, ts)
}"""


def _packed(outputs: int, inputs: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    blocks = inputs // block
    return RNG.integers(0, 256, (outputs, blocks, block // 2)).astype(np.uint8), numbers(outputs * blocks)


def test_a_decoder_of_4_bit_weights() -> None:
    constants = {"scale": np.ones(32, np.float32)}
    sizes = {"1": (64, 32, 32), "2": (32, 32, 32), "3": (48, 32, 16), "4": (32, 48, 16)}
    for name, (outputs, inputs, block) in sizes.items():
        constants[f"w{name}"], constants[f"s{name}"] = _packed(outputs, inputs, block)
    constants["table"], constants["ts"] = _packed(40, 32, 32)
    constants["last"], constants["all"] = np.array([8], np.int32), np.array(9, np.int32)

    analysis = lhc.analyze(text_model(DECODER, constants, MICROSOFT))

    assert {layer.name: layer.macs for layer in analysis.plan.layers} == {
        "qkv": 6 * 32 * 64, "attend": 0, "out": 6 * 32 * 32, "up": 6 * 32 * 48, "down": 6 * 48 * 32,
        "tied": 6 * 32 * 40,
    }  # fmt: skip
    # Each of 6 queries of 2 heads of 16 reads 3 keys of the past and 6 new ones, then as many values.
    assert row(analysis, "attend").activation_macs == 2 * 6 * (3 + 6) * 2 * 16
    assert row(analysis, "attend").reason == "no-static-weight"
    assert row(analysis, "down").parameters == 48 * 32
    assert {layer.op_type for layer in analysis.plan.layers} == {"MatMul", "com.microsoft::GroupQueryAttention"}
    assert {layer.kind for layer in analysis.plan.layers if layer.macs} == {"com.microsoft::MatMulNBits"}
    assert analysis.eligible_mac_fraction == 1
    assert "3,456 MACs of two activations beside" in analysis.totals


EXPERTS = """
net (float[1, 6, 8] x) => (float[1, 6, 8] y) {
  [router] logits = MatMul (x, g)
  shape = Constant <value_ints = [6, 4]> ()
  flat = Reshape (logits, shape)
  p = Softmax (flat)
  [moe] h = com.microsoft.MoE <k = 2, activation_type = "relu"> (x, p, w1, , w2)
  [mix] y = Einsum <equation = "bti,io->bto"> (h, v)
}"""


def test_a_block_of_experts_and_an_einsum() -> None:
    constants = {"g": numbers(8, 4), "w1": numbers(4, 16, 8), "w2": numbers(4, 8, 16), "v": numbers(8, 8)}

    analysis = lhc.analyze(text_model(EXPERTS, constants, MICROSOFT))

    assert [(layer.name, layer.macs, layer.parameters) for layer in analysis.plan.layers] == [
        ("router", 6 * 8 * 4, 32),
        *((f"moe/{number}/{part}", 6 * 2 // 4 * 16 * 8, 16 * 8) for number in range(4) for part in ("fc1", "fc2")),
        ("mix", 6 * 8 * 8, 64),
    ]
    assert analysis.eligible_mac_fraction == 1


QUANTISED = EXPERTS.replace(
    '[moe] h = com.microsoft.MoE <k = 2, activation_type = "relu"> (x, p, w1, , w2)',
    '[moe] h = com.microsoft.QMoE <k = 1, activation_type = "silu", expert_weight_bits = 4> (x, p, w1, s1, , w2, s2)',
)


def test_a_block_of_quantised_experts() -> None:
    constants = {
        "g": numbers(8, 4), "v": numbers(8, 8), "w1": np.full((4, 16, 4), 0x88, np.uint8), "s1": numbers(4, 16),
        "w2": np.full((4, 8, 8), 0x88, np.uint8), "s2": numbers(4, 8),
    }  # fmt: skip

    analysis = lhc.analyze(text_model(QUANTISED, constants, MICROSOFT))

    experts = [layer for layer in analysis.plan.layers if layer.origin == "moe"]
    assert [layer.macs for layer in experts] == [2 * 128] * 4 + [1 * 128] * 4  # six tokens on four experts
    assert sum(layer.parameters for layer in experts) == 4 * 256
    assert row(analysis, "mix").macs == 6 * 64


UNKNOWN = """
net (float[1, 8] x) => (float[1, 8] y) {
  [mine] h = acme.Mix (x, w)
  [head] y = MatMul (x, v)
}"""


def test_shares_are_of_what_is_known_where_an_operator_is_not(caplog: pytest.LogCaptureFixture) -> None:
    proto = text_model(UNKNOWN, {"w": numbers(256, 8), "v": numbers(8, 8)}, ', "acme" : 1')

    analysis = lhc.analyze(proto)

    assert not row(analysis, "mine").counted
    assert analysis.totals.startswith(
        "1 of 2 layers can be analog: 100.0 % of known MACs (1 operator not counted), 64 per sample in all"
    )
    assert "mine: lhc does not know acme::Mix; it reads 2,048 stored numbers" in caplog.text
    assert "uses operators that stock onnxruntime has not, and lhc loads none: acme::Mix" in caplog.text
    line = next(line for line in analysis.table().splitlines() if line.startswith("mine"))
    assert "0 + ?" in line


def test_sizes_that_only_a_run_could_tell_leave_a_row_that_is_not_counted(caplog: pytest.LogCaptureFixture) -> None:
    text = """
    net (float[1, 8] x) => (float[1, 8] y) {
      [mine] h = acme.Mix (x)
      [lstm] y, last = LSTM <hidden_size = 8> (h, w, r)
    }"""
    analysis = lhc.analyze(text_model(text, {"w": numbers(1, 32, 8), "r": numbers(1, 32, 8)}, ', "acme" : 1'))

    layer = row(analysis, "lstm")
    assert (layer.macs, layer.parameters, layer.counted) == (0, 512, False)
    assert "its MACs depend on sizes that are not known and count nothing" in layer.detail
    assert "sizes in it are only known when it runs, and it does not" in caplog.text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the exporter
def test_a_bert_that_onnxruntime_has_optimised(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from onnxruntime.transformers.optimizer import optimize_model

    names, (hidden, inner, tokens) = ["input_ids", "attention_mask", "token_type_ids"], (16, 32, 6)
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=hidden, num_hidden_layers=2, num_attention_heads=2, intermediate_size=inner,
        max_position_embeddings=16, attn_implementation="eager",
    )  # fmt: skip

    class States(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.bert = transformers.BertModel(config, add_pooling_layer=False)

        def forward(self, ids: "Tensor", mask: "Tensor", segments: "Tensor") -> "Tensor":
            states: Tensor = self.bert(ids, attention_mask=mask, token_type_ids=segments).last_hidden_state
            return states

    ids = torch.zeros(1, tokens, dtype=torch.long)
    plain = tmp_path / "plain.onnx"
    arguments = (ids, torch.ones_like(ids), ids)
    torch.onnx.export(
        States().eval(), arguments, plain, input_names=names, output_names=["y"], dynamo=False, opset_version=17
    )
    optimised = optimize_model(str(plain), "bert", num_heads=2, hidden_size=hidden, opt_level=0)
    optimised.save_model_to_file(str(tmp_path / "optimised.onnx"))

    analysis = lhc.analyze(tmp_path / "optimised.onnx")

    rows = analysis.plan.layers
    assert {node.op_type for node in optimised.model.graph.node} >= {"Attention", "BiasGelu", "SkipLayerNormalization"}
    # Query, key, value and output projections, and two dense layers; scores and weighted values beside.
    assert analysis.plan.macs == 2 * tokens * (4 * hidden * hidden + 2 * hidden * inner)
    assert analysis.plan.activation_macs == 2 * 2 * tokens * tokens * hidden
    attention = [layer for layer in rows if layer.kind == "com.microsoft::Attention" and layer.macs]
    assert [layer.macs for layer in attention] == [tokens * hidden * hidden] * 6  # q, k and v of two operators
    assert analysis.eligible_mac_fraction == 1


def test_a_product_that_is_fused_into_one_of_onnxruntime() -> None:
    text = """
    net (float[1, 6, 8] x, float[1, 8, 6] z) => (float[1, 6, 6] y) {
      [mine] h = com.microsoft.FusedMatMul <transB = 1> (x, w)
      [both] y = com.microsoft.FusedMatMul <alpha = 0.5> (h, z)
    }"""
    analysis = lhc.analyze(text_model(text, {"w": numbers(8, 8)}, MICROSOFT))
    assert (row(analysis, "mine").macs, row(analysis, "both").activation_macs) == (6 * 8 * 8, 6 * 8 * 6)


OPEN = """
net (int64[batch, tokens] ids, float[batch, 1, past_tokens, 16] pk, float[batch, 1, past_tokens, 16] pv) => (float y) {
  e = Gather (table, ids)
  [qkv] p = com.microsoft.MatMulNBits <K = 32, N = 64, bits = 4, block_size = 32> (e, w1, s1)
  [attend] o, k, v = com.microsoft.MultiHeadAttention <num_heads = 2> (e, e, e)
  [mine] h = MatMul (o, v1)
  y = ReduceSum <keepdims = 0> (h)
}"""


def test_open_sizes_around_operators_of_onnxruntime_are_those_of_an_example() -> None:
    packed, scales = _packed(64, 32, 32)
    constants = {"table": numbers(20, 32), "w1": packed, "s1": scales, "v1": numbers(32, 3)}
    model = text_model(OPEN, constants, MICROSOFT)

    analysis = lhc.analyze(model)

    assert analysis.example == {"ids": (1, 128), "pk": (1, 1, 0, 16), "pv": (1, 1, 0, 16)}
    assert row(analysis, "qkv").macs == 128 * 32 * 64
    assert row(analysis, "attend").activation_macs == 2 * 128 * 128 * 32
    assert "the numbers are of an example, ids=1,128 pk=1,1,0,16" in analysis.example_note
    given = lhc.analyze(model, shapes={"ids": (1, 5), "pk": (1, 1, 2, 16), "pv": (1, 1, 2, 16)})
    assert (given.example, given.example_note) == ({}, "")
    assert row(given, "mine").macs == 5 * 32 * 3


@pytest.mark.analog
def test_a_report_of_an_earlier_plan_says_what_its_shares_leave_out(gru: onnx.ModelProto) -> None:
    model = load_model(gru)
    graph = read_graph(model)
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), model.source, "0")).plan
    earlier = plan.model_copy(update={"layers": tuple(layer for layer in plan.layers if layer.name != "gru")})

    (warning,) = lhc.report_of(annotate(model, earlier, graph)).warnings

    assert "shares of MACs leave out what multiplies in other operators, e.g. gru" in warning
    assert lhc.report_of(annotate(model, plan, graph)).warnings == ()


OPEN_STEPS = """
net (float[N, T, 16] x) => (float[N, T, 3] y) {
  steps = Transpose <perm = [1, 0, 2]> (x)
  [lstm] all, last, cell = LSTM <hidden_size = 32> (steps, w, r)
  axis = Constant <value_ints = [1]> ()
  h = Squeeze (all, axis)
  back = Transpose <perm = [1, 0, 2]> (h)
  [head] y = MatMul (back, v)
}"""


@pytest.fixture
def open_steps() -> onnx.ModelProto:
    """An LSTM over as many steps as samples have."""
    return text_model(OPEN_STEPS, {"w": numbers(1, 128, 16), "r": numbers(1, 128, 32), "v": numbers(32, 3)})


def test_a_recurrent_operator_of_open_steps_is_counted_with_those_of_the_example(open_steps: onnx.ModelProto) -> None:
    found = lhc.analyze(open_steps)
    assert [layer.name for layer in found.rows] == ["lstm/input", "lstm/recurrent_1", "head"]
    assert found.rows[1].steps == 127
    assert found.eligible_mac_fraction == 1
    assert "or samples, which tell how many steps there are: --data" in found.example_note
    given = lhc.analyze(open_steps, shapes={"x": (1, 20, 16)})
    assert given.rows[1].steps == 19
    assert not given.example_note
    samples = lhc.analyze(open_steps, data={"x": numbers(2, 20, 16)})
    assert [layer.macs for layer in samples.rows] == [layer.macs for layer in given.rows]
    assert samples.cost(frozenset(samples.plan.eligible)) == given.cost(frozenset(given.plan.eligible))


def test_too_many_steps_are_the_reason(open_steps: onnx.ModelProto) -> None:
    found = row(lhc.analyze(open_steps, shapes={"x": (1, 300, 16)}), "lstm")
    assert "it takes 300 steps, and at most 256 are written out" in found.detail


REASONS = {
    "lengths": ("(s, w, r, b, n)", "its sequences may differ in length (sequence_lens is n)"),
    "peepholes": ("(s, w, r, b, , , , p)", "it has peepholes"),
    "weights": ("(s, w, rr, b)", "its weights are computed at run time"),
    "activations": ("(s, w, r, b)", "its weights or activations are unusual"),
}


@pytest.mark.parametrize("case", REASONS)
def test_why_a_recurrent_operator_stays_whole(case: str) -> None:
    inputs, reason = REASONS[case]
    how = ', activations = ["Sigmoid", "Tanh", "Relu"]' if case == "activations" else ""
    text = f"""
    net (float[N, 5, 16] x, int32[N] n, float[1, 32, 8] rr) => (float[5, 1, N, 8] y) {{
      s = Transpose <perm = [1, 0, 2]> (x)
      [lstm] y, h, c = LSTM <hidden_size = 8{how}> {inputs}
    }}"""
    stored = {"w": numbers(1, 32, 16), "r": numbers(1, 32, 8), "b": numbers(1, 64), "p": numbers(1, 24)}
    found = row(lhc.analyze(text_model(text, stored)), "lstm")
    assert found.reason == "unsupported"
    assert f"lhc places LSTM on tiles step by step, and not this one: {reason};" in found.detail


def test_costs_say_in_the_same_line_what_is_not_counted(open_steps: onnx.ModelProto) -> None:
    found = lhc.analyze(open_steps, shapes={"x": (1, 4, 16)})
    layers = tuple(layer.model_copy(update={"counted": layer.name != "head"}) for layer in found.plan.layers)
    partly = replace(found, plan=found.plan.model_copy(update={"layers": layers}))
    (line,) = (line for line in analysis_footer(partly).splitlines() if line.startswith("estimated cost"))
    assert line.endswith("a sample (without 1 operator that is not counted)")
    placed = partly.plan.decide({layer.name: ("analog", "budget", "") for layer in layers})
    assert "(without 1 operator that is not counted)" in summary(placed, found.facts)
    assert "without" not in analysis_footer(found) + summary(found.plan, found.facts)
