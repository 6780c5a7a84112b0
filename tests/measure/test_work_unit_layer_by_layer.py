"""Chips whose tiles do not fit in the memory: layers are programmed one after the other, for all calls at hand."""

import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.hardware import Hardware
from lhc.measure import PlacementEvaluator, Running
from lhc.measure.evaluation_context import BANK_SHARE, Block
from lhc.onnx_io import load_model, read_graph
from lhc.options.shared import Execution
from lhc.passes.decide.copies import Copies
from lhc.programmed_matrix import ProgrammedMatrix
from lhc.runtime.engines.compiled.matrix import CompiledMatrix
from lhc.runtime.executor import LARGE_MATRIX
from lhc.runtime.lru_cache import LruCache
from lhc.runtime.tiles.analog_matrix import AnalogMatrix
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

pytestmark = pytest.mark.analog

SIZE = 256
COPIES = 3
LAYERS = ("beside", "first", "second", "again", "third")
# `second` and `again` share their tiles, `first` and `beside` are given what is the same on all chips.
NETWORK = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[N, {SIZE}] x) => (float[N, {SIZE}] y) {{
  t = Tanh (x)
  [beside] d = MatMul (t, w3)
  [first] a = MatMul (t, w0)
  r = Relu (a)
  [second] b = MatMul (r, w1)
  s = Relu (b)
  [again] c = MatMul (s, w1)
  u = Add (c, d)
  [third] e = MatMul (u, w2)
  y = Add (e, r)
}}"""
LAYER_BYTES = 4 * COPIES * SIZE * SIZE
AMPLE, ONE_LAYER, LESS = 2**31, BANK_SHARE * LAYER_BYTES, 2**20
MACHINE = Hardware.load("lionheart").with_fields({"tiles": {"rows": SIZE, "cols": SIZE}})


def make_evaluator(memory: int, samples: int = 600, machine: Hardware = MACHINE) -> PlacementEvaluator:
    model = onnx.parser.parse_model(NETWORK)
    rng = np.random.default_rng(3)
    for name in ("w0", "w1", "w2", "w3"):
        array = (rng.normal(size=(SIZE, SIZE)) / np.sqrt(SIZE)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    opened = load_model(model)
    x = rng.normal(size=(samples + 8, SIZE)).astype(np.float32)
    calibration = Block(0, 8, {"x": x[samples:]}, None, "the last 8")
    task = Task({"x": x[:samples]}, None, get_metric("nmse"))
    copies = Copies(dict.fromkeys(LAYERS, COPIES))
    running = Running(Execution(memory=memory))
    return PlacementEvaluator(
        opened,
        read_graph(opened),
        machine,
        task,
        0,
        2,
        86400.0,
        copies=copies,
        calibration=calibration,
        running=running,
    )


class Held:
    """Counts the bytes of matrices that are held at once, and how many are made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = self.made = 0
        alive: list[weakref.ref[CompiledMatrix]] = []
        begin = CompiledMatrix.__init__

        def counted(
            matrix: CompiledMatrix,
            chips: Sequence[ProgrammedMatrix],
            draws: Sequence[int],
            seed: int,
            hardware: Hardware,
        ) -> None:
            begin(matrix, chips, draws, seed, hardware)
            alive.append(weakref.ref(matrix))
            self.made += 1
            self.most = max(self.most, sum(one.nbytes for ref in alive if (one := ref()) is not None))

        monkeypatch.setattr(CompiledMatrix, "__init__", counted)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [ONE_LAYER, LESS], ids=["one layer fits", "none fits"])
def test_answers_are_those_of_a_chip_that_fits(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SIZE * SIZE >= LARGE_MATRIX
    expected = make_evaluator(AMPLE).measure(frozenset(LAYERS), range(2)).drops
    held = Held(monkeypatch)
    found = make_evaluator(memory).measure(frozenset(LAYERS), range(2)).drops
    fitting = LAYER_BYTES if memory == ONE_LAYER else 0

    assert found.tobytes() == expected.tobytes()
    assert LAYER_BYTES <= held.most <= fitting + LAYER_BYTES


def test_a_chip_that_fits_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    make_evaluator(AMPLE).measure(frozenset(LAYERS), range(2))

    assert held.most >= 2 * 4 * LAYER_BYTES, "two chips of four matrices"


def test_what_is_programmed_serves_all_calls_for_which_there_is_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.measure.evaluation_context.BANK_SHARE", 16)
    held = Held(monkeypatch)
    # An eighth of 9 MiB is for tensors between layers: 256 numbers each, five of them, for the 64 samples of a call.
    one = replace(make_evaluator(12 * LAYER_BYTES, samples=512), calibration=None)
    one.measure(frozenset(LAYERS), range(1))

    assert held.made == 3 * 5, "five layers for at most three of eight calls together"


def test_tiles_of_any_devices_are_made_again_where_memory_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    other = MACHINE.with_fields({"devices": {"model": "reram_wan2022"}})
    make_evaluator(LESS, samples=64, machine=other).measure(frozenset(LAYERS), range(1))

    assert held.most <= 2 * LAYER_BYTES


CALIBRATED, INFERRED = (1, 2, 3, 4), (0,)


@pytest.mark.parametrize(
    ("networks", "expected"),
    [(32, [(*CALIBRATED, *INFERRED)]), (10, [(*CALIBRATED, *INFERRED)]), (3, [CALIBRATED, INFERRED])],
    ids=["all reads are kept", "reads of inference are kept", "none are"],
)
def test_a_chip_is_programmed_once_to_calibrate_and_to_answer(
    networks: int, expected: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``networks``: for how many times the network's weights there is room."""
    programmed: list[tuple[int, ...]] = []
    reads = AnalogMatrix.reads

    def counted(
        matrix: AnalogMatrix, seed: int, draw: int, t_s: float, numbers: Sequence[int]
    ) -> list[ProgrammedMatrix]:
        programmed.append(tuple(numbers))
        return reads(matrix, seed, draw, t_s, numbers)

    whole = make_evaluator(AMPLE, samples=64).measure(frozenset(LAYERS), range(2)).drops
    monkeypatch.setattr(AnalogMatrix, "reads", counted)
    room = networks * len(LAYERS) * 4 * SIZE * SIZE
    monkeypatch.setattr("lhc.measure.evaluation_context._READS", LruCache[ProgrammedMatrix](room))
    found = make_evaluator(AMPLE, samples=64).measure(frozenset(LAYERS), range(2)).drops

    assert found.tobytes() == whole.tobytes()
    matrices_on_chips = 4 * 2
    assert sorted(programmed) == sorted(matrices_on_chips * expected)
