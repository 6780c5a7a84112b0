"""Copies of weights average errors out; a calibrated chip has the digital network's means, but not its read noise."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from lhc.hardware import Adc, Dac, Hardware, Override, Pcm
from lhc.hardware.description.tiles_and_converters import Compensation, Tiles
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel
from lhc.programmed_matrix import Correction, ProgrammedMatrix
from lhc.runtime import HybridExecutor, Position, ProgrammedLayers
from lhc.runtime.calibration.chip_outputs import (
    Moments,
    calibrated,
    calibrated_alone,
    correction,
    digital_moments,
)
from lhc.runtime.lru_cache import LruCache
from lhc.runtime.onnxruntime.batched_calls import Call
from lhc.runtime.onnxruntime.sessions import observe_tensors
from lhc.runtime.tiles.analog_matrix import AnalogMatrix
from tests.runtime.models_on_tiles import Array, model_of, normal
from tests.runtime.products import programmed

pytestmark = pytest.mark.analog

T_S = 86400.0
CALIBRATED = Hardware(
    name="calibrated",
    dac=Dac(bits=None),
    adc=Adc(bits=None, bound=None, noise=0.0),
    compensation=Compensation(outputs="affine"),
)
QUIET_READS = CALIBRATED.model_copy(update={"devices": Pcm(read_noise_scale=0.0)})
SAMPLES = 64


def _network() -> OnnxModel:
    """A convolution in two groups, a Gemm whose weight is on the left, and a MatMul."""
    from onnx import helper

    rng = np.random.default_rng(4)
    nodes = [
        helper.make_node("Conv", ["x", "c", "cb"], ["conv"], name="conv", kernel_shape=[3, 3], group=2),
        helper.make_node("Relu", ["conv"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "g", "gb"], ["gemm"], name="gemm", alpha=0.5, beta=2.0),
        helper.make_node("Relu", ["gemm"], ["s"]),
        helper.make_node("MatMul", ["s", "m"], ["y"], name="matmul"),
    ]
    constants = {
        "c": normal(rng, (6, 2, 3, 3)),
        "cb": normal(rng, (6,)),
        "g": normal(rng, (96, 8)) / 8,
        "gb": normal(rng, (8,)),
        "m": normal(rng, (8, 5)),
    }
    return load_model(model_of(nodes, {"x": np.zeros((2, 4, 6, 6), np.float32)}, {"y": 2}, constants))


def _calls(samples: int = SAMPLES) -> list[Call]:
    x = normal(np.random.default_rng(9), (samples, 4, 6, 6))
    return [({"x": x[start : start + 16]}, Position(start, 16)) for start in range(0, samples, 16)]


def _outputs(executor: HybridExecutor, layers: ProgrammedLayers, calls: list[Call]) -> list[Array]:
    return [next(executor.finish(executor.prefix(feeds), layers, place))[0] for feeds, place in calls]


def _corrected(hardware: Hardware, names: list[str], draw: int = 0) -> tuple[HybridExecutor, dict[str, Correction]]:
    model = _network()
    graph = read_graph(model)
    executor = HybridExecutor(model, graph, names)
    digital = digital_moments(model, graph, executor.layers, _calls())
    return executor, calibrated(executor, digital, hardware, 0, draw, T_S, _calls())


def _expected_weights(vectors: Array) -> Array:
    """As `lhc.runtime.calibration.chip_outputs` has them, ``(vectors,)``."""
    peaks = np.abs(vectors.astype(np.float64)).max(axis=-1)
    return np.asarray(1 / (peaks**2 + peaks.mean() ** 2))


def _moments(outputs: Array, weights: Array) -> tuple[Array, Array]:
    """Weighted mean and deviation of every column."""
    mean = np.average(outputs, axis=0, weights=weights)
    return mean, np.sqrt(np.average(np.square(outputs - mean), axis=0, weights=weights))


@pytest.mark.parametrize("names", [["conv"], ["gemm"], ["matmul"], ["conv", "gemm", "matmul"]])
@pytest.mark.parametrize("outputs", ["offset", "affine"])
def test_outputs_get_the_digital_moments_on_the_calibration_samples(names: list[str], outputs: str) -> None:
    """Without read noise every read is alike, so the last layer's outputs have exactly the digital means."""
    hardware = QUIET_READS.model_copy(update={"compensation": Compensation(outputs=outputs)})  # type: ignore[arg-type]
    executor, corrections = _corrected(hardware, names)
    states = [executor.states(hardware, 0, 0, T_S)]
    plain = executor.on_chips(states, hardware, 0, [0])
    layers = ProgrammedLayers(plain.chips, plain.together, (corrections,))
    model = _network()
    expected = np.concatenate([observe_tensors(model, ["y"], feeds)["y"] for feeds, _ in _calls()])
    found, raw = (np.concatenate(_outputs(executor, chips, _calls())) for chips in (layers, plain))
    if names == ["matmul"]:  # is given what the digital network gives
        weights = np.concatenate(
            [_expected_weights(observe_tensors(model, ["s"], feeds)["s"]) for feeds, _ in _calls()]
        )
        mean, deviation = _moments(expected, weights)
        assert _moments(found, weights)[0] == pytest.approx(mean, abs=1e-4)
        if outputs == "affine":
            assert _moments(found, weights)[1] == pytest.approx(deviation, rel=1e-3)
        assert np.abs(_moments(raw, weights)[0] - mean).max() > 0.01
    assert np.square(found - expected).mean() < np.square(raw - expected).mean()


