"""Output noise of compiled models: drawn, fed, or left out, and what onnxruntime makes difficult about it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import inliner, numpy_helper
from scipy import stats

from lhc.commands.compile import compile
from lhc.errors import DataError, ModelError, UsageError
from lhc.hardware import Hardware, Tiles
from lhc.hardware.circuits.currents import Currents
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.lowering import CompiledModel, Noise
from lhc.onnx_model import all_nodes

pytestmark = pytest.mark.analog

Array = npt.NDArray[Any]

PRODUCT = """<ir_version: {ir}, opset_import: ["" : {opset}]>
product (float[N, 12] x) => (float[N, 5] y) {{
  [layer] z = MatMul (x, w)
  [act] y = Identity (z)
}}"""
SIGMA = 0.05


def product_model(opset: int = 17, ir: int = 8) -> onnx.ModelProto:
    model = onnx.parser.parse_model(PRODUCT.format(opset=opset, ir=ir))
    weights = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    return model


def machine(noise: float = SIGMA, bits: int | None = None, bound: float = 12.0) -> Hardware:
    """LionHeart's tile with this output noise; without an ADC that would round it, by default."""
    hardware = Hardware.load("lionheart")
    update = {"noise": noise, "bits": bits, "bound": None if bits is None else bound}
    adc = hardware.adc.model_copy(update=update | ({} if bits else {"bound_management": "none"}))
    return hardware.model_copy(update={"adc": adc})


def compiled(noise: Noise, hardware: Hardware | None = None, opset: int = 17) -> CompiledModel:
    return compile(product_model(opset), placement=["layer"], hardware=hardware or machine(), noise=noise)


def inputs(samples: int) -> dict[str, Array]:
    return {"x": np.random.default_rng(1).normal(size=(samples, 12)).astype(np.float32)}


def unit_of_noise(feeds: dict[str, Array], hardware: Hardware | None = None) -> Array:
    """What a noise of 1 is worth in every output: the vector's greatest magnitude times the column's scale."""
    model = compiled("off", hardware).proto
    (scales,) = (numpy_helper.to_array(t) for t in model.graph.initializer if t.name == "w.scales")
    unit: Array = np.abs(feeds["x"]).max(axis=1, keepdims=True) * scales
    return unit


def deviates(noisy: Array, feeds: dict[str, Array]) -> Array:
    (still,) = compiled("off").run(None, feeds)
    return (noisy - still) / unit_of_noise(feeds)


def test_drawn_noise_is_normal_with_the_deviation_of_the_hardware() -> None:
    feeds = inputs(20_000)
    (noisy,) = compiled("on").session(noise_seed=7).run(None, feeds)
    drawn = deviates(noisy, feeds)
    # 100,000 values: the deviation is known to 0.22 % (one sigma), so that 3 % too much or too little would be seen.
    assert abs(drawn.std() / SIGMA - 1) < 0.01
    assert abs(drawn.mean()) < 4 * SIGMA / np.sqrt(drawn.size)
    assert stats.kstest(drawn.ravel()[:5000] / SIGMA, "norm").pvalue > 1e-3
    independent = np.corrcoef(drawn, rowvar=False) - np.eye(5)
    assert np.abs(independent).max() < 5 / np.sqrt(20_000)


def test_three_percent_more_would_be_seen() -> None:
    feeds = inputs(20_000)
    (noisy,) = compiled("on", machine(1.03 * SIGMA)).session(noise_seed=7).run(None, feeds)
    assert abs(deviates(noisy, feeds).std() / SIGMA - 1) > 0.01


def test_every_run_draws_anew_and_a_seed_repeats_the_sequence() -> None:
    model, feeds = compiled("on"), inputs(10)
    session = model.session(noise_seed=5)
    first, second = session.run(None, feeds)[0], session.run(None, feeds)[0]
    assert not np.array_equal(first, second)
    again = model.session(noise_seed=5)
    np.testing.assert_array_equal(again.run(None, feeds)[0], first)
    np.testing.assert_array_equal(again.run(None, feeds)[0], second)


def test_nodes_have_no_seed_attribute_which_would_give_layers_the_same_noise() -> None:
    nodes = [node for function in compiled("on").proto.functions for node in function.node]
    random = [node for node in nodes if node.op_type.startswith("Random")]
    assert [node.op_type for node in random] == ["RandomNormalLike"]
    assert not [a.name for node in random for a in node.attribute], "scale 0 would end the process, seeds would repeat"


