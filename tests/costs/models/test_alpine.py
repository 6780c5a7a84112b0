"""Latency and energy of layers on a core with tiles, against sums by hand."""

import math
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from lhc.canonical import canonical
from lhc.costs import Cost, SystemCost, assumptions, cost_of, cost_terms, costs_on_tiles
from lhc.errors import ConfigError, ModelError, UsageError
from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef, Work
from lhc.hardware import Adc, AlpineCosts, Hardware, Mapping, Pcm
from lhc.hardware.description.tiles_and_converters import Compensation, Section
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel
from lhc.plan.digital_arithmetic import DigitalArithmetic

LIONHEART = Hardware.load("lionheart")  # 256x255 tiles, dynamic scaling, 8-bit converters
One = Callable[..., LayerGraph]
ALL = frozenset({"product"})


def with_costs(section: str, **fields: object) -> Hardware:
    """LionHeart's machine with some of its cost numbers changed."""
    assert isinstance(LIONHEART.costs, AlpineCosts)
    changed: Section = getattr(LIONHEART.costs, section).model_copy(update=fields)
    return LIONHEART.model_copy(update={"costs": LIONHEART.costs.model_copy(update={section: changed})})


def analog(graph: LayerGraph, hardware: Hardware = LIONHEART) -> SystemCost:
    return cost_of(graph, ALL, hardware)


def nanoseconds(cost: SystemCost) -> dict[str, float]:
    """Latency by part, in ns."""
    return {name: 1e9 * part.latency_s for name, part in cost.layers["product"].parts.items()}


def test_a_matrix_of_two_tiles_by_hand(one: One) -> None:
    # 300 rows: two tiles in height; 10 columns: one in width. One product of each, one after the other.
    parts = nanoseconds(analog(one(300, 10)))
    clock = 2.0  # cycles per ns
    assert parts["input"] == pytest.approx(75 * 1.0)  # 300 bytes in words of 4, 4 B/ns
    assert parts["product"] == pytest.approx(2 * 100.0)
    assert parts["output"] == pytest.approx(2 * 3 * 1.0)  # 10 bytes are three words, from either tile
    assert parts["quantise"] == pytest.approx(300 * 2.0 / clock)
    assert parts["scaling"] == pytest.approx((300 * 0.5 + 2 * 6) / clock)  # one division per vector and tile
    assert parts["rescale"] == pytest.approx(2 * 10 * 2.0 / clock)
    assert parts["partial sums"] == pytest.approx(10 * 1.0 / clock)  # one addition per output
    assert parts["im2col"] == 0  # a matrix product gathers nothing
    assert parts["re-reads"] == 0


def test_values_of_converters_move_as_whole_bytes(one: One) -> None:
    """The i and o of the formula in docs/costs.md."""
    for bits, size in ((8, 1), (9, 2), (16, 2), (17, 3), (24, 3), (None, 4)):
        converters = {"dac": LIONHEART.dac, "adc": LIONHEART.adc}
        machine = LIONHEART.model_copy(
            update={name: kind.model_copy(update={"bits": bits}) for name, kind in converters.items()}
        )
        parts = nanoseconds(analog(one(300, 10), machine))
        assert parts["input"] == pytest.approx(math.ceil(300 * size / 4))
        assert parts["output"] == pytest.approx(2 * math.ceil(10 * size / 4))


def test_links_of_tiles_move_at_once_and_the_core_waits(one: One) -> None:
    # 600 rows and 500 columns: three tiles in height and two in width. Each link takes a third of the inputs, and
    # half of the outputs of one row of tiles; the core waits.
    graph, own = one(600, 500), with_costs("tile", links="own")
    found, shared = analog(graph, own).layers["product"], analog(graph).layers["product"]
    assert 1e9 * found.parts["input"].latency_s == pytest.approx(150 * 1.0 / 3)
    assert 1e9 * found.parts["output"].latency_s == pytest.approx(3 * 125 * 1.0 / 6)
    assert 1e12 * found.parts["input"].energy_j == pytest.approx(600 * 1.25 + 50 * 2.0 * 100)
    assert found.parts["product"] == shared.parts["product"]
    assert {name: 1e9 * seconds for name, seconds in found.busy.items()} == pytest.approx(
        {"tiles": 600.0, "links": 50 + 62.5}
    )
    assert shared.busy.keys() == {"tiles"}
    assert shared.latency_s - shared.busy_s == pytest.approx(shared.latency_s - 600e-9)


