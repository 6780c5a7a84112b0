"""The emulation is checked on a placed network's own activations, and errors that are planted are found."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from lhc.graph import obstacle
from lhc.hardware import Hardware
from lhc.models import zoo_entry
from lhc.onnx_io import load_model, read_graph
from lhc.plan import Conformance
from lhc.programmed_matrix import ProgrammedMatrix
from lhc.runtime import HybridExecutor, Position
from lhc.runtime.engines.compiled.engine import CompiledEngine
from lhc.runtime.engines.conformance_check import check_conformance
from lhc.runtime.engines.protocol import ChipsMatrix

pytestmark = pytest.mark.analog

Matrix = Callable[..., ChipsMatrix]


def _checked(hardware: Hardware, copies: int = 1) -> Conformance:
    entry = zoo_entry("digits-narrow")
    model = load_model(entry.model())
    graph = read_graph(model, sizes=False)
    analog = [layer.name for layer in graph.candidates if obstacle(layer) is None]
    executor = HybridExecutor(model, graph, analog, None, dict.fromkeys(analog, copies), "fast")
    state = executor.states(hardware, 0, 0, 86400.0)
    feeds = {name: np.asarray(array[:4]) for name, array in entry.task().inputs.items()}
    return check_conformance(executor, hardware, state, 0, 0, feeds, Position(0, 4))


LIONHEART = Hardware.load("lionheart")


@pytest.mark.parametrize("preset", ["lionheart", "hermes", "reram-cmo", "ideal"])
def test_engines_agree_on_every_layer(preset: str) -> None:
    found = _checked(Hardware.load(preset))
    assert len(found.layers) > 5
    assert all(layer.outputs > 0 for layer in found.layers)
    assert found.wrong == ()
    assert found.apart <= 0.001 * found.outputs


def test_with_copies_they_agree_too() -> None:
    assert _checked(LIONHEART, 3).wrong == ()


def _column(matrix: Matrix) -> Matrix:
    def planted(engine: object, chips: Sequence[ProgrammedMatrix], *rest: object) -> ChipsMatrix:
        gains = [np.ones(chip.groups * chip.outputs, np.float32) for chip in chips]
        for gain in gains:
            gain[0] = 1.02
        return matrix(engine, [chip.with_gain(g) for chip, g in zip(chips, gains, strict=True)], *rest)

    return planted


def _seed(matrix: Matrix) -> Matrix:
    def planted(engine: object, chips: object, draws: object, seed: int, *rest: object) -> ChipsMatrix:
        return matrix(engine, chips, draws, seed + 1, *rest)

    return planted


@pytest.mark.parametrize("planted", [_column, _seed], ids=["a column 2 % off", "noise of another seed"])
def test_a_planted_error_is_found(planted: Callable[[Matrix], Matrix], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CompiledEngine, "matrix", planted(CompiledEngine.matrix))
    found = _checked(LIONHEART)
    assert len(found.wrong) > 0.8 * len(found.layers)
