"""Two engines, one contract: equal to float rounding without output noise, equal in distribution with it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import lhc
from lhc.hardware import Adc, Hardware, preset_names
from lhc.hardware.circuits.faults import Faults
from lhc.models import zoo_entry
from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.programmed_matrix import Floats
from lhc.runtime import HybridSession
from lhc.runtime.engines.aihwkit.matrix import AihwkitMatrix
from lhc.runtime.engines.compiled.matrix import CompiledMatrix
from lhc.runtime.engines.protocol import Position
from tests.runtime.products import ENGINES, Chip, Engine, multiplier, product, programmed

pytestmark = pytest.mark.analog


@pytest.fixture(autouse=True, scope="module")
def small_matrices_too() -> Iterator[None]:
    """They go through the kernel of rows, as large ones do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lhc.runtime.engines.counter_rng.LEAST_BY_ROWS", 0)
        yield


MACHINES = {name: Hardware.load(name) for name in preset_names()}
PRESETS = [name for name, one in MACHINES.items() if one.dac.slice_bits is None and one.adc.sensing == "current"]
"""aihwkit's tiles have neither slices of inputs nor voltages."""
LIONHEART = Hardware.load("lionheart")


def _silent(hardware: Hardware) -> Hardware:
    """Without output noise and read noise of products; devices are programmed and drift as before."""
    currents = hardware.currents.model_copy(update={"read_noise": 0.0})
    return hardware.model_copy(update={"adc": hardware.adc.model_copy(update={"noise": 0.0}), "currents": currents})


def _with_tiles(hardware: Hardware, rows: int, cols: int) -> Hardware:
    return hardware.model_copy(update={"tiles": hardware.tiles.model_copy(update={"rows": rows, "cols": cols})})


def _times(hardware: Hardware) -> list[float]:
    known = [1.0, 86400.0]
    return known if hardware.devices is not None else [0.0]


