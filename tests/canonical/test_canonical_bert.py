"""BERT as onnxruntime.transformers.optimizer leaves it: fused, packed, and placed with gradients."""

import warnings

import numpy as np
import onnx
import pytest

import lhc
from lhc.hardware import Hardware
from lhc.pipeline.inputs.model_source import open_model
from lhc.runtime import parity_errors

pytestmark = [pytest.mark.analog, pytest.mark.slow]

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """Two layers with random weights."""
    import torch
    from onnxruntime.transformers import optimizer

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.BertConfig(**sizes, intermediate_size=64, attn_implementation="eager")

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = transformers.BertModel(config).eval()

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            states: torch.Tensor = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
            return states

    folder = tmp_path_factory.mktemp("bert")
    ids, names = torch.zeros(1, 8, dtype=torch.long), ["input_ids", "attention_mask"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            States(), (ids, torch.ones_like(ids)), folder / "bert.onnx", dynamo=False, input_names=names,
            output_names=["y"], dynamic_axes={name: {0: "N"} for name in (*names, "y")}, opset_version=17,
        )  # fmt: skip
        fused = optimizer.optimize_model(str(folder / "bert.onnx"), "bert", num_heads=4, hidden_size=32, opt_level=0)
        fused.save_model_to_file(str(folder / "fused.onnx"))
    return onnx.load(folder / "fused.onnx")


def test_every_product_of_a_fused_transformer_is_placed_by_its_gradients(bert: onnx.ModelProto) -> None:
    kinds = {node.op_type for node in bert.graph.node}
    assert {"Attention", "BiasGelu", "EmbedLayerNormalization", "SkipLayerNormalization"} <= kinds
    types = {i.name: onnx.helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type) for i in bert.graph.input}
    rng = np.random.default_rng(0)
    mask = np.ones((40, 8))
    mask[::2, 5:] = 0
    arrays = {"input_ids": rng.integers(0, 50, (40, 8)), "attention_mask": mask}
    feeds = {name: arrays[name].astype(dtype) for name, dtype in types.items()}

    opened = open_model(bert)
    graph = opened.graph(dict.fromkeys(feeds, (1, 8)))
    products = [layer.name for layer in graph.candidates if layer.weight is not None]
    assert len(products) == 2 * (3 + 3)
    some = {name: array[:4] for name, array in feeds.items()}
    errors = parity_errors(opened.model, graph, Hardware.load("lionheart"), products, some, 4)
    assert max(errors.values()) < 1e-5

    result = lhc.partition(
        bert, feeds, metric="nmse", draws=2, max_drop=0.1, objective="macs", method="fisher", output="y"
    )
    assert result.plan.analog == {*products}
    assert {row.sensitivity.method for row in result.plan.layers if row.sensitivity} == {"fisher"}