def test_copies_are_driven_again_and_quantised_once(one: One) -> None:
    graph = one(100, 10)
    two, once = (nanoseconds(cost_of(graph, ALL, LIONHEART, copies)) for copies in ({"product": 2}, {}))
    assert two["input"] == pytest.approx(2 * once["input"])  # 200 rows of one tile
    assert {name: two[name] for name in two if name != "input"} == pytest.approx(
        {name: once[name] for name in once if name != "input"}
    )


def test_sums_of_copies_that_are_beyond_the_adc_are_read_again(one: One) -> None:
    graph, copies = one(100, 10), {"product": 2}
    parts = nanoseconds(cost_of(graph, ALL, LIONHEART, copies, {"product": (0.3, 0.4, 0.6, 1.2)}))
    once = sum(parts[name] for name in ("quantise", "input", "product", "output", "rescale"))
    assert parts["re-reads"] == pytest.approx(once * (0 + 0 + 1 + 2) / 4)


def test_where_sums_are_not_known_every_doubling_beyond_two_copies_counts_as_one_more_read(one: One) -> None:
    def again(copies: int) -> float:
        parts = nanoseconds(cost_of(one(10, 10), ALL, LIONHEART, {"product": copies}))
        return parts["re-reads"] / sum(parts[name] for name in ("quantise", "input", "product", "output", "rescale"))

    assert [again(copies) for copies in (1, 2, 4, 16)] == pytest.approx([0, 0, 1, 3])


def test_an_adc_without_a_bound_is_read_once(one: One) -> None:
    open_adc = LIONHEART.model_copy(update={"adc": Adc(bits=None, bound=None)})
    assert nanoseconds(cost_of(one(10, 10), ALL, open_adc, {"product": 16}))["re-reads"] == 0


def test_copies_on_further_tiles_take_products_outputs_and_additions(one: One) -> None:
    parts = nanoseconds(cost_of(one(100, 10), ALL, LIONHEART, {"product": 4}))  # 400 rows: two tiles
    assert parts["input"] == pytest.approx(100)
    assert parts["product"] == pytest.approx(2 * 100.0)
    assert parts["output"] == pytest.approx(2 * 3 * 1.0)
    assert parts["quantise"] == pytest.approx(100 * 2.0 / 2)
    assert parts["partial sums"] == pytest.approx(10 * 1.0 / 2)
    assert costs_on_tiles(one(100, 10), LIONHEART)("product", 4).latency_s == pytest.approx(1e-9 * sum(parts.values()))


def test_an_offset_takes_an_addition_for_every_input_and_every_output_of_a_tile(one: One) -> None:
    fields = {"devices": Pcm(pair="digital-offset"), "adc": Adc(bound_management="none")}
    pairs, single = (
        nanoseconds(analog(one(300, 10), LIONHEART.model_copy(update=fields | more)))  # two tiles
        for more in ({"devices": Pcm()}, {})
    )
    assert single.pop("offsets") == pytest.approx((300 + 2 * 10) * 1.0 / 2)
    assert single == pairs


def test_slices_are_driven_read_and_added_like_tiles(one: One) -> None:
    sliced = LIONHEART.model_copy(update={"mapping": Mapping(cell_bits=4, slices=3)})
    parts = nanoseconds(analog(one(100, 10), sliced))
    assert parts["input"] == pytest.approx(3 * 25)
    assert parts["product"] == pytest.approx(3 * 100.0)
    assert parts["output"] == pytest.approx(3 * 3 * 1.0)
    assert parts["quantise"] == pytest.approx(100 * 2.0 / 2)
    assert parts["rescale"] == pytest.approx(3 * 10 * 2.0 / 2)
    assert parts["partial sums"] == pytest.approx(2 * 10 * 1.0 / 2)
    assert parts["read-outs"] == pytest.approx(3 * nanoseconds(analog(one(100, 10)))["read-outs"])