PLAIN = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
print(*session.run(None, {"x": numpy.ones((1, 12), numpy.float32)})[0].ravel())
"""


@pytest.mark.parametrize("grouped", [False, True], ids=["vectors", "convolution of two groups"])
def test_further_reads_of_two_layers_and_of_two_rows_of_tiles_have_noise_of_their_own(grouped: bool) -> None:
    """All sums are 12 of 8 codes, so that all vectors are read once more, in loops that onnxruntime seeds alike."""
    product, shape = ("Conv <group = 2> (x, {w})", "[N, 48, 8, 8]") if grouped else ("MatMul (x, {w})", "[N, 24]")
    text = (
        f'<ir_version: 8, opset_import: ["" : 17]> two (float{shape} x) => (float y, float u) {{'
        f" [layer] y = {product.format(w='w')}  [other] u = {product.format(w='v')} }}"
    )
    weights = np.ones((16, 24, 1, 1) if grouped else (24, 8), np.float32)
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend([numpy_helper.from_array(weights, "w"), numpy_helper.from_array(weights, "v")])
    known = Hardware.load("lionheart")
    adc = known.adc.model_copy(update={"noise": SIGMA, "bound": 8.0, "bits": 12})
    hardware = known.model_copy(update={"adc": adc, "tiles": Tiles(rows=12, cols=20), "devices": None})
    feeds = {"x": np.ones((100, 48, 8, 8) if grouped else (4000, 24), np.float32)}

    def run(noise: Noise) -> list[Array]:
        made = compile(model, placement=["layer", "other"], hardware=hardware, noise=noise)
        return made.session(noise_seed=3).run(None, feeds)  # type: ignore[no-any-return]

    noises = [noisy - still for noisy, still in zip(run("on"), run("off"), strict=True)]
    values = noises[0].size
    assert abs(np.corrcoef(noises[0].ravel(), noises[1].ravel())[0, 1]) < 5 / values**0.5
    # Read at half the size, so with twice the noise, on two rows of tiles; 5 standard errors, and rounding of the ADC.
    assert all(abs(one.std() / (2 * 2**0.5 * SIGMA) - 1) < 5 / (2 * values) ** 0.5 + 0.005 for one in noises)


def test_the_least_noise_does_not_end_the_process(tmp_path: Path) -> None:
    """RandomNormalLike(scale=0) aborts onnxruntime; here scale is 1 and the deviation is multiplied."""
    path = compiled("on", machine(1e-30)).save(tmp_path / "least.sim.onnx")
    process = subprocess.run([sys.executable, "-c", PLAIN, path], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    (expected,) = compiled("off", machine(1e-30)).run(None, {"x": np.ones((1, 12), np.float32)})
    np.testing.assert_allclose([float(y) for y in process.stdout.split()], expected[0], rtol=1e-5)


def test_hardware_without_output_noise_draws_none() -> None:
    model = compiled("on", machine(0.0))
    assert not [node for f in model.proto.functions for node in f.node if node.op_type.startswith("Random")]


def test_all_zero_vectors_stay_zero() -> None:
    feeds = inputs(4)
    feeds["x"][2] = 0
    (noisy,) = compiled("on").run(None, feeds)
    assert (noisy[2] == 0).all()
    assert (noisy[[0, 1, 3]] != 0).all()


def test_fed_noise_is_what_was_fed() -> None:
    feeds = inputs(100)
    model = compiled("input")
    given = np.random.default_rng(2).normal(size=(1, 100, 5)).astype(np.float32)
    (noisy,) = model.run(None, feeds | {"layer.deviates": given})
    np.testing.assert_allclose(deviates(noisy, feeds), SIGMA * given[0], atol=1e-5)  # float32 of outputs up to 10


def test_noise_that_is_not_fed_is_drawn_by_a_generator_of_the_caller() -> None:
    model, feeds = compiled("input", machine(bits=8, bound=2.0)), inputs(50)
    (value,) = model.deviates.values()
    assert [d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim] == [6, "N", 5]  # six rounds
    one, same, other = (model.run(None, feeds, np.random.default_rng(seed))[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def _sigma(x: Array, hardware: Hardware, scale: Array | float, copies: int = 1) -> Array:
    """Of the outputs of vectors, in units of the full scale, by the formula; 0 for a vector that is not driven."""
    codes = np.rint(np.clip(x / scale, -1, 1) * 127) / 127
    power = copies * (codes**2).sum(axis=-1, keepdims=True)
    variance = hardware.adc.noise**2 + hardware.currents.read_noise**2 * power
    return np.asarray(np.where(np.abs(x).max(axis=-1, keepdims=True) > 0, np.sqrt(variance), 0))


def with_read_noise(hardware: Hardware, **fields: object) -> Hardware:
    currents = Currents(read_noise=0.02, read_noise_kind="constant")
    return hardware.model_copy(update={"currents": currents, **fields})


def with_voltages(hardware: Hardware) -> Hardware:
    """Columns are sensed as voltages, of which read noise of currents is another share in each."""
    adc = hardware.adc.model_copy(update={"sensing": "voltage"})
    return hardware.model_copy(update={"adc": adc, "compensation": Compensation(drift="none", outputs="none")})


@pytest.mark.parametrize(
    ("noise", "copies", "voltages"), [(SIGMA, 21, False), (0.0, 21, False), (SIGMA, 1, False), (0.0, 1, True)]
)
def test_constant_read_noise_grows_with_the_vector_and_its_copies(noise: float, copies: int, voltages: bool) -> None:
    """12 rows lie 21 times on a tile of 256 whose devices err, once where they do not."""
    hardware = with_read_noise(machine(noise), **({} if copies > 1 else {"devices": None}))
    unit = unit_of_noise(inputs(200), hardware)
    hardware = with_voltages(hardware) if voltages else hardware
    feeds = inputs(200)
    feeds["x"][3] = 0
    given = np.random.default_rng(2).normal(size=(1, 200, 5)).astype(np.float32)
    (noisy,) = compiled("input", hardware).run(None, feeds | {"layer.deviates": given})
    (still,) = compiled("off", hardware).run(None, feeds)
    peaks = np.abs(feeds["x"]).max(axis=1, keepdims=True)
    sigma = _sigma(feeds["x"], hardware, np.where(peaks > 0, peaks, 1), copies)
    np.testing.assert_allclose(noisy - still, sigma * given[0] * unit, atol=2e-5)


def test_zeros_have_noise_where_they_are_read() -> None:
    hardware = machine()
    adc = hardware.adc.model_copy(update={"zero_skipping": False})
    dac, mapping = hardware.dac.model_copy(update={"scaling": "none"}), hardware.mapping
    whole = mapping.model_copy(update={"columnwise": False})
    hardware = hardware.model_copy(update={"adc": adc, "dac": dac, "mapping": whole, "devices": None})
    feeds, given = inputs(50), np.random.default_rng(2).normal(size=(1, 50, 5)).astype(np.float32)
    feeds["x"][3] = 0
    (noisy,) = compiled("input", hardware).run(None, feeds | {"layer.deviates": given})
    (still,) = compiled("off", hardware).run(None, feeds)
    (weights,) = (numpy_helper.to_array(t) for t in product_model().graph.initializer)
    np.testing.assert_allclose(noisy - still, SIGMA * given[0] * np.abs(weights).max(), atol=2e-5)


CONV = """<ir_version: 8, opset_import: ["" : 17]>
convolved (float[N, 4, 5, 5] x) => (float[N, 3, 5, 5] y)
<float[3, 4, 3, 3] w = {{{weights}}}> {{
  [layer] y = Conv<pads = [1, 1, 1, 1]> (x, w)
}}"""


@pytest.mark.parametrize("voltages", [False, True])
def test_constant_read_noise_of_a_convolution_on_two_rows_of_tiles(voltages: bool) -> None:
    """36 rows on tiles of 20, inputs as they are: what the formula makes of each half of every window."""
    weights = np.random.default_rng(0).uniform(-1, 1, size=(3, 4, 3, 3)).astype(np.float32)
    model = onnx.parser.parse_model(CONV.format(weights=", ".join(map(str, weights.ravel().tolist()))))
    unscaled = machine().dac.model_copy(update={"scaling": "none"})
    hardware = with_read_noise(machine(0.0), dac=unscaled, tiles=Tiles(rows=20, cols=20), devices=None)
    hardware = with_voltages(hardware) if voltages else hardware
    x = np.random.default_rng(1).uniform(-1.2, 1.2, size=(2, 4, 5, 5)).astype(np.float32)
    given = np.random.default_rng(2).normal(size=(2, 2, 3, 5, 5)).astype(np.float32)
    fed = compile(model, placement=["layer"], hardware=hardware, noise="input")
    (noisy,) = fed.run(None, {"x": x, "layer.deviates": given})
    (still,) = compile(model, placement=["layer"], hardware=hardware, noise="off").run(None, {"x": x})
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3)).transpose(0, 2, 3, 1, 4, 5)
    vectors = windows.reshape(2, 5, 5, 36)
    wanted = np.zeros(noisy.shape)
    for row, part in enumerate((slice(18), slice(18, 36))):
        scales = np.abs(weights.reshape(3, 36)[:, part]).max(axis=1)
        deviates_of_row = given[row].reshape(2, 5, 5, 3)  # in the order in which windows are multiplied
        wanted += (_sigma(vectors[..., part], hardware, 1.0) * scales * deviates_of_row).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(noisy - still, wanted, atol=2e-5)


def test_a_row_of_tiles_that_is_not_driven_is_silent_where_its_convolution_reads_more_channels() -> None:
    """Channels 0 to 141 are of the first row of tiles; its convolution reads 144, which fill onnxruntime's blocks."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> wide (float[N, 284, 2, 2] x) => (float[N, 4, 2, 2] y) {'
        " [layer] y = Conv (x, w) }"
    )
    weights = np.random.default_rng(0).normal(size=(4, 284, 1, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    known = Hardware.load("static-range")
    unscaled = known.dac.model_copy(update={"scaling": "none"})
    hardware = known.model_copy(update={"dac": unscaled, "devices": None})
    x = np.zeros((3, 284, 2, 2), np.float32)
    x[:, 142] = 0.5
    of_first_row = np.zeros((2, 3, 4, 2, 2), np.float32)
    of_first_row[0] = 1
    (still,) = compile(model, placement=["layer"], hardware=hardware, noise="off").run(None, {"x": x})
    fed = compile(model, placement=["layer"], hardware=hardware, noise="input")
    (noisy,) = fed.run(None, {"x": x, "layer.deviates": of_first_row})
    np.testing.assert_array_equal(noisy, still)
    assert (fed.run(None, {"x": x, "layer.deviates": of_first_row[::-1]})[0] != still).any()


@pytest.mark.parametrize("opset", [22, 23, 25])
def test_models_of_opset_22_and_later_draw_noise_in_opset_21(opset: int) -> None:
    """onnxruntime has no random kernels for them: converted where onnx can."""
    model = compiled("on", opset=opset)
    assert {o.domain: o.version for o in model.proto.opset_import} == {"": 21, "lhc.analog": 1}
    onnx.checker.check_model(model.proto, full_check=True)
    assert model.run(None, inputs(4))[0].shape == (4, 5)
    modes: tuple[Noise, ...] = ("off", "input")
    for noise in modes:
        kept = compiled(noise, opset=opset)
        assert {o.domain: o.version for o in kept.proto.opset_import} == {"": opset, "lhc.analog": 1}
        assert kept.run(None, inputs(4))[0].shape == (4, 5)


@pytest.mark.parametrize("opset", [11, 12, 22])
def test_domains_that_a_model_merely_imports_do_not_keep_it_from_being_converted(opset: int) -> None:
    """onnxruntime saves a model with imports of every domain that it knows."""
    model = product_model(opset)
    for domain, version in (("com.microsoft", 1), ("ai.onnx.ml", 2), ("ai.onnx.preview.training", 1)):
        model.opset_import.add(domain=domain, version=version)
    found = compile(model, placement=["layer"], hardware=machine())
    assert {o.domain: o.version for o in found.proto.opset_import} == {"": 21 if opset > 21 else 13, "lhc.analog": 1}
    assert found.run(None, inputs(4))[0].shape == (4, 5)
    assert [o.domain for o in model.opset_import] == ["", "com.microsoft", "ai.onnx.ml", "ai.onnx.preview.training"]


BESIDE = """<ir_version: 8, opset_import: ["" : 10]>
beside (float[N, 12] x) => (float[N, 5] y, float[N, M] u) {{
  [layer] y = MatMul (x, w)
  [beside] u = {operator}
}}"""


def beside(operator: str) -> onnx.ModelProto:
    """A layer, and beside it an operator of opset 10."""
    model = onnx.parser.parse_model(BESIDE.format(operator=operator))
    model.graph.initializer.extend(product_model().graph.initializer)
    return model


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("scale", [0.3, 0.7, 1.0, 1.9, 2.5])
def test_pictures_are_sampled_as_before_opset_11(mode: str, scale: float) -> None:
    """onnx's converter leaves Resize the coordinates of opset 11, which are others."""
    model = beside(f"Resize <mode = {mode!r}> (x, scales)".replace("'", '"'))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1.0, scale], np.float32), "scales"))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = compile(model, placement=["layer"], hardware=machine()).run(["u"], inputs(3))
    np.testing.assert_allclose(found, session.run(["u"], inputs(3))[0], rtol=1e-6)