@dataclass(frozen=True)
class _Case:
    """Tiles and vectors that are drawn from a seed: a zero vector, one of large values, at times a zero column."""

    matrix: Chip
    x: torch.Tensor
    copies: int

    @classmethod
    def drawn(cls, hardware: Hardware, t_s: float, seed: int, groups: int = 1, copies: int = 1) -> "_Case":
        rng = np.random.default_rng(seed)
        outputs, inputs, vectors = rng.integers(1, 9) * groups, rng.integers(2, 40), rng.integers(1, 60)
        weight = rng.normal(size=(outputs, inputs)).astype(np.float32)
        if seed % 3 == 0:
            weight[0] = 0.0
        x = rng.normal(0.5, 1, size=(vectors, inputs)).astype(np.float32)
        x[0] = 0.0
        x[-1] = 50.0
        ranges = [1.5] * -(-int(inputs) // hardware.tiles.rows) if hardware.needs_calibration else None
        return cls(programmed(weight, hardware, t_s, groups, ranges, seed, copies=copies), torch.from_numpy(x), copies)

    def products(self, engine: Engine) -> list[Floats]:
        return [product(self.matrix, self.x, group, engine=engine).numpy() for group in range(self.matrix.held.groups)]

    def steps(self) -> tuple[list[Floats], npt.NDArray[np.bool_]]:
        """What one code of an ADC is worth in every product of a group, summed over row splits; who may saturate."""
        adc = self.matrix.hardware.adc
        step = 0.0 if adc.bits is None or adc.bound is None else 2 * adc.bound / (2**adc.bits - 2)
        state = self.matrix.programmed()
        total = np.zeros((len(self.x), state.outputs * state.groups), np.float32)
        saturating = np.zeros(len(self.x), bool)
        for start, row in zip(state.starts, state.tiles, strict=True):
            part = self.x[:, start : start + row[0].weights.shape[1]].numpy()
            scale, reduction = self._scale_and_reduction(part, row[0].input_range)
            scales = np.concatenate([tile.scales * tile.gain for tile in row])
            total += (scale * reduction)[:, None] * scales * step
            saturating |= reduction > 1
        return np.split(total, state.groups, axis=1), saturating

    def _scale_and_reduction(self, part: Floats, input_range: float | None) -> tuple[Floats, Floats]:
        """Scale of every vector, and the greatest reduction that its saturation may need."""
        dac, adc = self.matrix.hardware.dac, self.matrix.hardware.adc
        scale = np.abs(part).max(axis=1) if dac.scaling == "abs_max" else np.ones(len(part), np.float32)
        inputs = part / np.where(scale == 0, 1, scale)[:, None]
        if input_range is not None:
            inputs = np.clip(inputs / input_range, -1, 1)
        # No weight is above 1.6 of the full scale, programming noise and read noise included.
        greatest = np.abs(inputs).sum(axis=1) * 1.6 * self.copies / (adc.bound or np.inf)
        return scale, np.exp2(np.ceil(np.log2(np.maximum(greatest, 1)))).astype(np.float32)


def _assert_same(case: _Case) -> None:
    """Equal to float rounding; where an input or output lies on a rounding edge, by no more than one ADC step.

    Edges are rare, except that a saturating vector's greatest input lies on one: 127 codes, halved.
    """
    greatest = np.abs(case.x.numpy()).max()
    # The gain of drift compensation is large where few codes of a coarse ADC are left of the read-out.
    gain = max(tile.gain.max() for row in case.matrix.programmed().tiles for tile in row)
    rounding = 3e-6 * greatest * np.sqrt(case.x.shape[1]) * max(gain, 1)
    steps, saturating = case.steps()
    for fast, reference, step in zip(case.products("fast"), case.products("aihwkit"), steps, strict=True):
        difference = np.abs(fast - reference)
        # An input on an edge moves an output by a DAC step, where there is no ADC to hide it.
        assert (difference <= np.maximum(1.001 * step, 0.02 * greatest) + rounding).all()
        differs = (difference > rounding)[~saturating]
        assert differs.sum() <= 1 + 0.003 * differs.size


@pytest.mark.parametrize("preset", PRESETS)
@settings(max_examples=8)
@given(
    seed=st.integers(0, 10_000),
    groups=st.sampled_from([1, 3]),
    rows=st.integers(3, 100),
    cols=st.integers(2, 20),
    copies=st.just(1) | st.integers(2, 9),
)
def test_engines_are_equal_without_output_noise(
    preset: str, seed: int, groups: int, rows: int, cols: int, copies: int
) -> None:
    hardware = _with_tiles(_silent(Hardware.load(preset)), rows, cols)
    for t_s in _times(hardware):
        try:
            case = _Case.drawn(hardware, t_s, seed, groups, copies)
        except lhc.LhcError:  # a tile of equal weights on devices that are not defined for it
            continue
        _assert_same(case)


@pytest.mark.parametrize("bound", [0.5, 2.0, 12.0])
@pytest.mark.parametrize("managed", ["iterative", "none"])
@pytest.mark.parametrize("bits", [None, 4, 8])
def test_engines_are_equal_however_much_saturates(bound: float, managed: str, bits: int | None) -> None:
    adc = Adc(bits=bits, bound=bound, noise=0.0, bound_management=managed)  # type: ignore[arg-type]
    for seed in range(8):
        _assert_same(_Case.drawn(LIONHEART.model_copy(update={"adc": adc}), 3600.0, seed))


NOISY = tuple(preset for preset in PRESETS if Hardware.load(preset).adc.noise > 0)
REPEATS = 64


def _reads(matrix: Chip, x: torch.Tensor, engine: Engine) -> Floats:
    """The same vectors again and again, ``(repeats, vectors, outputs)``."""
    reads = [product(matrix, x, unit=unit, engine=engine).numpy() for unit in range(REPEATS)]
    return np.stack(reads).astype(np.float64)


def _same_distribution(found: Floats, expected: Floats) -> bool:
    """Whether means and spreads agree: tests of level 0.001, on reads of about unit size.

    The spreads are pooled: with n reads, those of equal engines differ by a factor whose deviation is about
    sqrt(1/n), 0.25 % here.
    """
    spread = [np.sqrt(reads.var(axis=0, ddof=1).mean()) for reads in (found, expected)]
    error = 1 / np.sqrt((REPEATS - 1) * found[0].size)
    means = (found.mean(axis=0) - expected.mean(axis=0)) / (np.sqrt(2 / REPEATS) * spread[1])
    limit = stats.norm.ppf(0.9995)
    return bool(
        abs(np.log(spread[0] / spread[1])) < limit * error
        and abs(means.mean()) < limit / np.sqrt(means.size)
        and (means**2).mean() < 1 + limit * np.sqrt(2 / means.size) + 0.02
    )


def _noisy(preset: str) -> tuple[Chip, torch.Tensor]:
    """Three row splits, two column splits; vectors that do not saturate, in units of their greatest magnitude."""
    machine = Hardware.load(preset)
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, size=(64, 50)).astype(np.float32)
    x[:, ::17] = 1.0
    weight = rng.uniform(-1, 1, size=(40, 50)).astype(np.float32)
    ranges = [1.0] * 3 if machine.needs_calibration else None
    return programmed(weight, _with_tiles(machine, 17, 20), 86400.0, ranges=ranges), torch.from_numpy(x)


