"""Experts of MoE and QMoE, and products by stacks of matrices, expert by expert."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

import lhc
from lhc.canonical import canonical
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_plan
from lhc.pipeline.inputs.model_source import LoadedModel
from lhc.runtime import parity_errors
from lhc.runtime.gradients.network import DifferentiableModel, parity
from lhc.runtime.onnxruntime.sessions import Array, create_session
from tests.conftest import older

pytestmark = pytest.mark.analog

IDEAL = Hardware.load("lionheart").geometry
EXPERTS, HIDDEN, INNER, TOKENS, CHOSEN = 4, 32, 64, 6, 2
X = {"x": np.random.default_rng(0).normal(size=(8, TOKENS, HIDDEN)).astype(np.float32)}


@dataclass(frozen=True)
class Case:
    id: str
    attributes: dict[str, Any]
    fused: int = 1
    biases: bool = True
    bits: int = 0
    zeros: bool = False
    tensors: dict[str, Array] = field(default_factory=dict)

    def model(self) -> onnx.ModelProto:
        """A router and its experts, over tokens."""
        rng = np.random.default_rng(20261127)

        def numbers(*shape: int) -> Array:
            array: Array = (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)
            return array

        sizes = ((INNER * self.fused, HIDDEN), (HIDDEN, INNER))
        tensors: dict[str, Array] = {"router": numbers(HIDDEN, EXPERTS), "flat": np.array([-1, EXPERTS])}
        inputs = ["x", "logits"]
        for number, (outputs, width) in enumerate(sizes, 1):
            weight, scale, bias = f"w{number}", f"s{number}", f"b{number}"
            if self.bits:
                packed = 8 // self.bits
                tensors[weight] = rng.integers(0, 256, (EXPERTS, outputs, width // packed), np.uint8)
                size = self.attributes.get("block_size", 0)
                shape = (EXPERTS, outputs, width // size) if size else (EXPERTS, outputs)
                tensors[scale] = rng.uniform(0.002, 0.02, shape).astype(np.float32)
                inputs += [weight, scale]
            else:
                tensors[weight] = numbers(EXPERTS, outputs, width)
                inputs.append(weight)
            tensors |= {bias: numbers(EXPERTS, outputs)} if self.biases else {}
            inputs.append(bias if self.biases else "")
        if self.zeros:
            inputs += ["", "", "", "z1", "z2"]
            for name, (outputs, _) in zip(("z1", "z2"), sizes, strict=True):
                tensors[name] = rng.integers(0, 256, (EXPERTS, outputs * self.bits // 8), np.uint8)
        given = {"k": CHOSEN, "weights_prepacked": 0, "expert_weight_bits": self.bits} if self.bits else {"k": CHOSEN}
        kind = "QMoE" if self.bits else "MoE"
        nodes = [
            helper.make_node("MatMul", ["x", "router"], ["each"], "gate"),
            helper.make_node("Reshape", ["each", "flat"], ["logits"], "rows"),
            helper.make_node(kind, inputs, ["y"], "moe", domain="com.microsoft", **(given | self.attributes)),
        ]
        x, y = (helper.make_tensor_value_info(name, 1, ["N", TOKENS, HIDDEN]) for name in "xy")
        held = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
        versions = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(helper.make_graph(nodes, "net", [x], [y], held), opset_imports=versions, ir_version=8)


SWIGLU = {"activation_type": "swiglu", "swiglu_fusion": 1, "activation_alpha": 1.702, "activation_beta": 1.0}
CASES = [
    Case("relu", {"activation_type": "relu"}),
    Case("gelu", {"activation_type": "gelu"}, biases=False),
    Case("silu, normalised", {"activation_type": "silu", "normalize_routing_weights": 1}),
    Case("identity", {"activation_type": "identity"}),
    Case("swiglu", SWIGLU | {"swiglu_limit": 1.0, "normalize_routing_weights": 1}, fused=2),
    Case("4 bits", {"activation_type": "silu"}, biases=False, bits=4),
    Case("4 bits in blocks", {"activation_type": "silu", "block_size": 32}, biases=False, bits=4),
    Case("8 bits, zero points", {"activation_type": "relu"}, biases=False, bits=8, zeros=True),
    Case("4 bits, zero points", {"activation_type": "relu"}, bits=4, zeros=True),
]


def outputs(file: onnx.ModelProto, feeds: dict[str, Array] = X) -> Array:
    found: Array = create_session(file, "file").run(None, feeds)[0]
    return found


def assert_same(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.skipif(older("onnxruntime", "1.32"), reason="its QMoE is another"))
        if case.bits
        else case
        for case in CASES
    ],
    ids=lambda case: case.id,
)
def test_every_expert_is_two_products(case: Case) -> None:
    file = case.model()
    model = canonical(load_model(file))
    graph = LoadedModel(model, None).graph({"x": X["x"][:1].shape})
    names = [layer.name for layer in graph.candidates if layer.name != "gate"]
    assert names == [f"moe/{number}/{part}" for number in range(EXPERTS) for part in ("fc1", "fc2")]
    work = LoadedModel(load_model(file), None).graph({"x": X["x"][:1].shape})["moe"].work
    assert work is not None
    assert sum(layer.work.macs for name in names if (layer := graph[name]).work) == work.macs
    expected = outputs(file)
    assert_same(outputs(model.proto), expected)
    assert_same(lhc.HybridSession(file, IDEAL, "all-analog").run(None, X)[0], expected)
    assert max(parity_errors(model, graph, IDEAL, names, X, 8).values()) <= 1e-4
    assert max(parity(DifferentiableModel(model, graph), X).values()) <= 1e-4


def test_experts_are_annotated_and_compiled(tmp_path: Path) -> None:
    file = CASES[2].model()
    result = lhc.partition(
        file, X, metric="nmse", draws=2, objective="macs", strategy="all-analog", hardware=IDEAL, max_drop=1.0,
        copies="off", force_digital=("moe/3/fc2",),
    )  # fmt: skip
    keys = {e.key: e.value for node in result.model.graph.node if node.name == "moe" for e in node.metadata_props}
    macs = TOKENS * CHOSEN * 2 * HIDDEN * INNER
    assert (keys["lhc.placement"], keys["lhc.macs"], keys["lhc.tiles"]) == ("mixed", str(macs), "7")
    plan = read_plan(load_model(result.model))
    assert plan is not None
    assert len(plan.analog) == 8
    assert_same(outputs(lhc.compile(result.model, noise="off").proto), outputs(file))


@pytest.mark.parametrize(
    ("attributes", "fused"),
    [({"activation_type": "swiglu", "swiglu_fusion": 2}, 2), ({"activation_type": "silu", "use_sparse_mixer": 1}, 1)],
    ids=["gates and values apart", "sparse mixer"],
)
def test_what_cpus_do_not_compute_stays_as_it_is(attributes: dict[str, Any], fused: int) -> None:
    graph = LoadedModel(canonical(load_model(Case("", attributes, fused).model())), None).graph({"x": X["x"][:1].shape})
    assert [layer.name for layer in graph.candidates] == ["gate"]
    assert graph["moe"].refusal is not None


class Stacked(torch.nn.Module):
    """Experts that compute side by side, as in Llama 4."""

    def __init__(self) -> None:
        super().__init__()
        self.up = torch.nn.Parameter(torch.randn(EXPERTS, HIDDEN, INNER) / HIDDEN**0.5)
        self.down = torch.nn.Parameter(torch.randn(EXPERTS, INNER, HIDDEN) / INNER**0.5)
        self.router = torch.nn.Linear(HIDDEN, EXPERTS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, HIDDEN)
        scores = self.router(rows).sigmoid().transpose(0, 1).unsqueeze(-1)
        each = (rows.unsqueeze(0) * scores).reshape(EXPERTS, -1, HIDDEN)
        y = torch.bmm(torch.relu(torch.bmm(each, self.up)), self.down).sum(0)
        return y.reshape(x.shape)


def test_stacks_of_experts_are_products_of_each(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "stacked.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that there is a newer exporter
        torch.onnx.export(
            Stacked().eval(), (torch.zeros(2, TOKENS, HIDDEN),), str(path), dynamo=False, input_names=["x"],
            output_names=["y"], dynamic_axes={"x": {0: "N"}, "y": {0: "N"}}, opset_version=17,
        )  # fmt: skip
    plan = lhc.analyze(path, shapes={"x": (1, TOKENS, HIDDEN)}).plan
    experts = [row for row in plan.layers if row.origin is not None]
    assert len(experts) == 2 * EXPERTS
    assert {row.macs for row in experts} == {TOKENS * HIDDEN * INNER}  # all experts, for every token
    assert {row.reason for row in plan.layers} == {"eligible"}
    file = onnx.load(path)
    assert_same(lhc.HybridSession(file, IDEAL, "all-analog").run(None, X)[0], outputs(file))