def test_slices_of_inputs_are_products_of_their_own(one: One) -> None:
    unmanaged = LIONHEART.model_copy(update={"adc": LIONHEART.adc.model_copy(update={"bound_management": "none"})})
    sliced = unmanaged.model_copy(update={"dac": LIONHEART.dac.model_copy(update={"slice_bits": 3})})
    parts, once = (nanoseconds(analog(one(300, 10), machine)) for machine in (sliced, unmanaged))
    assert {name: parts[name] for name in ("input", "quantise", "scaling", "read-outs")} == pytest.approx(
        {name: once[name] for name in ("input", "quantise", "scaling", "read-outs")}
    )
    # Seven bits of magnitude: three reads of two tiles.
    assert {name: parts[name] / once[name] for name in ("product", "output", "rescale")} == pytest.approx(
        {"product": 3, "output": 3, "rescale": 3}
    )
    assert parts["partial sums"] == pytest.approx(5 * once["partial sums"])


def test_energy_of_one_tile_by_hand(one: One) -> None:
    cost = analog(one(256, 8))
    parts = cost.layers["product"].parts
    waiting = 100.0 * 2.0 * 100e-12  # 100 ns at 2 cycles per ns, 100 pJ a cycle
    assert parts["product"].energy_j == pytest.approx(256 * 255 * 0.828e-12)
    assert parts["core waiting"].energy_j == pytest.approx(waiting)
    # The core moves 256 bytes in 64 ns, 128 cycles, and each byte is buffered once.
    assert parts["input"].energy_j == pytest.approx(128 * 320e-12 + 256 * 1.25e-12)
    assert parts["quantise"].energy_j == pytest.approx(512 * 320e-12)
    assert cost.energy_j == pytest.approx(sum(part.energy_j for part in parts.values()))


@pytest.mark.parametrize(
    ("cell", "cells"), [({"pairs_per_weight": 3}, 3 * 256 * 255), ({"pair": "reference-column"}, 256 * 256)]
)
def test_unit_cells_of_a_weight_are_counted(one: One, cell: dict[str, Any], cells: int) -> None:
    assert LIONHEART.devices is not None
    machine = LIONHEART.model_copy(update={"devices": LIONHEART.devices.model_copy(update=cell)})
    parts, once = (analog(one(256, 8), each).layers["product"].parts for each in (machine, LIONHEART))
    more = (cells - 256 * 255) * 0.828e-12
    assert parts["product"].energy_j - once["product"].energy_j == pytest.approx(more)
    assert parts["product"].latency_s == once["product"].latency_s
    reads = 256 / 1e6  # a sample's share of reading out
    assert parts["read-outs"].energy_j - once["read-outs"].energy_j == pytest.approx(reads * more, rel=1e-3)


def test_energy_of_a_product_is_what_the_source_says(one: One) -> None:
    """12.8 TOPS/W in 14 nm, times 5.3 in 28 nm, for 2 operations in each of 256x256 cells."""
    cells = 256 * 256
    per_product = cells * 0.828e-12
    assert per_product == pytest.approx(2 * cells / 12.8e12 * 5.3, rel=1e-3)


def test_a_digital_product_by_hand(one: One) -> None:
    cost = cost_of(one(300, 10, positions=7), frozenset(), LIONHEART)
    cycles = 300 * 10 * 7 / 2.8
    assert cost.latency_s == pytest.approx(cycles / 2e9)
    assert cost.energy_j == pytest.approx(cycles * 320e-12)


def test_weights_beyond_the_cache_come_from_memory_for_each_sample(one: One) -> None:
    graph = one(2048, 1024)  # 2 MiB of int8
    part = cost_of(graph, frozenset(), LIONHEART).layers["product"].parts["weights"]
    size = 2048 * 1024
    assert part.latency_s == pytest.approx(size / 5.332e9)
    assert part.energy_j == pytest.approx(size * 15e-12 + size / 5.332e9 * 2e9 * 100e-12)
    assert "weights" not in cost_of(one(1024, 1024), frozenset(), LIONHEART).layers["product"].parts


def test_weights_in_the_high_precision_take_more_of_the_cache_and_of_the_memory(one: One) -> None:
    graph = one(1024, 512)  # half a MiB of int8, 2 MiB of fp32
    raised = DigitalArithmetic(precision="int8", high_precision="fp32", raised=("product",))
    low = cost_of(graph, frozenset(), LIONHEART).layers["product"]
    high = cost_of(graph, frozenset(), LIONHEART, arithmetic=raised).layers["product"]
    assert "weights" not in low.parts
    assert high.parts["weights"].latency_s == pytest.approx(4 * 1024 * 512 / 5.332e9)
    assert high.parts["product"].latency_s == pytest.approx(4 * low.parts["product"].latency_s)


