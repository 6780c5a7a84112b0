"""A large network is held as seldom as it can be: one session at a time, no pages of its file, no vocabularies."""

import gc
import re
import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel
from lhc.runtime import HybridExecutor, Position
from lhc.runtime.calibration import chip_outputs as chip_calibration
from lhc.runtime.calibration.chip_outputs import calibrated, digital_moments
from lhc.runtime.onnxruntime import activation_recorder as observed
from lhc.runtime.onnxruntime.batched_calls import Call
from lhc.runtime.onnxruntime.sessions import create_session
from lhc.samples.metrics import get_metric
from lhc.support.memory import give_back
from tests.runtime.models_on_tiles import Array, model_of, normal

pytestmark = pytest.mark.analog

LAYERS = 3


@pytest.fixture
def _no_collection() -> Iterator[None]:
    """Memory of onnxruntime is nothing that Python counts, so that no collection comes when it is wanted."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _network() -> onnx.ModelProto:
    rng = np.random.default_rng(1)
    nodes = [onnx.helper.make_node("MatMul", [f"x{n}", f"w{n}"], [f"x{n + 1}"], name=f"l{n}") for n in range(LAYERS)]
    weights = {f"w{n}": normal(rng, (8, 8)) for n in range(LAYERS)}
    return model_of(nodes, {"x0": np.zeros((2, 8), np.float32)}, {f"x{LAYERS}": 2}, weights)


@pytest.mark.parametrize("analog", [(), ("l1",)], ids=["digital", "analog"])
@pytest.mark.usefixtures("_no_collection")
def test_sessions_go_with_their_executor(analog: tuple[str, ...]) -> None:
    model = load_model(_network())
    graph = read_graph(model)
    HybridExecutor(model, graph, analog).open()  # the first one loads libraries, whose errors hold on to who calls
    executor = HybridExecutor(model, graph, analog)
    executor.open()
    sessions = [weakref.ref(stage.session) for stage in executor._stages if stage.session is not None]

    del executor

    assert sessions
    assert all(session() is None for session in sessions)


@pytest.mark.usefixtures("_no_collection")
def test_moments_of_many_layers_take_one_session_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(_network())
    graph = read_graph(model)
    layers = HybridExecutor(model, graph, [f"l{n}" for n in range(LAYERS)]).layers
    made: list[weakref.ref[object]] = []

    def counted(proto: onnx.ModelProto, label: str, packs: bool) -> object:
        assert all(session() is None for session in made)
        session = create_session(proto, label, packs)
        made.append(weakref.ref(session))
        return session

    monkeypatch.setattr(observed, "create_session", counted)
    monkeypatch.setattr(observed, "OBSERVED_BYTES", 1)

    found = digital_moments(model, graph, layers, [({"x0": np.ones((2, 8), np.float32)}, Position(0, 2))])

    assert len(found) == len(made) == LAYERS
    assert all(session() is None for session in made)


def test_programming_leaves_no_weights_of_a_file_in_memory(tmp_path: Path) -> None:
    smaps = Path("/proc/self/smaps")
    if not smaps.exists():
        pytest.skip("what is in memory of a file is read from /proc")
    from lhc.runtime.tiles.analog_matrix import AnalogMatrix

    size = 2**20
    path = tmp_path / "weights.bin"
    np.random.default_rng(0).normal(size=size).astype(np.float32).tofile(path)
    weights = np.memmap(path, np.float32, "r").reshape(1024, -1)

    def held() -> int:
        """KiB."""
        parts = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", smaps.read_text())
        return sum(int(found[1]) for part in parts if str(path) in part and (found := re.search(r"Rss: *(\d+)", part)))

    assert weights.sum() != 0
    assert held() >= size * 4 // 1024
    matrix = AnalogMatrix(weights, 1, Hardware.load("lionheart"), "ab")
    before = matrix.read(0, 0, 0.0).weights()

    assert held() == 0
    np.testing.assert_array_equal(matrix.read(0, 0, 0.0).weights(), before)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["nll", "kl", "perplexity"])
def test_scores_of_a_vocabulary_are_worked_out_a_few_tokens_at_a_time(metric: str) -> None:
    rng = np.random.default_rng(2)
    output = rng.normal(size=(2, 200, 40_000)).astype(np.float32)
    targets = rng.integers(0, output.shape[-1], output.shape[:-1])
    targets[0, 170:] = -100
    digital = 0.5 * output
    log_q, log_p = (x - np.log(np.exp(x.astype(np.float64)).sum(axis=-1, keepdims=True)) for x in (output, digital))
    surprise = np.where(targets < 0, 0, -np.take_along_axis(log_q, np.maximum(targets, 0)[..., None], -1)[..., 0])
    expected = {
        "nll": surprise.sum(axis=1) / (targets >= 0).sum(axis=1),
        "kl": (np.exp(log_p) * (log_p - log_q)).sum(axis=-1).mean(axis=1),
        "perplexity": np.exp(surprise.sum() / (targets >= 0).sum()),
    }[metric]

    tracemalloc.start()
    found = get_metric(metric).score(output, digital if metric == "kl" else targets)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    np.testing.assert_allclose(found, expected, atol=1e-12, rtol=1e-9)
    assert peak < 1.5 * output.nbytes, "those of one sample in float64, and their exponentials, are twice as much"


def _answering(words: int) -> OnnxModel:
    """One product ``(N, 4, 8) -> (N, 4, words)``, whose output is the network's answer."""
    weights = {"w": normal(np.random.default_rng(3), (8, words))}
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="head")
    return load_model(model_of([node], {"x": np.zeros((2, 4, 8), np.float32)}, {"y": 3}, weights))