@pytest.mark.parametrize("opset", [9, 10])
def test_digital_products_in_int8_load_in_stock_onnxruntime(opset: int) -> None:
    """It joins a MatMul and the codes around it into QLinearMatMul, which opset 9 has not."""
    found = compile(product_model(opset, ir=4), placement=[], hardware=Hardware.load("lionheart"), data=inputs(64))
    session = onnxruntime.InferenceSession(found.proto.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, inputs(64))[0].shape == (64, 5)


@pytest.mark.parametrize(
    "between", ["", "r = Relu(z)", "r = Transpose <perm = [0, 1]> (z)"], ids=["", "Relu", "Transpose"]
)
def test_tiles_behind_a_digital_product_in_int8_load_in_stock_onnxruntime(between: str) -> None:
    """It moves a DequantizeLinear over a Reshape, and aborts where a loop captures what comes out."""
    model = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17]>
    behind (float[N, 12] x) => (float[N, 5] y) {{
      [digital] z = MatMul (x, v)
      {between}
      [layer] y = MatMul ({"r" if between else "z"}, w)
    }}""")
    draw = np.random.default_rng(0)
    for name, shape in {"v": (12, 16), "w": (16, 5)}.items():
        model.graph.initializer.append(numpy_helper.from_array(draw.normal(size=shape).astype(np.float32), name))
    found = compile(model, placement=["layer"], hardware=Hardware.load("lionheart"), data=inputs(64))
    assert "Loop" in {node.op_type for function in found.proto.functions for node in function.node}
    command = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.stdin.buffer.read())"
    loaded = subprocess.run(
        [sys.executable, "-c", command], input=found.proto.SerializeToString(), capture_output=True, check=False
    )
    assert loaded.returncode == 0, loaded.stderr


def test_what_the_converter_would_leave_another_operator_is_refused() -> None:
    with pytest.raises(ModelError, match="the converter leaves Hardmax 'beside', which opset 13 redefines"):
        compile(beside("Hardmax <axis = 1> (x)"), placement=["layer"], hardware=machine())
    model = beside('Resize <mode = "nearest"> (x, scales)')
    model.graph.initializer.append(numpy_helper.from_array(np.array([2.0, 0.3], np.float32), "scales"))
    with pytest.raises(ModelError, match="'beside' takes nearest pixels, and its scales enlarge one axis and shrink"):
        compile(model, placement=["layer"], hardware=machine())


def test_where_that_cannot_be_converted_the_ways_out_are_named() -> None:
    model = product_model(22)
    model.graph.node[1].op_type, model.graph.node[1].domain = "Gelu", "com.microsoft"
    model.opset_import.add(domain="com.microsoft", version=1)
    with pytest.raises(ModelError, match=r"opset 22 to 21: .*com\.microsoft.*`noise` input .* or `noise` off"):
        compile(model, placement=["layer"], hardware=machine())
    (y,) = compile(model, placement=["layer"], hardware=machine(), noise="off").run(None, inputs(2))
    assert y.shape == (2, 5)


def test_onnx_own_reference_evaluator_runs_it_too() -> None:
    feeds = inputs(5)
    model = compiled("off", machine(bits=8))
    (expected,) = model.run(None, feeds)
    (y,) = onnx.reference.ReferenceEvaluator(model.proto).run(None, feeds)
    np.testing.assert_allclose(np.asarray(y, np.float32), expected, atol=1e-4)


def test_columns_of_tiles_add_no_operators() -> None:
    """What onnxruntime has to look through when it loads a model grows with rows of tiles alone."""
    operators = []
    for columns in (255, 2):
        hardware = machine(bits=8, bound=1.0).with_fields({"tiles": {"rows": 256, "cols": columns}})
        inlined = inliner.inline_local_functions(compiled("on", hardware).proto)
        operators.append(sum(1 for _ in all_nodes(inlined.graph)))
    assert operators[1] - operators[0] < 8, "which columns lie on one tile is told, no more"


def test_wrong_feeds_and_modes() -> None:
    model = compiled("off")
    with pytest.raises(DataError, match=r"feeds are \[\], the inputs are \['x'\]"):
        model.run(None, {})
    with pytest.raises(UsageError, match="no output 'nothing'; outputs are y"):
        model.run(["nothing"], inputs(1))
    with pytest.raises(UsageError, match="choose on, off, input"):
        compiled("loud")  # type: ignore[arg-type]


def test_tools_that_drop_functions_or_break_them() -> None:
    """What docs/compiled-models.md warns of: such a file no longer loads, so nobody runs a wrong one."""
    model = compiled("on").proto
    converted = onnx.version_converter.convert_version(model, 18)
    assert not converted.functions
    with pytest.raises(Exception, match=r"lhc\.analog"):
        onnxruntime.InferenceSession(converted.SerializeToString(), providers=["CPUExecutionProvider"])