def lstm(hidden: int, steps: int) -> OnnxModel:
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal((1, 4 * hidden, hidden)).astype(np.float32), name) for name in "wr"
    ]
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], name="lstm", hidden_size=hidden)
    shapes = {"x": [steps, 1, hidden], "y": [steps, 1, 1, hidden]}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    graph = helper.make_graph([node], "g", [x], [y], weights)
    return load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.mark.parametrize("hidden", [64, 512], ids=["in the cache", "from memory"])
def test_a_written_out_recurrent_operator_has_its_weights_once(hidden: int) -> None:
    as_in_the_file = lstm(hidden, steps=5)
    graphs = [read_graph(model) for model in (as_in_the_file, canonical(as_in_the_file))]
    whole, steps = (cost_terms(graph, LIONHEART).digital for graph in graphs)
    assert (len(whole), len(steps) > 4) == (1, True)
    fetched = [sum(cost.parts.get("weights", Cost()).energy_j for cost in one.values()) for one in (whole, steps)]
    assert fetched[0] == pytest.approx(fetched[1])
    assert (fetched[0] > 0) == (hidden == 512)


def test_steps_on_one_tile_set_share_its_read_outs() -> None:
    model = canonical(lstm(64, steps=5))
    graph = read_graph(model)
    steps = [name for tie in graph.tied(layer.name for layer in graph.candidates) if len(tie) > 1 for name in tie]
    assert len(steps) > 1
    found = cost_of(graph, frozenset(steps), LIONHEART).layers
    alone = cost_of(graph, frozenset(steps[:1]), LIONHEART).layers
    every = sum(found[name].parts["read-outs"].energy_j for name in steps)
    assert every == pytest.approx(len(steps) * alone[steps[0]].parts["read-outs"].energy_j)
    vectors = 256 * LIONHEART.tiles_for(64, 256)
    seconds = sum(found[name].parts["read-outs"].latency_s for name in steps)
    assert seconds == pytest.approx(vectors * (64 + 100 + 64) * 1e-9 / 1e6)


def test_positions_repeat_everything_but_the_read_outs(one: One) -> None:
    once, often = (analog(one(300, 10, positions=n)).layers["product"].parts for n in (1, 50))
    for name, part in once.items():
        factor = 1 if name == "read-outs" else 50
        assert often[name].latency_s == pytest.approx(factor * part.latency_s)
        assert often[name].energy_j == pytest.approx(factor * part.energy_j)


def test_groups_are_driven_one_at_a_time(one: One) -> None:
    # 9 rows, 1 column, 16 groups side by side on one tile: sixteen products with it.
    grouped = nanoseconds(analog(one(9, 1, groups=16, positions=4, kernel=(3, 3))))
    assert grouped["product"] == pytest.approx(16 * 4 * 100)
    assert grouped["input"] == pytest.approx(16 * 4 * 3)


def test_a_group_that_reaches_over_the_edge_of_a_tile_drives_both(one: One) -> None:
    # 3 groups of 170 columns on two tiles of 255: the second group lies on either side of the edge.
    assert nanoseconds(analog(one(10, 170, groups=3)))["product"] == pytest.approx(4 * 100)
    # 2 groups of 255: the edge lies between them.
    assert nanoseconds(analog(one(10, 255, groups=2)))["product"] == pytest.approx(2 * 100)


def test_only_kernels_of_more_than_one_pixel_are_unfolded(one: One) -> None:
    assert nanoseconds(analog(one(27, 4, positions=5, kernel=(3, 3))))["im2col"] == pytest.approx(27 * 5 * 2 / 2)
    assert nanoseconds(analog(one(27, 4, positions=5, kernel=(1, 1))))["im2col"] == 0