@pytest.mark.parametrize("outputs", ["offset", "affine"])
def test_layers_that_are_corrected_together_but_alone_are_corrected_as_if_placed_alone(outputs: str) -> None:
    """To the rounding of sums in another order."""
    compensation = Compensation(outputs=outputs)  # type: ignore[arg-type]
    hardware = CALIBRATED.model_copy(update={"compensation": compensation, "adc": Adc(), "dac": Dac()})
    model = _network()
    graph = read_graph(model)
    executor = HybridExecutor(model, graph, ["conv", "gemm", "matmul"])
    chips = calibrated_alone(executor, model, graph, hardware, 0, [0, 3], T_S, _calls())
    for draw, together in zip([0, 3], chips, strict=True):
        for name in ("conv", "gemm", "matmul"):
            _, alone = _corrected(hardware, [name], draw)
            assert together[name].gain == pytest.approx(alone[name].gain, rel=1e-5)
            assert together[name].offset == pytest.approx(alone[name].offset, abs=1e-5)
    assert not np.allclose(chips[0]["gemm"].offset, chips[1]["gemm"].offset, atol=1e-3), "each chip has its own"


@pytest.mark.parametrize(
    ("room", "programmed"),
    [(2**24, 1), (50_000, 1), (2**14, 4), (0, 4)],
    ids=["all", "those of two chips", "some", "none"],
)
def test_a_chip_is_programmed_once_for_all_reads_of_a_calibration_where_they_are_kept(
    room: int, programmed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int, int]] = []
    reads = AnalogMatrix.reads

    def counted(
        matrix: AnalogMatrix, seed: int, draw: int, t_s: float, numbers: Sequence[int]
    ) -> list[ProgrammedMatrix]:
        made.extend((matrix._devices, draw, number) for number in numbers)
        programmings.append((matrix._devices, draw))
        return reads(matrix, seed, draw, t_s, numbers)

    programmings: list[tuple[str, int]] = []
    monkeypatch.setattr(AnalogMatrix, "reads", counted)
    model, names = _network(), ["conv", "gemm", "matmul"]
    graph = read_graph(model)

    def corrections(kept: LruCache[ProgrammedMatrix] | None) -> Sequence[Mapping[str, Correction]]:
        executor = HybridExecutor(model, graph, names, reads=kept)
        return calibrated_alone(executor, model, graph, CALIBRATED, 0, [0, 3, 5], T_S, _calls())

    found = corrections(LruCache(room))
    assert set(Counter(programmings).values()) == {programmed}
    assert max(Counter(made).values()) == 1, "no read is made twice"
    for one, other in zip(found, corrections(None), strict=True):
        for name in names:
            np.testing.assert_array_equal(one[name].offset, other[name].offset)
            np.testing.assert_array_equal(one[name].gain, other[name].gain)