@pytest.mark.slow
@pytest.mark.parametrize("preset", NOISY)
def test_engines_are_equal_in_distribution(preset: str) -> None:
    matrix, x = _noisy(preset)
    found, expected = (_reads(matrix, x, engine) for engine in ENGINES)
    assert _same_distribution(found, expected)


@pytest.mark.parametrize("factor", [0.97, 1.03])
def test_an_output_noise_wrong_by_three_percent_is_found(factor: float) -> None:
    matrix, x = _noisy("lionheart")
    expected = _reads(matrix, x, "aihwkit")
    adc = matrix.hardware.adc
    noisy = matrix.hardware.model_copy(update={"adc": adc.model_copy(update={"noise": adc.noise * factor})})
    assert not _same_distribution(_reads(replace(matrix, hardware=noisy), x, "fast"), expected)


def test_one_of_some_chips_multiplies_as_if_it_were_the_only_one() -> None:
    rng = np.random.default_rng(0)
    small, large = (rng.normal(size=shape).astype(np.float32) for shape in ((12, 40), (300, 260)))
    machine = LIONHEART.model_copy(update={"faults": Faults(column_offset=0.05)})
    for weight, tiles in ((small, _with_tiles(machine, 17, 9)), (large, machine)):
        chips = [programmed(weight, tiles, 3600.0, draw=draw).programmed() for draw in (0, 1, 2)]
        together = CompiledMatrix(chips, [0, 1, 2], 0, tiles)
        x = torch.from_numpy(rng.normal(size=(5, weight.shape[1])).astype(np.float32))
        expected = together.multiply(x, Position(3, 5), 1)
        for draw, chip in enumerate(chips):
            for one in (together.alone(draw), CompiledMatrix([chip], [draw], 0, tiles).lay_out(convolves=False)):
                assert torch.equal(one.multiply(x, Position(3, 5), 1)[0], expected[draw])


@pytest.mark.parametrize("factor", [0.97, 1.03])
@pytest.mark.parametrize("field", ["programming_noise_scale", "read_noise_scale", "drift_scale"])
def test_devices_wrong_by_three_percent_are_found(field: str, factor: float) -> None:
    """Both engines multiply by what the same tiles hold, so a wrong sigma of the devices would be a wrong weight."""
    machine = _silent(LIONHEART)
    assert machine.devices is not None
    weight = np.random.default_rng(0).normal(size=(20, 60)).astype(np.float32)
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(40, 60)).astype(np.float32))
    devices = machine.devices.model_copy(update={field: getattr(machine.devices, field) * factor})
    wrong = programmed(weight, machine.model_copy(update={"devices": devices}), 3600.0)
    right = programmed(weight, machine, 3600.0)
    assert _max_difference(product(right, x), product(right, x, engine="aihwkit")) < 1e-4
    assert _max_difference(product(wrong, x), product(right, x, engine="aihwkit")) > 1e-2


def _max_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


def test_noise_of_outputs_vectors_tiles_chips_and_units_is_independent() -> None:
    hardware = LIONHEART.model_copy(update={"adc": Adc(bits=None, bound=None, noise=0.06), "devices": None})
    hardware = _with_tiles(hardware, 8, 16)
    chips = [programmed(np.full((16, 16), 0.5, np.float32), hardware, draw=draw).programmed() for draw in (0, 1)]
    fast = CompiledMatrix(chips, [0, 1], 0, hardware)
    x = torch.ones(32, 16)
    reads = np.stack([fast.multiply(x, Position(32 * call, 32), 0).numpy() for call in range(40)])
    noise = (reads - 8.0) / (0.06 * 0.5)  # (calls, chips, vectors, outputs)
    assert noise.std() == pytest.approx(np.sqrt(2), rel=0.02), "two row splits, each with noise of its own"
    n = 16 * 32 * 40
    for axis in range(4):
        others = np.roll(noise, 1, axis=axis)
        assert abs((noise * others).mean() / 2) < stats.norm.ppf(0.9999) / np.sqrt(n)


