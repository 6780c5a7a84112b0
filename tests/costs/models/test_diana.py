"""DIANA by the published analytical model."""

from collections.abc import Callable
from types import ModuleType

import pytest
from onnx import helper

from lhc.canonical import canonical
from lhc.costs import cost_of
from lhc.graph import LayerGraph
from lhc.hardware import DianaCosts, Hardware, Tiles
from lhc.onnx_io import read_graph
from tests.onnx_io.built_models import model_of, numbers

One = Callable[..., LayerGraph]


def diana(**fields: object) -> Hardware:
    return Hardware(
        name="diana",
        tiles=Tiles(rows=1152, cols=512),
        devices=None,
        costs=DianaCosts.model_validate(fields),
    )


@pytest.mark.parametrize(
    ("channels", "outputs", "unroll"),
    [
        pytest.param(16, 16, 4, id="(4 + 2) * 64 * 3 = 1152 rows"),
        pytest.param(64, 64, 4, id="as many channels as are counted at least"),
        pytest.param(128, 64, 1, id="(1 + 2) * 128 * 3 = 1152 rows, two would need 1536"),
        pytest.param(64, 256, 2, id="2 * 256 = 512 columns"),
        pytest.param(64, 512, 1, id="all columns"),
    ],
)
def test_an_analog_convolution_by_hand(one: One, channels: int, outputs: int, unroll: int) -> None:
    graph = one(9 * channels, outputs, positions=256, kernel=(3, 3))
    parts = cost_of(graph, frozenset({"product"}), diana()).layers["product"].parts
    assert parts["product"].latency_s == pytest.approx(256 / unroll * 70e-9)
    assert parts["product"].energy_j == pytest.approx(256 / unroll * 70e-9 * 28.74e-3)
    assert parts["weights"].latency_s == pytest.approx(4 * 2 * channels * 9 / 260e6)


def test_copies_count_as_input_channels(one: One) -> None:
    graph = one(9 * 64, 64, positions=256, kernel=(3, 3))
    parts = cost_of(graph, frozenset({"product"}), diana(), {"product": 3}).layers["product"].parts
    # 192 channels: two products of 128, no neighbouring outputs at once.
    assert parts["product"].latency_s == pytest.approx(2 * 256 * 70e-9)
    assert parts["weights"].latency_s == pytest.approx(8 * 192 * 9 / 260e6)


def test_many_channels_take_several_products(one: One) -> None:
    graph = one(9 * 300, 600, positions=16, kernel=(3, 3))
    parts = cost_of(graph, frozenset({"product"}), diana(load_cycles_per_row=0)).layers["product"].parts
    # ceil(600 / 512) = 2 by ceil(300 / 128) = 3.
    assert parts["product"].latency_s == pytest.approx(2 * 3 * 16 * 70e-9)
    assert parts["weights"].latency_s == 0


def test_a_digital_convolution_by_hand(one: One) -> None:
    graph = one(9 * 20, 40, positions=18 * 18, kernel=(3, 3))
    parts = cost_of(graph, frozenset(), diana()).layers["product"].parts
    # ceil(40 / 16) · 20 · ceil(18 / 16) · 18 · 9 cycles, and 18 · 18 · (40 + 20) bytes, eight a cycle.
    assert parts["product"].latency_s == pytest.approx(3 * 20 * 2 * 18 * 9 / 260e6)
    assert parts["activations"].latency_s == pytest.approx(18 * 18 * 60 / 8 / 260e6)
    assert parts["product"].energy_j == pytest.approx(3 * 20 * 2 * 18 * 9 / 260e6 * 24.96e-3)


@pytest.mark.parametrize("channels", [8, 17, 64])
def test_a_digital_transposed_convolution_reads_all_its_channels(channels: int) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["up.out"], name="up", strides=[2, 2])
    model = model_of([node], {"x": (1, channels, 16, 16)}, {"w": numbers(channels, 16, 3, 3)}, ("up.out",))
    parts = cost_of(read_graph(canonical(model)), frozenset(), diana()).layers["up"].parts
    # Every pixel by 16 · 9 outputs: ceil(16 · 9 / 16) · Cin · ceil(16 / 16) · 16 cycles, four times that in float32.
    assert parts["product"].latency_s == pytest.approx(4 * 9 * channels * 16 / 260e6)
    assert parts["activations"].latency_s == pytest.approx(4 * 16 * 16 * (16 * 9 + channels) / 8 / 260e6)


def test_a_depthwise_convolution_is_digital_work_per_group(one: One) -> None:
    graph = one(9, 1, groups=32, positions=256, kernel=(3, 3))
    parts = cost_of(graph, frozenset(), diana()).layers["product"].parts
    # The published formula: ceil(Cout / groups / 16) · Cin · …
    assert parts["product"].latency_s == pytest.approx(1 * 32 * 1 * 16 * 9 / 260e6)


def test_pooling_and_additions_pass_through_the_memory_and_relu_is_free(
    benchmark: Callable[[str], ModuleType],
) -> None:
    b = benchmark("published_networks").Builder(8, 16)
    b.conv("first", 8)
    start = b.tensor
    b.append("relu", "Relu")
    b.conv("second", 8)
    b.append("add", "Add", start)
    b.pool("pool")
    b.conv("third", 8)
    others = cost_of(b.graph(), frozenset(), diana()).others
    # 8 channels of 16x16 are 2,048 bytes; both read one such tensor at least, eight bytes a cycle.
    assert {name: cost.latency_s for name, cost in others.items()} == pytest.approx(
        {"add": 2048 / 8 / 260e6, "pool": 2048 / 8 / 260e6}
    )
    assert others["add"].energy_j == pytest.approx(2048 / 8 / 260e6 * 24.96e-3)
    assert not cost_of(b.graph(), frozenset(), diana(other_bytes_per_cycle=0)).others


def test_crossings_are_free() -> None:
    assert cost_of(LayerGraph([], ["x"], []), frozenset(), diana()).crossings == {}
