"""Sensitivities by prediction, by measurement, and by prediction that a measurement confirms or not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.errors import ModelError, OutOfTimeError, UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.measure import PlacementEvaluator, Running, measure_sensitivity
from lhc.onnx_io import load_model, read_graph
from lhc.options.shared import Execution, Ranking
from lhc.passes import damage_of, qualified_plan
from lhc.passes.decide.copies import Copies
from lhc.pipeline.steps import rank
from lhc.pipeline.steps.rank import CHECKED, agreement, sensitivities, spread_over_ranking
from lhc.plan import Sensitivity
from lhc.results import SensitivityTable
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from lhc.support.log_levels import NOTE

LAYERS = 15


def make_evaluator(
    behind: str = "y = Identity (t15)",
    metric: str = "kl",
    told: Callable[[str], None] | None = None,
    **more: tuple[int, ...],
) -> PlacementEvaluator:
    """A chain of products with Tanh between, and what comes behind with more weights of these shapes."""
    body = [f"[l{i}] p{i} = MatMul (t{i}, w{i})\n t{i + 1} = Tanh (p{i})" for i in range(LAYERS)]
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 8] x) => (float[N, 8] y) {\n t0 = Identity (x)\n'
    model = onnx.parser.parse_model(text + "\n".join([*body, behind]) + "\n}")
    rng = np.random.default_rng(2)
    for name, shape in {**{f"w{i}": (8, 8) for i in range(LAYERS)}, **more}.items():
        weight = (rng.normal(size=shape) / 2.2).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    loaded = load_model(model)
    x = np.random.default_rng(1).normal(size=(64, 8)).astype(np.float32)
    return PlacementEvaluator(
        loaded,
        read_graph(loaded),
        Hardware.load("lionheart"),
        Task({"x": x}, None, get_metric(metric)),
        draws=4,
        t_s=86400.0,
        progress=lambda what, done, total: None if told is None else told(what),
    )


def quiet(machine: Hardware) -> Hardware:
    """A third of its noise."""
    assert machine.devices is not None
    devices = machine.devices.model_copy(update={"programming_noise_scale": 0.3, "read_noise_scale": 0.3})
    adc = machine.adc.model_copy(update={"noise": 0.3 * machine.adc.noise})
    return machine.model_copy(update={"devices": devices, "adc": adc})


def names(of: PlacementEvaluator) -> list[str]:
    return [layer.name for layer in of.graph.candidates]


@pytest.mark.analog
def test_a_confirmed_prediction_stands() -> None:
    work: list[str] = []
    here = make_evaluator(told=work.append)
    found = sensitivities(here, names(here))
    assert found.agreement is not None
    assert found.agreement.good
    assert len(found.agreement.layers) == CHECKED
    assert {figure.method for figure in found.layers.values()} == {"fisher"}
    assert len({what for what in work if what.startswith("sensitivity ") and "/" in what}) == CHECKED
    for name, (predicted, measured) in found.agreement.layers.items():
        assert found.layers[name].mean == predicted
        single = measure_sensitivity(here, here.graph, [name]).layers[name]
        assert single.mean == measured, "the same chips as any measurement"
    alone = sensitivities(here, names(here), "fisher")
    assert alone.layers == found.layers
    assert alone.agreement is None


@pytest.mark.analog
def test_an_unconfirmed_prediction_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.pipeline.steps.rank.GOOD_RATIO", (10.0, 20.0))
    work: list[str] = []
    here = make_evaluator(told=work.append)
    found = sensitivities(here, names(here))
    assert found.agreement is not None
    assert not found.agreement.good
    assert any("does not agree" in note for note in found.notes)
    measured = measure_sensitivity(here, here.graph, names(here))
    assert found.layers == measured.layers
    assert list(found.layers) == names(here)


@pytest.mark.analog
def test_a_network_without_gradients_is_measured() -> None:
    text = """zero = Constant <value_ints = [0]> ()
      u = Unsqueeze (t15, zero)
      [recurrent] r, s, q = LSTM <hidden_size = 8> (u, v, o)
      y = Squeeze (s, zero)"""
    here = make_evaluator(text, v=(1, 32, 8), o=(1, 32, 8))
    chosen = names(here)
    found = sensitivities(here, chosen)
    assert {figure.method for figure in found.layers.values()} == {"measure"}
    (note,) = found.notes
    assert note.startswith("sensitivities are measured, not predicted: model: LSTM")
    assert "\n" not in note
    with pytest.raises(ModelError, match="cannot be differentiated"):
        sensitivities(here, chosen, "fisher")


@pytest.mark.analog
def test_layers_without_a_gradient_are_measured() -> None:
    """A sign behind a layer hides it from gradients, not from measurements."""
    given = make_evaluator("[hidden] h = MatMul (x, v)\n r = Sign (h)\n y = Add (r, t15)", v=(8, 8))
    here = replace(given, hardware=quiet(given.hardware), draws=8)  # with all noise, predictions are at the edge
    found = sensitivities(here, names(here))
    assert {name for name, figure in found.layers.items() if figure.method == "measure"} == {"hidden"}
    assert found.layers["hidden"].mean > 0
    (note,) = sensitivities(here, names(here), "fisher").notes
    assert "the gradient at hidden is zero on all samples" in note


@pytest.mark.analog
@pytest.mark.parametrize("why", ["few layers", "half width", "metric"])
def test_measured_where_there_is_nothing_to_predict(why: str) -> None:
    here = make_evaluator(metric="agreement" if why == "metric" else "kl")
    chosen = names(here)[:3] if why == "few layers" else names(here)
    found = sensitivities(here, chosen, half_width=0.9 if why == "half width" else None)
    assert {figure.method for figure in found.layers.values()} == {"measure"}
    assert found.agreement is None


def test_what_cannot_be_predicted_is_refused() -> None:
    here = make_evaluator()
    with pytest.raises(UsageError, match="--half-width is for measured"):
        sensitivities(here, names(here), "fisher", half_width=0.1)
    with pytest.raises(UsageError, match="--method 'guess': choose auto, measure, fisher"):
        Ranking(method="guess")  # type: ignore[arg-type]


class LateAfter(Running):
    """A clock that runs out after so many questions."""

    def __init__(self, questions: int) -> None:
        super().__init__()
        self.left = questions

    @property
    def late(self) -> bool:
        return self.left <= 0

    def check_time(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OutOfTimeError("--timeout")


@pytest.mark.analog
@pytest.mark.parametrize("questions", [1, 4])
def test_the_prediction_is_given_when_the_time_is_over(questions: int) -> None:
    here = replace(make_evaluator(), running=LateAfter(questions))
    found = sensitivities(here, names(here))
    assert set(found.layers) == set(names(here))
    assert any(note.startswith("--timeout") for note in found.notes)


@pytest.mark.analog
def test_what_was_measured_when_the_time_is_over_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prediction is not confirmed, and there is no time for the layers that were not measured for it."""
    monkeypatch.setattr(rank, "GOOD_CORRELATION", 2.0)
    here = make_evaluator()

    def late(one: PlacementEvaluator, graph: LayerGraph, wanted: list[str], confidence: float) -> SensitivityTable:
        if len(wanted) != CHECKED:
            raise OutOfTimeError("--timeout")
        return measure_sensitivity(one, graph, wanted, confidence)

    monkeypatch.setattr(rank, "measure_sensitivity", late)
    found = sensitivities(here, names(here))
    assert len(found.layers) == CHECKED
    assert all(one.method == "measure" for one in found.layers.values())
    assert f"--timeout: {CHECKED} of {LAYERS} sensitivities are measured" in found.notes[0]