def test_answers_of_a_whole_network_differ_by_rounding_without_noise() -> None:
    images = np.random.default_rng(0).normal(size=(20, 1, 8, 8)).astype(np.float32)
    model = zoo_entry("digits-narrow").model()
    # Sums of copies saturate, and where a vector is read again its greatest input lies on an edge of the DAC.
    bare = LIONHEART.with_drift_compensation_alone()
    answers = {
        engine: HybridSession(model, _silent(bare), "all-analog", engine=engine).run(None, {"x": images})[0]
        for engine in ENGINES
    }
    scale = np.abs(answers["aihwkit"]).max()
    # A code that lies on an edge in one layer moves the answer by what the later layers make of it.
    assert np.abs(answers["fast"] - answers["aihwkit"]).max() < 0.03 * scale
    assert np.median(np.abs(answers["fast"] - answers["aihwkit"])) < 1e-5 * scale


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often either engine multiplied."""
    counts = {"fast": 0, "aihwkit": 0}

    def counting(name: str, method: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def products(*arguments: object) -> torch.Tensor:
            counts[name] += 1
            return method(*arguments)

        return products

    for name, kind in (("fast", CompiledMatrix), ("aihwkit", AihwkitMatrix)):
        for method in ("convolve", "multiply"):
            monkeypatch.setattr(kind, method, counting(name, getattr(kind, method)))
    return counts


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_needs_the_reference_engine(preset: str, counted: dict[str, int]) -> None:
    result = lhc.partition(
        "digits-narrow", hardware=preset, strategy="all-analog", samples=20, draws=2, max_drop="100%",
        include=["conv1", "layer2.0.*", "linear"],
    )  # fmt: skip
    result.session().run(None, {"x": np.zeros((2, 1, 8, 8), np.float32)})
    assert counted["fast"] > 0
    assert counted["aihwkit"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "minilm", "minilm-squad", "stories260k"])
def test_no_model_of_the_zoo_needs_the_reference_engine(name: str, lhc_data: Path, counted: dict[str, int]) -> None:
    entry = zoo_entry(name)
    session = HybridSession(entry.model(), placement="all-analog")
    shapes = entry.shapes()
    feeds = {
        value.name: np.zeros(
            shapes.get(value.name, [size if isinstance(size, int) else 1 for size in value.shape]),
            np.int64 if "int64" in value.type else np.float32,
        )
        for value in session.get_inputs()
    }
    session.run(None, feeds)
    # One call for every layer and unit of samples, more where groups are driven in turn.
    assert counted["fast"] >= len(session.analog) > 1
    assert counted["aihwkit"] == 0


def test_programmed_weights_are_those_that_the_tiles_realise() -> None:
    """With converters and output noise off, a product is one with the realised weights."""
    update = {
        "dac": LIONHEART.dac.model_copy(update={"bits": None}),
        "adc": Adc(bits=None, bound=None, noise=0.0),
        "tiles": LIONHEART.tiles.model_copy(update={"rows": 10, "cols": 4}),
    }
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(9, 23)).astype(np.float32)
    matrix = programmed(weight, LIONHEART.model_copy(update=update), 3600.0)
    x = rng.normal(size=(30, 23)).astype(np.float32)
    realised = matrix.programmed().weights()
    for engine in ENGINES:
        assert product(matrix, torch.from_numpy(x), engine=engine).numpy() == pytest.approx(x @ realised.T, abs=1e-4)
    assert 0.05 < np.linalg.norm(realised - weight) / np.linalg.norm(weight) < 0.3


def test_engines_round_alike_where_vectors_are_read_again() -> None:
    """With copies many vectors saturate, and their greatest input, halved, lies on half a step of the DAC."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(10, 20)).astype(np.float32)
    silent = _silent(LIONHEART)
    x = torch.from_numpy(rng.normal(size=(2000, 20)).astype(np.float32))
    chip = programmed(weight, silent, 3600.0, copies=silent.free_copies("a", 20))
    fast, aihwkit = (product(chip, x, engine=engine).numpy() for engine in ENGINES)

    saturating = np.abs(x.numpy() @ weight.T).max(axis=1) * 12 > 12 * np.abs(x.numpy()).max(axis=1)
    assert saturating.mean() > 0.5
    apart = np.abs(fast - aihwkit) > 1e-4 * np.abs(aihwkit).max()
    assert apart.any(axis=1).mean() < 2e-3


