"""Any Conv, Gemm and MatMul computes the same compiled as on the fast engine, noise off: every preset, any split.

Both get the same tiles and the same input. Last bits differ, so that an output that lies on a rounding edge may move by
one code of the ADC (and without an ADC, by what one code of the DAC makes): few may, and by no more.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import helper

from lhc.errors import ModelError
from lhc.hardware import Faults, Hardware, Pcm, Tiles, preset_names
from lhc.hardware.circuits.currents import Currents
from lhc.lowering import lower
from lhc.onnx_io import load_model, read_graph
from lhc.programmed_matrix import Correction
from lhc.runtime import HybridExecutor, HybridSession, Position
from tests.lowering.compiled_products import ROUNDING, Drawn, check, compare, inputs_of, model_of, plan_of, run, values

pytestmark = pytest.mark.analog

Array = npt.NDArray[Any]

FEW = settings(
    derandomize=True, deadline=None, max_examples=12, database=None, suppress_health_check=[HealthCheck.too_slow]
)
MANY = settings(FEW, max_examples=200)
PRESETS = {name: Hardware.load(name) for name in preset_names()}
WHOLE = [name for name, one in PRESETS.items() if not one.currents.by_weight and one.dac.slice_bits is None]
SAR = {"kind": "sar", "capacitor_mismatch": 0.03}
DTYPES = st.sampled_from(["float32", "float32", "float32", "float16", "float64"])
OPSETS = st.sampled_from([11, 13, 17, 18, 21])
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def convolutions(draw: st.DrawFn) -> Drawn:
    axes = draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(axes))
    strides = tuple(draw(st.integers(1, 3)) for _ in range(axes))
    dilations = tuple(draw(st.integers(1, 2)) for _ in range(axes))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(2 * axes))
    auto_pad = draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels = groups * draw(st.sampled_from([1, 2, 3, 9]))
    outputs = groups * draw(st.integers(1, 5))
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations, "group": groups}
    attributes |= {"pads": pads} if auto_pad == "NOTSET" else {"auto_pad": auto_pad}
    sizes = [draw(st.integers(1, 6)) + (k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    rng, dtype = np.random.default_rng(draw(SEEDS)), draw(DTYPES)
    constants = {"W": values(rng, (outputs, channels // groups, *kernel), dtype)}
    if draw(st.booleans()):
        constants["B"] = values(rng, (outputs,), dtype)
    node = helper.make_node("Conv", ["x", *constants], ["y"], name="layer", **attributes)
    x = inputs_of(rng, (3, channels, *sizes), dtype)
    model = model_of(node, x, x.ndim, constants, draw(OPSETS))
    return Drawn(model, x, f"Conv {channels}->{outputs} kernel {kernel} {sorted(constants)} {attributes}")


@st.composite
def gemms(draw: st.DrawFn) -> Drawn:
    left = draw(st.booleans())  # the weight is A
    trans_a, trans_b = draw(st.booleans()), draw(st.booleans())
    rows, inner, cols = 5, draw(st.integers(1, 30)), draw(st.integers(1, 12))
    if left:
        rows, cols = cols, rows
    rng, dtype = np.random.default_rng(draw(SEEDS)), draw(DTYPES)
    make = (values, inputs_of) if left else (inputs_of, values)
    a = make[0](rng, (inner, rows) if trans_a else (rows, inner), dtype)
    b = make[1](rng, (cols, inner) if trans_b else (inner, cols), dtype)
    constants = {"A": a} if left else {"B": b}
    names = ["A", "x"] if left else ["x", "B"]
    shape = draw(st.sampled_from([None, (), (1,), (cols,), (rows, 1), (rows, cols)]))
    if shape is not None:
        constants["C"] = values(rng, shape, dtype)
        names.append("C")
    attributes: dict[str, Any] = {"transA": int(trans_a), "transB": int(trans_b)}
    attributes |= {name: draw(st.sampled_from([0.5, -1.75, 1.0])) for name in ("alpha", "beta") if draw(st.booleans())}
    node = helper.make_node("Gemm", names, ["y"], name="layer", **attributes)
    x = b if left else a
    model = model_of(node, x, 2, constants, draw(OPSETS))
    return Drawn(model, x, f"Gemm {a.shape} x {b.shape} weight {'A' if left else 'B'} C {shape} {attributes}")


@st.composite
def matmuls(draw: st.DrawFn) -> Drawn:
    left = draw(st.booleans())  # the weight is the first operand
    inner, other = draw(st.integers(1, 30)), draw(st.integers(1, 12))
    vector, axes = draw(st.integers(0, 3)) == 0, draw(st.integers(1, 4))
    shape = [4, *(draw(st.integers(1, 3)) for _ in range(2))]
    rng, dtype = np.random.default_rng(draw(SEEDS)), draw(DTYPES)
    if left:
        weight = values(rng, (inner,) if vector else (other, inner), dtype)
        x_shape = (inner,) if axes == 1 else (*shape[: axes - 2], inner, draw(st.integers(1, 4)))
    else:
        weight = values(rng, (inner,) if vector else (inner, other), dtype)
        x_shape = (*shape[: axes - 1], inner)
    node = helper.make_node("MatMul", ["W", "x"] if left else ["x", "W"], ["y"], name="layer")
    x = inputs_of(rng, x_shape, dtype)
    model = model_of(node, x, axes - vector, {"W": weight}, draw(OPSETS))
    return Drawn(model, x, f"MatMul weight {weight.shape} on the {'left' if left else 'right'}")


@st.composite
def machines(draw: st.DrawFn) -> Hardware:
    """A preset without noise of products, on tiles so small that most matrices are split, some easily saturated."""
    machine = Hardware.load(draw(st.sampled_from(WHOLE)))
    tiles = draw(st.sampled_from([(256, 256), (7, 5), (12, 4), (20, 3)]))
    adc: dict[str, Any] = {"noise": 0.0, "range": "fixed"}
    if draw(st.booleans()) and machine.adc.bits is not None:
        adc |= {"bits": draw(st.sampled_from([None, 6, 8])), "bound": draw(st.sampled_from([0.4, 1.5, 12.0]))}
        adc["bound_management"] = draw(st.sampled_from(["iterative", "none"]))
        # So few capacitors differ so little that a value on an edge moves by two codes at most.
        adc |= draw(st.sampled_from([{}, SAR])) if adc["bits"] is not None else {}
    dac: dict[str, Any] = {}
    if draw(st.booleans()) and machine.dac.bits is not None:
        dac |= {"bits": draw(st.sampled_from([None, 5, 8])), "bound": draw(st.sampled_from([0.7, 1.0, 1.5]))}
        dac["scaling"] = draw(st.sampled_from(["abs_max", "static", "none"]))
    managed = adc.get("bound_management", machine.adc.bound_management) == "iterative"
    if not managed and dac.get("bits", machine.dac.bits) is not None:
        dac["slice_bits"] = draw(st.sampled_from([None, 1, 3]))
    pairs = machine.devices is None or machine.devices.pairs
    update = {
        "tiles": Tiles(rows=tiles[0], cols=tiles[1]),
        "adc": machine.adc.model_copy(update=adc),
        "dac": machine.dac.model_copy(update=dac),
        "currents": Currents(),
        "faults": Faults(column_offset=draw(st.sampled_from([0.0, 0.1])) if pairs else 0.0),
    }
    return machine.model_copy(update=update)


@FEW
@given(convolutions() | gemms() | matmuls(), machines(), SEEDS)
def test_any_product(drawn: Drawn, hardware: Hardware, seed: int) -> None:
    check(drawn, hardware, seed)


@pytest.mark.slow
@pytest.mark.parametrize("drawn_from", [convolutions(), gemms(), matmuls()], ids=["Conv", "Gemm", "MatMul"])
def test_many_products(drawn_from: st.SearchStrategy[Drawn]) -> None:
    MANY(given(drawn_from, machines(), SEEDS)(check))()


def _check_healed(drawn: Drawn, hardware: Hardware, seed: int, copies: int) -> None:
    """With copies of the weights, and outputs that are corrected by any gain and offset."""
    model = load_model(drawn.model)
    graph = read_graph(model, sizes=False)
    (inputs, outputs) = HybridExecutor(model, graph, ["layer"]).layers[0].matrix_shape
    rng = np.random.default_rng(seed)
    ranges = tuple(rng.uniform(0.3, 3, -(-inputs // hardware.tiles.rows)).tolist())
    plan = plan_of(model, graph, hardware, ranges, copies)
    executor = HybridExecutor(model, graph, plan.analog, plan.ranges, plan.copies)
    try:
        matrices = executor.states(hardware, seed, 0, hardware.t_inference_s)
    except ModelError as refusal:
        assume("all equal" not in str(refusal))
        raise
    (matrix,) = matrices.values()
    count = outputs * matrix.groups
    gain, offset = rng.uniform(0.5, 2, count), rng.normal(size=count)
    corrections = {"layer": Correction(gain.astype(np.float32), offset.astype(np.float32))}
    compiled = lower(model, graph, plan, matrices, "off", corrections=corrections)
    onnx.checker.check_model(compiled, full_check=True)
    programmed = replace(executor.on_chips([matrices], hardware, seed, [0]), corrections=(corrections,))
    position = Position(0, len(drawn.x))
    (expected,) = next(executor.finish(executor.prefix({"x": drawn.x}), programmed, position))
    result = run(compiled, {"x": drawn.x})
    compare(result, expected, drawn, hardware, matrix.with_gain(corrections["layer"].gain), outputs)


def test_inputs_beyond_a_static_range_have_one_code_in_every_round_of_bound_management() -> None:
    """Half the greatest code lies on a rounding edge, where the last bits of the range must not decide."""
    rng = np.random.default_rng(0)
    machine = Hardware.load("hermes")
    update = {
        "dac": machine.dac.model_copy(update={"bits": 5, "scaling": "static"}),
        "adc": machine.adc.model_copy(update={"noise": 0.0, "bits": 8, "bound": 0.4}),
    }
    node = helper.make_node("MatMul", ["x", "W"], ["y"], name="layer")
    for seed in range(6):  # each with ranges of its own
        x, weight = 30 * inputs_of(rng, (8, 15), "float32"), values(rng, (15, 3), "float32")
        drawn = Drawn(model_of(node, x, 2, {"W": weight}, 17), x, "MatMul beyond the range")
        check(drawn, machine.model_copy(update=update), seed)


def test_faults_of_cells_are_compiled() -> None:
    rng, node = np.random.default_rng(0), helper.make_node("MatMul", ["x", "W"], ["y"], name="layer")
    x, weight = inputs_of(rng, (8, 15), "float32"), values(rng, (15, 3), "float32")
    drawn = Drawn(model_of(node, x, 2, {"W": weight}, 17), x, "MatMul with faults")
    machine = Hardware.load("lionheart")
    quiet = machine.model_copy(update={"adc": machine.adc.model_copy(update={"noise": 0.0})})
    for devices in (Pcm(), Pcm(pair="two-sided", g_min_us=2)):
        faults = Faults(stuck_high=0.1, column_gain=0.1, remap=True)
        check(drawn, quiet.model_copy(update={"faults": faults, "devices": devices}), 0)


def drawn_layer(kind: str) -> Drawn:
    """A MatMul, a Conv or a grouped Conv with its inputs."""
    rng, groups = np.random.default_rng(0), 2 if kind == "grouped Conv" else 1
    x = inputs_of(rng, (8, 15) if kind == "MatMul" else (3, 6, 7, 5), "float32")
    weight = values(rng, (15, 6) if kind == "MatMul" else (6, 6 // groups, 3, 2), "float32")
    attributes: dict[str, Any] = {"group": 2} if groups == 2 else {}
    node = helper.make_node(kind.split()[-1], ["x", "W"], ["y"], name="layer", **attributes)
    return Drawn(model_of(node, x, x.ndim, {"W": weight}, 17), x, kind)


@pytest.mark.parametrize("kind", ["MatMul", "Conv", "grouped Conv"])
@pytest.mark.parametrize("management", ["iterative", "none"])
@pytest.mark.parametrize("scaling", ["abs_max", "static"])
@pytest.mark.parametrize("error", ["steps", "offsets"])
def test_adcs_that_err_are_compiled(kind: str, management: str, scaling: str, error: str) -> None:
    """Convolutions by windows and as images, groups that straddle tiles; and it makes a difference."""
    drawn = drawn_layer(kind)
    adc = {"bits": 7, "bound": 4.0, "bound_management": management, "kind": "sar", "capacitor_mismatch": 0.06}
    adc |= {"noise": 0.0, "columns_per_adc": 2}
    base = Hardware.load("lionheart").model_copy(update={"tiles": Tiles(rows=12, cols=4)})
    base = base.model_copy(update={"dac": base.dac.model_copy(update={"scaling": scaling})})
    hardware = base.model_copy(update={"adc": base.adc.model_copy(update=adc)})
    alike = hardware.model_copy(update={"adc": hardware.adc.model_copy(update={"capacitor_mismatch": 0})})
    if error == "offsets":
        hardware = alike.model_copy(update={"faults": Faults(column_offset=0.3)})
    check(drawn, hardware, 0)
    model = load_model(drawn.model)
    ranges = (1.0,) * {"MatMul": 2, "Conv": 3, "grouped Conv": 2}[kind]
    plan = plan_of(model, read_graph(model, sizes=False), hardware, ranges)
    found, other = (HybridSession(model, one, plan, seed=0).run(None, {"x": drawn.x})[0] for one in (hardware, alike))
    assert np.mean(np.abs(found - other) > ROUNDING * np.abs(found).max()) > 0.3


@pytest.mark.parametrize("kind", ["MatMul", "Conv", "grouped Conv"])
@pytest.mark.parametrize("management", ["iterative", "none"])
@pytest.mark.parametrize("bits", [6, None])
def test_inputs_without_signs_and_sums_from_zero_are_compiled(kind: str, management: str, bits: int | None) -> None:
    """Weights in two's complement, whose first slice is subtracted; zeros are read."""
    drawn = drawn_layer(kind)
    # Sums of bits are whole numbers of a step: with a round bound many would lie just between two codes of the ADC.
    adc = {"bits": bits, "bound": 4.137, "bound_management": management, "polarity": "unipolar", "zero_skipping": False}
    mapping = {"cell_bits": 1, "slices": 4, "code": "twos-complement", "columnwise": False}
    fields = {"adc": adc, "dac": {"bits": bits, "scaling": "static", "code": "unsigned"}, "mapping": mapping}
    bare = {"devices": None, "costs": None, "compensation": {"drift": "none"}, "tiles": {"rows": 12, "cols": 4}}
    hardware = Hardware.load("lionheart").with_fields({**fields, **bare})
    check(drawn, hardware, 0)
    model = load_model(drawn.model)
    ranges = (1.0,) * {"MatMul": 2, "Conv": 3}.get(kind, 2)
    signed = hardware.with_fields({"adc": adc | {"polarity": "bipolar"}, "dac": {"bits": bits, "scaling": "static"}})
    plans = (plan_of(model, read_graph(model, sizes=False), one, ranges) for one in (hardware, signed))
    found, other = (HybridSession(model, placement=plan, seed=0).run(None, {"x": drawn.x})[0] for plan in plans)
    assert np.abs(found - other).max() > 0.1