def test_reads_that_are_kept_are_those_of_their_machine() -> None:
    model = _network()
    graph, kept = read_graph(model), LruCache[ProgrammedMatrix](2**24)
    executor = HybridExecutor(model, graph, ["gemm"], reads=kept)
    override = Override(layers="gemm", devices={"read_noise_scale": 3.0})
    machines = [CALIBRATED, QUIET_READS, CALIBRATED.model_copy(update={"overrides": (override,)})]
    for machine in (*machines, *machines):
        alone = HybridExecutor(model, graph, ["gemm"]).states(machine, 0, 0, T_S)
        for name, state in executor.states(machine, 0, 0, T_S).items():
            np.testing.assert_array_equal(state.tiles[0][0].weights, alone[name].tiles[0][0].weights)


def _token_corrections(x: Array, mask: Array, **more: Array) -> Correction:
    """Of one MatMul over tokens ``(samples, tokens, inputs)``, on one call; ``more``: masks beside the first."""
    from onnx import helper

    nodes = [
        helper.make_node("MatMul", ["x", "m"], ["product"], name="matmul"),
        helper.make_node("Cast", ["attention_mask"], ["kept"], to=1),
        helper.make_node("Unsqueeze", ["kept", "last"], ["factor"]),
        helper.make_node("Mul", ["product", "factor"], ["y"]),
    ]
    constants = {"m": normal(np.random.default_rng(7), (16, 5)), "last": np.array([-1])}
    feeds = {"x": x, "attention_mask": mask, **more}
    nodes += [helper.make_node("Identity", [name], [f"{name}_read"]) for name in more]
    model = load_model(model_of(nodes, feeds, {"y": 3}, constants))
    executor = HybridExecutor(model, read_graph(model), ["matmul"])
    calls: list[Call] = [(feeds, Position(0, len(x)))]
    digital = digital_moments(model, read_graph(model), executor.layers, calls)
    return calibrated(executor, digital, QUIET_READS, 0, 0, T_S, calls)["matmul"]


def _errors_of_weights() -> Array:
    """What the chip of `_token_corrections` holds less what it should hold, ``(inputs, outputs)``."""
    from onnx import helper

    weight = normal(np.random.default_rng(7), (16, 5))
    node = helper.make_node("MatMul", ["x", "m"], ["y"], name="matmul")
    model = load_model(model_of([node], {"x": np.zeros((1, 16), np.float32)}, {"y": 2}, {"m": weight}))
    executor = HybridExecutor(model, read_graph(model), ["matmul"])
    (matrix,) = executor.states(QUIET_READS, 0, 0, T_S).values()
    return np.asarray(matrix.weights().T - weight)


def test_padding_does_not_calibrate() -> None:
    rng = np.random.default_rng(3)
    x, mask = normal(rng, (8, 12, 16)), np.ones((8, 12), np.int64)
    mask[:, 8:] = 0
    other = x.copy()
    other[:, 8:] = 3 + normal(rng, (8, 4, 16))
    other[:, 8:] *= np.abs(x[:, 8:]).max(-1, keepdims=True) / np.abs(other[:, 8:]).max(-1, keepdims=True)
    one, two = _token_corrections(x, mask), _token_corrections(other, mask)
    assert two.offset == pytest.approx(one.offset, abs=1e-5)
    assert two.gain == pytest.approx(one.gain, rel=1e-5)
    assert not np.allclose(_token_corrections(other, np.ones_like(mask)).offset, one.offset, atol=1e-2)