@pytest.mark.parametrize("preset", ["lionheart", "static-range"])
@pytest.mark.parametrize(
    ("groups", "inputs", "kernel"), [(1, 300, 1), (1, 30, 3), (30, 1, 3)], ids=["rows", "conv", "depthwise"]
)
def test_inputs_on_a_grid_round_alike(preset: str, groups: int, inputs: int, kernel: int) -> None:
    """Of activations that a quantiser gave many lie on half a step of the DAC, and one engine's last bit decides."""
    rng, hardware, static = np.random.default_rng(0), _silent(Hardware.load(preset)), preset == "static-range"
    weight = rng.normal(size=(max(groups, 4), inputs * kernel**2)).astype(np.float32)
    codes = rng.integers(-254, 255, size=(400, groups * inputs, kernel, kernel))
    codes[:, :: max(inputs - 1, 1), 0, 0] = 254
    scales = 1.5 / 254 if static else rng.uniform(0.001, 0.1, size=(400, 1, 1, 1))
    images, position = torch.from_numpy((codes * scales).astype(np.float32)), Position(0, 400)
    ranges = [1.5] * -(-weight.shape[1] // hardware.tiles.rows) if static else None
    chip = programmed(weight, hardware, 3600.0, groups, ranges)
    geometry = ConvGeometry((kernel,) * 2, (1, 1), (1, 1), ((0, 0),) * 2, "NOTSET", groups)
    fast, aihwkit = (
        one.multiply(images.flatten(1), position, 0) if kernel == 1 else one.convolve(images, geometry, position, 0)
        for one in (multiplier(chip, engine) for engine in ENGINES)
    )
    apart = (fast - aihwkit).abs() > 1e-4 * aihwkit.abs().max()
    assert apart.reshape(400, -1).any(1).float().mean() < 0.01


@pytest.mark.parametrize("vectors", ["rows", "points"])
@pytest.mark.parametrize("bits", [2, 5, 8, 12, 16])
def test_codes_are_quotients_rounded_once(bits: int, vectors: str) -> None:
    """Beside half a step of the DAC the last bit of a quotient decides; a product with 1 / step may have another."""
    rng, ideal = np.random.default_rng(0), LIONHEART.model_copy(update={"devices": None})
    dac, adc = ideal.dac.model_copy(update={"bits": bits}), Adc(bits=None, bound=None, noise=0.0)
    ideal = _silent(ideal.model_copy(update={"dac": dac, "adc": adc}))
    step = np.float32(dac.step or 0)
    halves = (rng.integers(0, 2 ** (bits - 1) - 1, 1000) + 0.5).astype(np.float32) * step
    near = (halves.view(np.int32)[:, None] + np.arange(-3, 4, dtype=np.int32)).view(np.float32).reshape(-1, 1)
    x = torch.from_numpy(np.concatenate([np.ones_like(near), near], axis=1))
    chip = multiplier(programmed(np.eye(2, dtype=np.float32), ideal), "fast")
    if vectors == "rows":
        found = chip.multiply(x, Position(0, len(x)), 0)[0, :, 1].numpy()
    else:
        point = ConvGeometry((1,), (1,), (1,), ((0, 0),), "NOTSET", 1)
        found = chip.convolve(x.T[None].contiguous(), point, Position(0, 1), 0)[0, 0, 1].numpy()
    np.testing.assert_array_equal(np.rint(found / step), np.rint(near[:, 0] / step))


@pytest.mark.parametrize("kernel", ["rows", "points", "channels"])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_vectors_whose_reciprocal_is_beyond_single_precision_count_as_all_zero(kernel: str, noise: float) -> None:
    """aihwkit divides by their greatest magnitude: 0, or no number where one of the inputs is 0."""
    adc = LIONHEART.adc.model_copy(update={"noise": noise})
    ideal = LIONHEART.model_copy(update={"devices": None, "adc": adc})
    groups = 2 if kernel == "channels" else 1
    chip = programmed(np.array([[1, 0.5, -0.25], [-1, 1, 1]], np.float32), ideal, groups=groups)
    peaks = np.array([1, 2e-38, 2.95e-39, 2.9e-39, 1e-40, 1e-45, 0], np.float32)
    x = torch.from_numpy(np.outer(peaks, [1, 0, -1]).astype(np.float32))
    position, found = Position(0, len(x)), []
    defining = AihwkitMatrix([chip.held], [0], 0, ideal, kernel != "rows", torch.device("cpu"))
    for tiles in (multiplier(chip, "fast"), defining):
        if kernel == "rows":
            found.append(tiles.multiply(x, position, 0)[0].numpy())
        else:
            kind = ConvGeometry((3,), (1,), (1,), ((0, 0),), "NOTSET", groups)
            images = x[:, None].repeat(1, groups, 1)
            found.append(tiles.convolve(images, kind, position, 0)[0, :, :, 0].numpy())
    fast, aihwkit = found
    assert np.all(fast[3:] == 0)
    assert np.all(aihwkit[3:] == 0)
    assert np.all(np.abs(fast[:3]) > 0)
    np.testing.assert_allclose(fast, aihwkit, rtol=1e-5, atol=1e-44)
