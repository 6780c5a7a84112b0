"""Predictions beside the engine torch: on a GPU, which is pretended, what the CPU computes; others stay on the CPU."""

import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lhc.errors import ModelError
from lhc.hardware import Adc, Dac, Faults, Hardware
from lhc.hardware.circuits.currents import Currents
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.measure import PlacementEvaluator, Running
from lhc.measure.sensitivity.fisher_prediction import column_damages, fisher_sensitivity, predictions_kept
from lhc.measure.sensitivity.gradient_worker import corrections_alone
from lhc.measure.work_unit import Scorer
from lhc.options.declaration.value_parsing import Engine
from lhc.options.shared import Execution
from lhc.pipeline.steps.rank import sensitivities
from lhc.runtime.gradients import network as differentiable
from tests.measure.six_layers import LAYERS, LIONHEART, healed, make_evaluator
from tests.runtime.pretended_gpu import pretended_gpu

pytestmark = pytest.mark.analog


def _machine(**sections: object) -> Hardware:
    return LIONHEART.model_copy(update={"compensation": Compensation(outputs="none", copies=False), **sections})


MACHINES = {
    "lionheart": _machine(),
    "offsets": _machine(faults=Faults(column_offset=0.05)),
    "currents": _machine(currents=Currents(read_noise=0.05)),
    "constant read noise": _machine(currents=Currents(read_noise=0.05, read_noise_kind="constant")),
    "static ranges": _machine(dac=Dac(bits=5, scaling="static")),
    "clipped inputs": _machine(dac=Dac(bits=5, bound=0.5)),
    "no rounding": _machine(dac=Dac(bits=None, bound=None), adc=Adc(bits=None, bound=None, noise=0.0)),
}


def _on_engine(here: PlacementEvaluator, engine: Engine) -> PlacementEvaluator:
    return replace(here, engine=engine)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "metric"), [*((name, "kl") for name in MACHINES), ("lionheart", "nmse")])
def test_on_a_gpu_predictions_are_those_of_the_processor(
    name: str, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges = dict.fromkeys(LAYERS, (1.5,)) if MACHINES[name].needs_calibration else {}
    here = replace(make_evaluator(metric, MACHINES[name], samples=10, draws=2), ranges=ranges)
    expected = fisher_sensitivity(here, here.graph, LAYERS).table
    columns = column_damages(here, here.graph, ("stem", "head"))
    with pretended_gpu(monkeypatch) as computed:
        there = _on_engine(here, "aihwkit")
        assert fisher_sensitivity(there, here.graph, LAYERS).table == expected
        assert computed["conv2d"] > 0
        computed.clear()
        for layer, found in column_damages(there, here.graph, ("stem", "head")).items():
            np.testing.assert_array_equal(found, columns[layer])
        assert computed["conv2d"] > 0
        computed.clear()
        assert fisher_sensitivity(here, here.graph, LAYERS).table == expected
        assert sum(computed.values()) == 0


def test_chips_that_calibrate_alone_do_so_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    here = _on_engine(healed(Compensation()), "aihwkit")
    expected = fisher_sensitivity(here, here.graph, LAYERS).table
    with pretended_gpu(monkeypatch):
        assert fisher_sensitivity(here, here.graph, LAYERS).table == expected


def test_chips_that_calibrate_alone_multiply_as_chips_that_are_measured() -> None:
    """Their corrections are those of a placement of the layer alone, on the same engine."""
    here = healed(Compensation(copies=False))
    here = replace(here, engine="aihwkit", hardware=here.hardware.model_copy(update={"dac": Dac()}))
    (alone,) = corrections_alone(here.context, LAYERS, [1], here.t_s)
    scorer = Scorer(here.context)
    for name in LAYERS:
        if name not in ("square", "again"):  # which are placed together
            placed = scorer.calibrated(here.context.executor(frozenset({name})), 1, here.t_s)[name]
            np.testing.assert_array_equal(alone[name].gain, placed.gain)
            np.testing.assert_array_equal(alone[name].offset, placed.offset)


def test_a_gpu_that_cannot_run_an_operator_says_so_and_sensitivities_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(differentiable, "OPERATORS", {**differentiable.OPERATORS, "Tanh": _mixing})
    monkeypatch.setattr("lhc.pipeline.steps.rank.measures_all", lambda *_: False)
    here = _on_engine(make_evaluator(samples=10, draws=2), "aihwkit")
    failed = r"Tanh 'Tanh_\d' fails in torch on cuda:0: add: expected all tensors .* same device; with --engine fast"
    with pretended_gpu(monkeypatch):
        with pytest.raises(ModelError, match=failed):
            fisher_sensitivity(here, here.graph, LAYERS)
        table = sensitivities(here, LAYERS, "auto")
    assert {figure.method for figure in table.layers.values()} == {"measure"}
    (note,) = table.notes
    assert re.search(f"measured, not predicted: .*{failed}", note)


def _mixing(_: object, x: torch.Tensor) -> torch.Tensor:
    """An operator that makes a tensor on the CPU, wherever its operand lies."""
    return torch.tanh(x) + torch.from_numpy(np.zeros(x.shape, np.float32))


def test_what_fails_on_the_way_back_says_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nmore")

    monkeypatch.setattr(torch.autograd, "grad", full)
    failed = (
        r"gradients fail in torch on cuda:0: CUDA out of memory\.; with --engine fast gradients are computed on the CPU"
    )
    for expected, words in ((torch.OutOfMemoryError, "CUDA"), (ModelError, failed)):
        here = _on_engine(make_evaluator(samples=10, draws=2), "aihwkit")
        gpu = pretended_gpu(monkeypatch) if expected is ModelError else nullcontext()
        with gpu, pytest.raises(expected, match=words):
            fisher_sensitivity(here, here.graph, LAYERS)


def test_kept_predictions_are_those_of_the_engine_and_its_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Running(Execution(work_dir=tmp_path)) as running:
        here = make_evaluator(running=running, samples=10, draws=2)

        def kept(engine: Engine) -> bool:
            return predictions_kept(_on_engine(here, engine), LAYERS)

        fisher_sensitivity(here, here.graph, LAYERS)
        assert [kept("fast"), kept("aihwkit")] == [True, False]
        fisher_sensitivity(_on_engine(here, "aihwkit"), here.graph, LAYERS)
        assert kept("aihwkit")
        with pretended_gpu(monkeypatch):
            assert [kept("fast"), kept("aihwkit")] == [True, False]