def test_parallel_tiles_save_time_and_no_tile_energy(one: One) -> None:
    graph = one(1024, 510)  # 4 x 2 tiles
    serial, parallel = (
        analog(graph, with_costs("tile", schedule=schedule)).layers["product"].parts
        for schedule in ("serial", "parallel")
    )
    assert [found["product"].latency_s for found in (serial, parallel)] == pytest.approx([800e-9, 100e-9])
    assert serial["product"].energy_j == parallel["product"].energy_j
    # The core waits for less time.
    assert serial["core waiting"].energy_j - parallel["core waiting"].energy_j == pytest.approx(700 * 2 * 100e-12)


def test_repeated_reads_repeat_transfers_and_products(one: One) -> None:
    graph = one(300, 10)
    parts = nanoseconds(analog(graph, with_costs("tile", reread_share=0.1)))
    once = sum(parts[name] for name in ("quantise", "input", "product", "output", "rescale"))
    assert parts["re-reads"] == pytest.approx(0.1 * once)
    none = with_costs("tile", reread_share=0.1)
    none = none.model_copy(update={"adc": none.adc.model_copy(update={"bound_management": "none"})})
    assert nanoseconds(analog(graph, none))["re-reads"] == 0


def test_read_outs_drive_every_row_of_every_tile_now_and_then(one: One) -> None:
    graph = one(300, 10)  # two tiles
    parts = nanoseconds(analog(graph, with_costs("tile", samples_per_readout=1000.0)))
    assert parts["read-outs"] == pytest.approx(2 * 256 * (64 + 100 + 64) / 1000)
    uncompensated = with_costs("tile", samples_per_readout=1000.0).model_copy(
        update={"compensation": Compensation(drift="none")}
    )
    assert nanoseconds(analog(graph, uncompensated))["read-outs"] == 0


def test_static_ranges_save_the_scaling(one: One) -> None:
    static = LIONHEART.model_copy(update={"dac": LIONHEART.dac.model_copy(update={"scaling": "static"})})
    assert nanoseconds(analog(one(300, 10), static))["scaling"] == 0


def test_resnet20_on_tiles_as_derived_from_the_simulator(published: ModuleType) -> None:
    """11,073 products of tiles and 1.56 ms for these and all transfers, one tile after the other."""
    graph = published.NETWORKS["ResNet20"]()
    cost = cost_of(graph, published.analog_layers(graph), LIONHEART)
    by_part = {
        part: sum(layer.parts[part].latency_s for layer in cost.layers.values())
        for part in ("input", "product", "output")
    }
    assert by_part["product"] == pytest.approx(11_073 * 100e-9)
    assert sum(by_part.values()) == pytest.approx(1.56e-3, abs=5e-6)


@pytest.mark.parametrize(("network", "gain"), [("AlexNet", 5.5), ("VGG16", 6.6)])
def test_published_run_time_gains_within_a_factor_of_two(published: ModuleType, network: str, gain: float) -> None:
    graph = published.NETWORKS[network]()
    time, energy = published.gain(graph, published.analog_layers(graph))
    assert gain / 2 < time < gain * 2
    # "Energy gains track speed-up closely."
    assert energy == pytest.approx(time, rel=0.1)


def test_other_operators_cost_the_same_wherever_products_go(published: ModuleType) -> None:
    graph = published.NETWORKS["ResNet8"]()
    everything = cost_of(graph, published.analog_layers(graph), LIONHEART)
    digital = cost_of(graph, frozenset(), LIONHEART)
    assert digital.others == everything.others
    # The first ReLU touches 16 channels of 32x32.
    assert digital.others["relu1"].latency_s == pytest.approx(16 * 32 * 32 / 2e9)
    assert "flatten" not in digital.others


def test_all_on_one_side_converts_nothing(published: ModuleType) -> None:
    graph = published.NETWORKS["ResNet8"]()
    for placement in (frozenset[str](), published.analog_layers(graph)):
        assert cost_of(graph, placement, LIONHEART).crossings == {}


def test_assumptions_are_told_and_name_what_was_changed(one: One) -> None:
    found = {a.name: a for a in analog(one(8, 8)).assumptions}
    assert found["costs.core.macs_per_cycle"].value == "2.8 MAC/cycle"
    assert "LionHeart" in found["costs.core.macs_per_cycle"].text
    changed = cost_of(one(8, 8), ALL, with_costs("core", macs_per_cycle=4.0)).assumptions
    text = next(str(a) for a in changed if a.name == "costs.core.macs_per_cycle")
    assert text == "costs.core.macs_per_cycle = 4.0 MAC/cycle: as the hardware description has it"
    assert any(a.value == "" and a.name == "groups" for a in changed)
    assert "costs.core.clock_ghz" not in found, "it has a source"