def test_masks_of_one_size_that_differ_leave_open_what_is_padding() -> None:
    rng = np.random.default_rng(3)
    x, mask, none = normal(rng, (8, 12, 16)), np.ones((8, 12), np.int64), np.ones((8, 12), np.int64)
    mask[:, 8:] = 0
    other = np.roll(mask, 3, axis=1)
    whole = _token_corrections(x, none).offset
    assert (_token_corrections(x, mask, decoder_attention_mask=other).offset == whole).all()
    alike = _token_corrections(x, mask, decoder_attention_mask=mask.copy()).offset
    assert (alike == _token_corrections(x, mask).offset).all()
    assert not np.allclose(alike, whole, atol=1e-3)


def test_few_tokens_of_huge_activations_do_not_decide() -> None:
    """Two tokens of a hundred, 50 times as large: the offset moves by less than a tenth of what plain means give."""
    rng = np.random.default_rng(5)
    x = normal(rng, (4, 100, 16))
    huge = x.copy()
    huge[:, :2] = 50 * np.abs(x[:, :2])
    mask = np.ones((4, 100), np.int64)
    base, found = _token_corrections(x, mask), _token_corrections(huge, mask)
    moved = np.abs(found.offset - base.offset).max()
    plain = np.abs((huge.mean((0, 1)) - x.mean((0, 1))) @ _errors_of_weights()).max()
    assert plain > 0.05
    assert moved < plain / 10


def test_every_read_has_noise_of_its_own_and_inference_another() -> None:
    executor = HybridExecutor(_network(), read_graph(_network()), ["gemm"])
    weights = [state[key].weights() for state in executor.reads(CALIBRATED, 0, 0, T_S, (0, 1, 2)) for key in state]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.std(weights[one] - weights[other]) > 0.001 * np.std(weights[0])
    quiet = [state[key].weights() for state in executor.reads(QUIET_READS, 0, 0, T_S, (0, 1)) for key in state]
    assert (quiet[0] == quiet[1]).all()


def test_reads_are_the_same_in_any_order_and_company() -> None:
    executor = HybridExecutor(_network(), read_graph(_network()), ["gemm", "conv"])
    together = executor.reads(CALIBRATED, 0, 3, T_S, (0, 1, 2))
    alone = executor.reads(CALIBRATED, 0, 3, T_S, (2,))[0]
    for key, matrix in alone.items():
        assert (matrix.weights() == together[2][key].weights()).all()
    for key, matrix in executor.states(CALIBRATED, 0, 3, T_S).items():
        assert (matrix.weights() == together[0][key].weights()).all()


def test_a_column_that_never_varies_gets_an_offset_alone() -> None:
    chip, digital = Moments(np.array([1.0, 2.0]), np.array([0.0, 8.0])), Moments(np.zeros(2), np.array([3.0, 1.0]))
    found = correction(chip, digital, scales=True)
    assert found.gain.tolist() == [1.0, 0.5]
    assert found.offset.tolist() == [-1.0, -1.0]


@pytest.mark.parametrize("copies", [2, 4, 8])
def test_errors_of_devices_average_out_over_copies(copies: int) -> None:
    """Variance of the realised weights falls as 1 / copies: within 10 % at 20,000 weights (4 standard errors)."""
    hardware = Hardware(name="h", tiles=Tiles(rows=256, cols=200), compensation=Compensation(drift="none"))
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(200, 100)).astype(np.float32)

    def variance(number: int) -> float:
        error = (programmed(weight, hardware, 1.0, copies=number).programmed().weights() - weight).ravel()
        common = np.polyval(np.polyfit(weight.ravel(), error, 1), weight.ravel())  # the mean drift, no chance error
        return float(np.var(error - common))

    assert variance(1) / variance(copies) == pytest.approx(copies, rel=0.1)