def test_a_calibration_holds_the_answers_of_one_call() -> None:
    words, samples, calls = 2_000, 16, 16
    model = _answering(words)
    graph = read_graph(model)
    executor = HybridExecutor(model, graph, ["head"])
    x = normal(np.random.default_rng(5), (samples, 4, 8))
    given: list[Call] = [({"x": x}, Position(samples * n, samples)) for n in range(calls)]
    digital = digital_moments(model, graph, executor.layers, given)
    machine = Hardware.load("lionheart")
    expected = calibrated(executor, digital, machine, 0, 0, 86400.0, given)  # compiles loops

    tracemalloc.start()
    found = calibrated(executor, digital, machine, 0, 0, 86400.0, given)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    np.testing.assert_array_equal(found["head"].gain, expected["head"].gain)
    answers = 4 * samples * 4 * words
    assert peak < calls / 2 * answers, "every call's answers, and one of them in float64"


def test_moments_of_a_vocabulary_take_no_second_copy_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chip_calibration, "_WIDE_VALUES", 2**17)
    model = _answering(4_000)
    graph = read_graph(model)
    layers = HybridExecutor(model, graph, ["head"]).layers
    x = normal(np.random.default_rng(6), (100, 4, 8))
    vectors = x.reshape(400, 8).astype(np.float64)
    output = vectors @ onnx.numpy_helper.to_array(model.proto.graph.initializer[0])
    peaks = np.abs(vectors).max(axis=1)
    weights = 1 / (peaks**2 + peaks.mean() ** 2)

    tracemalloc.start()
    found = digital_moments(model, graph, layers, [({"x": x}, Position(0, 100))])["head"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < output.nbytes / 4, "half of the answers in float32"
    mean = np.average(output, axis=0, weights=weights)
    variance = np.average(np.square(output - mean), axis=0, weights=weights)
    np.testing.assert_allclose(found.mean, mean, atol=1e-5)  # products are float32
    np.testing.assert_allclose(found.deviation, np.sqrt(variance), rtol=1e-5)


def _held() -> int:
    """Bytes of this process that are no pages of files."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("what a process holds is read from /proc")
    found = re.search(r"RssAnon:\s*(\d+)", status.read_text())
    assert found is not None
    return 1024 * int(found[1])


def test_what_a_session_copies_while_it_is_made_goes_back_to_the_system() -> None:
    size, count = 1024, 12
    nodes = [onnx.helper.make_node("Conv", [f"x{n}", f"w{n}"], [f"x{n + 1}"]) for n in range(count)]
    weights = {f"w{n}": np.full((size, size, 1, 1), n, np.float32) for n in range(count)}
    model = load_model(model_of(nodes, {"x0": np.zeros((1, size, 1, 1), np.float32)}, {f"x{count}": 4}, weights))
    gc.collect()
    give_back()
    before = _held()

    session = create_session(model.proto, "large", packs=False)

    assert session is not None
    assert _held() - before < count * size * size * 4 / 2


@pytest.mark.slow
def test_a_large_matrix_that_is_laid_out_leaves_nothing_of_its_tiles_behind() -> None:
    from lhc.runtime.engines.compiled.matrix import CompiledMatrix
    from lhc.runtime.tiles.analog_matrix import AnalogMatrix

    machine = Hardware.load("lionheart")

    def laid_out(weights: Array) -> CompiledMatrix:
        tiles = AnalogMatrix(weights, 1, machine, "ab")
        return CompiledMatrix([tiles.read(0, 0, 0.0)], [0], 0, machine).lay_out(False)

    weights = np.random.default_rng(0).normal(size=(2048, 4097)).astype(np.float32)
    laid_out(weights[:256])  # loads compiled loops
    before = _held()

    matrix = laid_out(weights)

    assert matrix.nbytes >= weights.nbytes
    assert _held() - before < 1.5 * weights.nbytes