def test_ranges_of_columns_are_compiled() -> None:
    rng, node = np.random.default_rng(0), helper.make_node("MatMul", ["x", "W"], ["y"], name="layer")
    x, weight = inputs_of(rng, (8, 15), "float32"), values(rng, (15, 3), "float32")
    drawn = Drawn(model_of(node, x, 2, {"W": weight}, 17), x, "MatMul with ranges of columns")
    machine = Hardware.load("afm")
    update = {
        "adc": machine.adc.model_copy(update={"bits": 5, "columns": (1.0, 0.3, 0.7)}),
        "dac": Hardware.load("lionheart").dac,
    }
    check(drawn, machine.model_copy(update=update), 0)


@FEW
@given(convolutions() | gemms() | matmuls(), machines(), SEEDS, st.integers(1, 5))
def test_any_product_with_copies_and_corrections(drawn: Drawn, hardware: Hardware, seed: int, copies: int) -> None:
    _check_healed(drawn, hardware, seed, copies)


def test_copies_and_corrections_make_a_difference() -> None:
    """Each of them: the comparison would not pass without."""
    rng = np.random.default_rng(0)
    x, weight = inputs_of(rng, (4, 20), "float32"), values(rng, (20, 6), "float32")
    drawn = Drawn(model_of(helper.make_node("MatMul", ["x", "W"], ["y"], name="layer"), x, 2, {"W": weight}, 17), x, "")
    hardware = Hardware.load("lionheart")
    quiet = hardware.model_copy(update={"adc": hardware.adc.model_copy(update={"noise": 0.0})})
    model = load_model(drawn.model)
    graph = read_graph(model, sizes=False)
    plan = plan_of(model, graph, quiet, (), copies=3)
    found = []
    for copies in ({}, plan.copies):
        matrices = HybridExecutor(model, graph, plan.analog, plan.ranges, copies).states(quiet, 0, 0, 1.0)
        one = np.ones(6, np.float32)
        for correction in (Correction(one, 0 * one), Correction(one, one), Correction(2 * one, 0 * one)):
            compiled = lower(model, graph, plan, matrices, "off", corrections={"layer": correction})
            found.append(run(compiled, {"x": x}))
    for copied in (found[:3], found[3:]):
        np.testing.assert_allclose(copied[1], copied[0] + 1, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(copied[2], 2 * copied[0], rtol=1e-5, atol=1e-5)
    true = x @ weight
    assert np.abs(found[3] - true).mean() < np.abs(found[0] - true).mean()


@pytest.mark.slow
@pytest.mark.parametrize("drawn_from", [convolutions(), gemms(), matmuls()], ids=["Conv", "Gemm", "MatMul"])
def test_many_products_with_copies_and_corrections(drawn_from: st.SearchStrategy[Drawn]) -> None:
    MANY(given(drawn_from, machines(), SEEDS, st.integers(1, 5))(_check_healed))()