def table(**means: float) -> SensitivityTable:
    layers = {n: Sensitivity(metric="kl", mean=m, std=0, interval=None) for n, m in means.items()}
    return SensitivityTable("kl", layers, 10, 2, 0, 0.0, 0.9)


def test_agreement_is_told_in_ranks_and_ratios() -> None:
    found = agreement(table(a=4, b=2, c=1, d=9), table(a=2, b=1, c=0.5))
    assert found.correlation == pytest.approx(1)
    assert found.ratio == pytest.approx(2)
    assert not found.good
    assert list(found.layers) == ["a", "b", "c"]
    assert agreement(table(a=4, b=2, c=1), table(a=4.1, b=2, c=0.9)).good
    assert not agreement(table(a=4, b=2, c=1), table(a=1, b=2, c=4)).good
    assert agreement(table(a=4, b=2), table(a=4, b=2)).correlation is None, "two ranks say nothing"
    unseen = agreement(table(a=4, b=2, c=1), table(a=4, b=2, c=-1e-9))
    assert unseen.ratio == pytest.approx(1)
    assert agreement(table(a=1, b=1, c=1), table(a=0, b=0, c=0)).ratio is None
    with pytest.raises(UsageError, match="no layer"):
        agreement(table(a=1), table(b=1))


def test_layers_are_spread_over_the_ranking() -> None:
    found = spread_over_ranking(table(**{f"l{i}": float(i) for i in range(9)}), 3)
    assert found == ("l8", "l4", "l0")
    assert spread_over_ranking(table(a=1, b=2), 5) == ("b", "a")


@pytest.mark.analog
@pytest.mark.parametrize("method", ["measure", "fisher"])
def test_sensitivities_are_found_with_one_copy_and_with_those_that_layers_have(method: str) -> None:
    """Whoever asks, and by either method, those with one copy are the same."""
    here = make_evaluator()
    chosen = names(here)[:3]
    plain = sensitivities(here, chosen, method)  # type: ignore[arg-type]
    copied = replace(here, copies=Copies({chosen[1]: 8}))
    found = sensitivities(copied, chosen, method)  # type: ignore[arg-type]
    assert found.layers == plain.layers
    assert {figure.copies for figure in found.layers.values()} == {1}
    assert plain.with_copies == {}
    (with_copies,) = found.with_copies.items()
    assert with_copies[0] == chosen[1]
    assert (with_copies[1].copies, with_copies[1].method) == (8, method)
    assert with_copies[1].mean < 0.5 * found.layers[chosen[1]].mean
    plan = qualified_plan(here.graph, here.hardware, "")
    placed = found.put_into(plan.with_copies(here.graph, {chosen[1]: 8}))
    damages = [damage_of(here.graph, placed, [name]) for name in chosen[:2]]
    assert damages == [found.layers[chosen[0]].mean, with_copies[1].mean], "a search goes by the copies that there are"


def test_results_of_an_earlier_run_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a note: whoever asks twice wants to know that nothing was measured anew."""
    caplog.set_level(NOTE, "lhc")
    for told in ("", "note: 9 results of an earlier run reused (--fresh measures anew)"):
        with Running(Execution(work_dir=tmp_path)) as running:
            here = replace(make_evaluator(), running=running)
            sensitivities(here, names(here)[:2], "measure")
        assert caplog.text.count("earlier run") == bool(told)
        assert told in caplog.text
    with Running(Execution(work_dir=tmp_path), looks_only=True) as running:
        sensitivities(replace(make_evaluator(), running=running), names(here)[:2], "measure")
    assert caplog.text.count("earlier run") == 1