def test_a_number_brings_its_source_or_is_told_to_have_none() -> None:
    tile = "{product_ns: {value: 80, source: 'chip 7, 2026'}, io_bytes_per_ns: 8.0}"
    core = "{add_cycles: {value: 1, source: counted}}"
    machine = Hardware.parse(f"name: x\ncosts: {{tile: {tile}, core: {core}}}\n", "x")
    assert isinstance(machine.costs, AlpineCosts)
    assert machine.costs.tile.product_ns == 80
    told = [str(one) for one in assumptions(machine)]
    assert "costs.tile.product_ns = 80.0 ns (source: chip 7, 2026)" in told
    assert "costs.tile.io_bytes_per_ns = 8.0 B/ns: as the hardware description has it" in told
    assert "costs.core.add_cycles = 1.0 cycles/element (source: counted)" in told
    assert not any("buffer_pj_per_byte" in one for one in told), "lhc has a source of its own"
    again = Hardware.parse(machine.to_yaml(), "y")
    assert again == machine
    assert [str(one) for one in assumptions(pickle.loads(pickle.dumps(again)))] == told


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("{value: 80}", r"costs\.tile\.product_ns: write a number, or both value and source"),
        ("{value: 80, source: a, unit: ns}", "write a number, or both value and source"),
        ("{value: 80, source: ''}", "source is a text of 1 to 500 characters"),
        ("{value: -80, source: a}", "must be greater than 0"),
    ],
)
def test_a_source_without_its_number_is_refused(number: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Hardware.parse(f"name: x\ncosts: {{tile: {{product_ns: {number}}}}}\n", "x")


def test_what_has_no_costs_says_so(one: One) -> None:
    with pytest.raises(ConfigError, match="'lionheart' describes no costs: give it a section 'costs'"):
        cost_of(one(8, 8), frozenset(), LIONHEART.model_copy(update={"costs": None}))
    with pytest.raises(UsageError, match="nothing: no product with a constant matrix"):
        cost_of(one(8, 8), frozenset({"nothing"}), LIONHEART)
    unknown = Layer("p", "MatMul", ("x", "w"), ("y",), WeightRef("w", 1, (3, 4), "float32", "w"))
    with pytest.raises(ModelError, match="'p': its size is not known"):
        cost_of(LayerGraph([unknown], ["x"], ["y"]), frozenset(), LIONHEART)


def test_other_operators_that_multiply_cost_their_products_wherever_they_are() -> None:
    work = Work((MatrixShape(40, 128, 1, 20),), (MatrixShape(8, 20, 2, 20),), parameters=3 * 2**20, weights=("w",))
    lstm = Layer("lstm", "LSTM", ("x",), ("h",), counted=work)
    inner = Layer("inner", "GRU", ("h",), ("i",), counted=Work((MatrixShape(4, 4, 1, 1),), parameters=16))
    graph = LayerGraph([lstm, Layer("relu", "Relu", ("h",), ("y",))], ["x"], ["y"], [inner])
    cost = cost_of(graph, frozenset(), LIONHEART)
    assert isinstance(LIONHEART.costs, AlpineCosts)
    rate, memory = LIONHEART.costs.core.macs_per_cycle, LIONHEART.costs.memory
    clock = LIONHEART.costs.core.clock_ghz * 1e9
    parts = cost.layers["lstm"].parts
    # As in the file, in float32: onnxruntime has no LSTM on integers of static ranges.
    cycles = LIONHEART.digital.cycles.fp32
    assert parts["product"].latency_s == pytest.approx(cycles * (40 * 128 * 20 + 8 * 20 * 2 * 20) / rate / clock)
    # Weights beyond the cache are fetched, as those of any product.
    assert parts["weights"].latency_s == pytest.approx(4 * 3 * 2**20 / memory.dram_gb_per_s * 1e-9)
    assert cost.layers["inner"].parts["product"].latency_s == pytest.approx(cycles * 16 / rate / clock)
    with pytest.raises(UsageError, match="lstm: no product with a constant matrix"):
        cost_of(graph, frozenset({"lstm"}), LIONHEART)
