"""Scores of placements on a network small enough to reason about."""

import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from lhc.canonical import with_digital_columns
from lhc.errors import DataError, UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Adc, AlpineCosts, Hardware
from lhc.measure import (
    Budget,
    ColumnSplitEvaluator,
    PlacementEvaluator,
    PlacementJudge,
    Running,
    SampleScores,
    SetScores,
    evaluation,
    measure_sensitivity,
    ranking_metric,
)
from lhc.measure.workers.processes import packed
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel
from lhc.options.shared import Execution, silent
from lhc.pipeline.inputs.samples import load_task
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.runtime import HybridExecutor
from lhc.runtime.engines.compiled.matrix import CompiledMatrix
from lhc.runtime.onnxruntime.sessions import create_session
from lhc.samples.metrics import Metric, get_metric
from lhc.samples.task import Task
from tests.networks import parsed

pytestmark = pytest.mark.analog

LIONHEART = Hardware.load("lionheart")
LAYERS = ("layer0", "layer1", "layer2", "layer3")
TENSORS = ("x", "m0", "m1", "m2", "m3")
"""Of `chain`."""


def chain(batch: str = "N", fragile: int | None = None, layers: int = 4) -> OnnxModel:
    """Square MatMuls with ReLUs; the ``fragile`` one has a dominant input direction that hides the useful ones."""
    rng = np.random.default_rng(5)
    body, tensor = [], "x"
    weights = {}
    for index in range(layers):
        weight = np.linalg.qr(rng.normal(size=(16, 16)))[0].astype(np.float32)
        if index == fragile:
            # Large weights that cancel in the digital network: their noise does not.
            weight = np.vstack([weight / 2 + 5, weight / 2 - 5]).astype(np.float32)
            body.append(f"d{index} = Concat <axis = 1> ({tensor}, {tensor})")
            tensor = f"d{index}"
        weights[f"w{index}"] = weight
        body.append(f"[layer{index}] m{index} = MatMul ({tensor}, w{index})")
        tensor = f"m{index}"
    body.append(f"y = Identity ({tensor})")
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[{batch}, 16] x) => (float[{batch}, 16] y) {{ '
    model = parsed(text + "\n".join(body) + " }", weights)
    return load_model(model)


def task(samples: int = 100, metric: str = "kl") -> Task:
    x = np.random.default_rng(1).normal(size=(samples, 16)).astype(np.float32)
    return Task({"x": x}, np.zeros(samples, np.int64), get_metric(metric))


def make_evaluator(
    model: OnnxModel, samples: Task, hardware: Hardware = LIONHEART, draws: int = 3
) -> PlacementEvaluator:
    return PlacementEvaluator(model, read_graph(model), hardware, samples, draws=draws, t_s=86400.0)


@pytest.mark.parametrize("fragile", range(4))
def test_planted_sensitive_layer_ranks_first(fragile: int) -> None:
    model = chain(fragile=fragile)
    table = measure_sensitivity(make_evaluator(model, task()), read_graph(model), [f"layer{i}" for i in range(4)])
    assert table.ranking()[0] == f"layer{fragile}"
    assert f"layer{fragile}" in table.table()


def test_damage_is_positive_for_metrics_of_both_directions() -> None:
    model = chain(fragile=1)
    for metric in ("agreement", "kl", "nmse"):
        evaluation = make_evaluator(model, task(metric=metric)).evaluate(frozenset({"layer1"}))
        assert evaluation.drop > 0, metric


def test_digital_placement_costs_nothing() -> None:
    evaluation = make_evaluator(chain(), task(metric="agreement")).evaluate(frozenset())
    assert (evaluation.baseline, evaluation.mean, evaluation.drop) == (1.0, 1.0, 0.0)
    assert evaluation.drop_interval == (0.0, 0.0)


def test_other_samples_lose_nothing_where_all_products_compute_as_in_the_file() -> None:
    """In int8 none of a hundred answers changes either, but others of their kind may."""
    samples = task(metric="agreement")
    low = DigitalArithmetic(precision="int8", high_precision="fp32", ranges=dict.fromkeys(TENSORS, (-9.0, 9.0)))
    intervals = {
        len(raised): replace(make_evaluator(chain(), samples), digital=low.with_raised(raised))
        .evaluate(frozenset())
        .sample_interval
        for raised in ((), LAYERS)
    }
    assert intervals[len(LAYERS)] == (0.0, 0.0)
    assert intervals[0] is not None
    assert intervals[0][1] > 0.01


@pytest.mark.parametrize("metric", ["accuracy", "miou"])
def test_drops_are_against_the_first_of_networks_that_follow_each_other(metric: str) -> None:
    """As where a network was retrained, and then has layers split: drops are against the network before training."""
    samples = replace(task(metric=metric), targets=np.arange(100) % 16)
    given = make_evaluator(chain(), samples)
    retrained = replace(make_evaluator(chain(layers=3), samples), against=given)
    split = replace(retrained, against=retrained)
    chips, analog = range(2), frozenset({"layer0"})
    for placement in (frozenset[str](), analog):
        values, first = split.measure(placement, chips), given.measure(frozenset(), chips)
        np.testing.assert_allclose(values.drops, first.values - values.values, atol=1e-12)
        assert np.abs(values.drops).max() > 0, "the networks differ"
    assert split.baseline == given.baseline


def test_static_batch_gives_the_scores_of_a_dynamic_one() -> None:
    """Also where the samples are no multiple of the batch."""
    placement = frozenset({"layer0", "layer2"})
    dynamic = make_evaluator(chain("N"), task(50)).evaluate(placement)
    static = make_evaluator(chain("8"), task(50)).evaluate(placement)
    assert static.values == pytest.approx(dynamic.values, rel=1e-6)


def test_a_placement_is_measured_in_the_network_that_it_is_run_in() -> None:
    """Split layers are whole where both parts are on the same side, on the same devices as ever."""
    whole, columns = chain(), {"layer0": (3, 7), "layer2": (1,)}
    measured = [f.name for f in fields(PlacementEvaluator)]

    def split(names: Iterable[str]) -> OnnxModel:
        return with_digital_columns(whole, {name: columns[name] for name in names})

    def form(placement: frozenset[str]) -> tuple[OnnxModel, LayerGraph]:
        model = split(n for n in columns if n in placement and f"{n}/columns" not in placement)
        return model, read_graph(model)

    plain = make_evaluator(whole, task(metric="nmse"))
    parting = ColumnSplitEvaluator(**{name: getattr(plain, name) for name in measured}, form=form)
    chips = range(2)
    for placement, parted, run_as in (
        ({"layer0", "layer0/columns", "layer1"}, (), {"layer0", "layer1"}),
        ({"layer0", "layer1", "layer2", "layer2/columns"}, ("layer0",), {"layer0", "layer1", "layer2"}),
        ({"layer0", "layer2"}, ("layer0", "layer2"), {"layer0", "layer2"}),
        ({"layer1", "layer2/columns"}, (), {"layer1"}),
        ({"layer2/columns"}, (), set()),
    ):
        found = parting.measure(frozenset(placement), chips)
        expected = make_evaluator(split(parted), task(metric="nmse")).measure(frozenset(run_as), chips)
        np.testing.assert_array_equal(found.values, expected.values)
        # The network without tiles is the whole one, and rounds otherwise.
        np.testing.assert_allclose(found.drops, expected.drops, rtol=1e-5)
        joined = found.joined(parting.measure(frozenset(placement), range(2, 3)))
        assert len(joined.drops) == 3
    assert parting.baseline == plain.baseline
    later = replace(parting, t_s=1e6).measure(frozenset({"layer0"}), chips)
    assert (later.values != parting.measure(frozenset({"layer0"}), chips).values).all()


def test_ideal_hardware_changes_nothing_and_is_measured_once() -> None:
    calls: list[tuple[int, int]] = []
    model = chain()
    ideal = PlacementEvaluator(
        model,
        read_graph(model),
        Hardware.load("ideal"),
        task(metric="nmse"),
        draws=4,
        progress=lambda what, done, total: calls.append((done, total)),
    )
    evaluation = ideal.evaluate(frozenset({"layer1"}))
    assert max(evaluation.drops) < 1e-10
    assert evaluation.draws == 4
    assert calls == [(0, 1), (1, 1)] * 2, "the digital network and one draw, one block of samples each"


def test_draws_do_not_depend_on_how_many_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    placement = frozenset({"layer0", "layer3"})
    together = make_evaluator(chain(), task()).measure(placement, range(3))
    monkeypatch.setattr("lhc.measure.evaluation_context.CHIPS_TOGETHER", 1)
    one_by_one = make_evaluator(chain(), task()).measure(placement, range(3))
    parts = (
        make_evaluator(chain(), task())
        .measure(placement, range(1))
        .joined(make_evaluator(chain(), task()).measure(placement, range(1, 3)))
    )
    assert together.drops.tobytes() == one_by_one.drops.tobytes() == parts.drops.tobytes()


def test_judge_measures_a_placement_once() -> None:
    measured: list[str] = []
    model = chain()
    counting = PlacementEvaluator(
        model,
        read_graph(model),
        LIONHEART,
        task(),
        draws=2,
        progress=lambda what, done, total: measured.extend([what] if done else []),
    )
    judge = PlacementJudge(counting, Budget(10.0))
    placement = frozenset({"layer0"})
    assert judge.within(placement) is judge.within(placement)
    assert measured == ["digital network", "judging 1 analog layer"], "one unit: two chips, one block"


def test_relative_drop() -> None:
    model = chain(fragile=0)
    placement = frozenset({"layer0"})
    samples = Task(task().inputs, make_evaluator(model, task()).digital_output + 1.0, get_metric("mse"))
    absolute = make_evaluator(model, samples).evaluate(placement)
    relative = make_evaluator(model, samples).evaluate(placement, relative=True)
    assert absolute.baseline == pytest.approx(1.0)
    assert relative.drop == pytest.approx(absolute.drop / absolute.baseline)
    with pytest.raises(UsageError, match="relative rise is undefined"):
        Budget(0.1, "relative").check(make_evaluator(model, task(metric="kl")))


def test_digital_network_that_gives_nan_is_refused() -> None:
    model = load_model(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 16] x) => (float[N, 16] y) { y = Log (x) }'
        )
    )
    with pytest.raises(DataError, match="NaN or infinite"):
        _ = make_evaluator(model, task()).digital_output


LOGITS = np.random.default_rng(0).normal(size=(5, 10)).astype(np.float32)
SHARES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("metric", "output", "targets", "expected"),
    [
        *((name, LOGITS, None, "kl") for name in ("accuracy", "agreement", "kl", "top5", "nll", "perplexity")),
        *((name, SHARES, None, "nmse") for name in ("nmse", "mse", "psnr", "cosine", "spearman")),
        ("accuracy", LOGITS[:, 0], None, "nmse"),
        (None, LOGITS, None, "nmse"),
        (None, LOGITS, np.arange(5), "kl"),
        (None, LOGITS, np.arange(5) + 6, "nmse"),
        (None, LOGITS, np.zeros((5, 10)), "nmse"),
        (None, SHARES, None, "kl"),
        (None, np.log(SHARES), None, "kl"),
    ],
)
def test_ranking_follows_the_metric_and_what_the_output_shows(
    metric: str | None, output: np.ndarray, targets: np.ndarray | None, expected: str
) -> None:
    chosen = None if metric is None else get_metric(metric)
    assert ranking_metric(chosen, output, targets).name == expected


def test_output_noise_of_the_adc_alone_is_stochastic_hardware() -> None:
    quiet = LIONHEART.model_copy(update={"devices": None})
    assert quiet.is_stochastic
    assert not quiet.model_copy(update={"adc": Adc(noise=0.0)}).is_stochastic


def test_mapped_network_that_gives_nan_is_refused_for_metrics_of_both_kinds() -> None:
    evaluator = make_evaluator(chain(), task(metric="nmse"))
    digital = np.zeros((20, 1), np.float32)
    broken = np.full((2, 20, 1), np.nan, np.float32)
    for measured in (
        SetScores(get_metric("spearman"), broken, digital, np.arange(20.0)),
        SampleScores(get_metric("nmse"), np.full((2, 20), np.nan), np.zeros(20)),
    ):
        with pytest.raises(DataError, match="NaN or infinite values on some samples"):
            evaluation(measured, evaluator, relative=False)


def test_a_metric_of_sets_may_need_more_samples_than_are_tried_first() -> None:
    """A file of batch 1 is tried on two samples; a rank takes three."""
    x = np.random.default_rng(1).normal(size=(20, 16)).astype(np.float32)
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[1, 16] x) => (float[1, 1] y) { [one] y = MatMul (x, w) }'
    model = load_model(parsed(text, {"w": np.eye(16, 1, dtype=np.float32)}))
    found = make_evaluator(model, Task({"x": x}, x[:, 0].astype(np.float64), get_metric("spearman")))
    assert found.scores_sets
    assert found.baseline == pytest.approx(1.0)


def test_a_metric_of_sets_is_tried_on_targets_from_all_over_the_data() -> None:
    def gap(output: np.ndarray, targets: np.ndarray) -> float:
        if len(np.unique(targets)) < 2:
            raise ValueError("one class alone")
        return float(output[targets == 1].mean() - output[targets == 0].mean())

    labels = np.repeat([0, 1], 50)
    metric = Metric("gap", higher_is_better=True, needs_targets=True, score=gap)
    assert make_evaluator(chain(), replace(task(), targets=labels, metric=metric)).scores_sets
    one_class = make_evaluator(chain(), replace(task(), targets=np.zeros(100, np.int64), metric=metric))
    with pytest.raises(DataError, match="one class alone"):
        _ = one_class.scores_sets


def test_chips_without_noise_are_measured_once_whatever_the_metric() -> None:
    quiet = LIONHEART.model_copy(update={"devices": None, "adc": Adc(noise=0.0)})
    ranks = replace(task(20, "spearman"), targets=np.arange(20.0))
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 16] x) => (float[N, 1] y) { [one] y = MatMul (x, w) }'
    model = load_model(parsed(text, {"w": np.eye(16, 1, dtype=np.float32)}))
    units: list[int] = []
    evaluator = replace(make_evaluator(model, ranks, quiet), progress=lambda what, done, total: units.append(total))
    found = evaluator.measure(frozenset({"one"}), range(4), "chips")
    assert len(found.drops) == 4
    assert len(set(found.drops.tolist())) == 1
    assert set(units) == {1}


@pytest.mark.parametrize("metric", ["accuracy", "miou"])
def test_an_answer_that_is_nan_is_none(metric: str, caplog: pytest.LogCaptureFixture) -> None:
    """The greatest class of an answer that holds NaN is that NaN: it may be the right one."""
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 16] x) => (float[N, 2] y) {
        [layer0] m = MatMul (x, w)
        r = Sqrt (m)
        y = Concat <axis = 1> (r, m)
    }"""
    model = load_model(parsed(text, {"w": np.eye(16, 1, dtype=np.float32)}))
    x = np.ones((100, 16), np.float32)
    x[:, 0] = 1e-3  # noise of the tile makes the product negative here and there
    samples = Task({"x": x}, np.zeros(100, np.int64), get_metric(metric))
    with pytest.raises(DataError, match="the mapped network gives NaN"):
        make_evaluator(model, samples).evaluate(frozenset({"layer0"}))
    if metric == "accuracy":
        judge = PlacementJudge(make_evaluator(model, samples), Budget(0.5))
        assert not judge.within(frozenset({"layer0"})).accepted
        assert "chips that give such count as wrong on all samples" in caplog.text


def test_the_digital_part_before_the_analog_layers_runs_once_for_all_chips(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = HybridExecutor.prefix

    def counting(self: HybridExecutor, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self.analog:
            calls.append(len(feeds["x"]))
        return original(self, feeds)

    monkeypatch.setattr(HybridExecutor, "prefix", counting)
    monkeypatch.setattr("lhc.measure.evaluation_context.CHIPS_TOGETHER", 2)
    make_evaluator(chain(), task(700)).measure(frozenset({"layer2"}), range(6))
    assert sum(calls) == 700


@pytest.mark.parametrize("memory", [2**31, 2**15], ids=["ample", "too little"])
def test_scores_do_not_depend_on_memory(memory: int) -> None:
    """Neither does what is kept: blocks first where all chips stay in memory, else chips first."""
    placement = frozenset({"layer0", "layer3"})
    expected = make_evaluator(chain(), task(600)).measure(placement, range(6)).drops
    small = make_evaluator(chain(), task(600))
    small.running.memory = memory
    assert small.context.keeps_chips(placement, 6) == (memory > 2**20)
    assert small.measure(placement, range(6)).drops.tobytes() == expected.tobytes()


def test_scores_do_not_depend_on_how_small_the_network_is_beside_its_chips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles that are kept take no more than its weights: of all chips together that is less than one."""
    placement = frozenset({"layer0", "layer3"})
    expected = make_evaluator(chain(), task(600)).measure(placement, range(6)).drops
    monkeypatch.setattr("lhc.measure.evaluation_context.LEAST_KEPT", 0)
    small = make_evaluator(chain(), task(600))
    assert small.context.tile_bytes == 4 * 4 * 16 * 16
    assert small.context.chips_together(placement) == 1
    assert not small.context.keeps_chips(placement, 6)
    assert small.measure(placement, range(6)).drops.tobytes() == expected.tobytes()


def test_sessions_are_made_before_chips_are_programmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is made its weights are held twice; chips are as large."""
    events: list[str] = []
    lay_out = CompiledMatrix.lay_out

    def making(proto: onnx.ModelProto, label: str) -> object:
        events.append("session")
        return create_session(proto, label)

    def laying_out(self: CompiledMatrix, convolves: bool) -> CompiledMatrix:
        events.append("tiles")
        return lay_out(self, convolves)

    monkeypatch.setattr("lhc.runtime.executor.create_session", making)
    monkeypatch.setattr(CompiledMatrix, "lay_out", laying_out)
    one = make_evaluator(chain(), task(600, metric="nmse"))
    one.measure(frozenset({"layer1", "layer2"}), range(3))
    first = events.index("tiles")
    assert events[:first].count("session") >= 2
    assert "session" not in events[first:]
    events.clear()
    one.measure(frozenset({"layer0"}), range(3))
    assert "session" not in events[events.index("tiles") :]


def test_results_on_samples_that_change_during_a_run_are_not_kept(tmp_path: Path) -> None:
    """The log is asked for the samples that were there; those that are measured later must be the same."""
    model, placement, draws = chain(), frozenset({"layer0"}), range(2)
    x = np.random.default_rng(1).normal(size=(700, 16)).astype(np.float32)
    path = tmp_path / "data" / "x.npy"
    path.parent.mkdir()
    np.save(path, x)

    def opened(progress: Callable[[str, int, int], None] = silent) -> PlacementEvaluator:
        samples = load_task(path.parent, model, get_metric("kl"))
        return replace(make_evaluator(model, samples), running=running, progress=progress)

    def edit(what: str, done: int, total: int) -> None:
        if done == 1:
            changed = np.load(path)
            changed[600:] += 1
            np.save(path, changed)

    with Running(Execution(work_dir=tmp_path / "kept")) as running:
        first = opened(edit)
        first.units(placement, draws)
        with pytest.raises(DataError, match=r"x\.npy: has changed while lhc was reading it; nothing is kept"):
            first.measure(placement, draws)
        assert opened().units(frozenset(), draws) == (2, 1), "the first block is what it was, the second is new"
        np.save(path, x)
        assert opened().units(frozenset(), draws) == (2, 1), "nothing lies under what the second was"


def test_samples_that_are_changed_in_memory_are_refused(tmp_path: Path) -> None:
    samples = task(600)
    with Running(Execution(work_dir=tmp_path)) as running:
        measured = replace(make_evaluator(chain(), samples), running=running)
        measured.units(frozenset({"layer0"}), range(2))
        samples.inputs["x"][550] += 1  # type: ignore[index]  # an array
        with pytest.raises(DataError, match="samples 512 to 599 have changed during the run, in 'x'"):
            measured.measure(frozenset({"layer0"}), range(2))


def test_other_costs_leave_kept_results_valid_and_other_tiles_do_not(tmp_path: Path) -> None:
    model, placement, draws = chain(), frozenset({"layer0"}), range(2)
    with Running(Execution(work_dir=tmp_path)) as running:
        first = replace(make_evaluator(model, task()), running=running)
        first.measure(placement, draws)
        total, kept = first.units(placement, draws)
        assert kept == total > 0
        assert LIONHEART.costs == AlpineCosts()
        free = LIONHEART.model_copy(update={"costs": None})
        assert replace(first, hardware=free).units(placement, draws) == (total, total)
        other = LIONHEART.model_copy(update={"adc": Adc(bits=4)})
        assert replace(first, hardware=other).units(placement, draws)[1] == 0


def test_machines_and_seeds_share_what_is_kept_of_the_network_without_tiles(tmp_path: Path) -> None:
    digital, analog = frozenset[str](), frozenset({"layer0"})
    with Running(Execution(work_dir=tmp_path)) as running:
        first = replace(make_evaluator(chain(), task()), running=running)
        for placement in (digital, analog):
            first.measure(placement, range(1))
        other_machine = replace(first, hardware=LIONHEART.model_copy(update={"adc": Adc(bits=4)}))
        for other in (other_machine, replace(first, seed=first.seed + 1)):
            total, kept = other.units(digital, range(1))
            assert kept == total > 0
            np.testing.assert_array_equal(
                other.measure(digital, range(1)).values, first.measure(digital, range(1)).values
            )
            assert other.units(analog, range(1))[1] == 0


def test_an_edited_metric_of_the_user_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, placement, draws = chain(layers=2), frozenset({"layer0"}), range(2)
    found = []
    for factor in ("1", "1", "100"):
        Path("own_metric.py").write_text(
            f"import numpy as np\n\n\ndef size(output, targets):\n    return {factor} * np.abs(output).sum(axis=1)\n"
        )
        sys.modules.pop("own_metric", None)
        with Running(Execution(work_dir=tmp_path / "kept")) as running:
            judged = task(20).with_metric(get_metric("own_metric:size", higher_is_better=False))
            measured = replace(make_evaluator(model, judged), running=running)
            _, kept = measured.units(placement, draws)
            found.append((kept, measured.measure(placement, draws).values))
    (first, before), (second, same), (third, edited) = found
    assert (first, third) == (0, 0)
    assert second > 0
    np.testing.assert_array_equal(same, before)
    np.testing.assert_allclose(edited, 100 * before)


def test_a_metric_of_the_user_goes_to_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_metric_b.py").write_text("def size(output, targets):\n    return abs(output).sum(axis=1)\n")
    metric = get_metric("own_metric_b:size", higher_is_better=False)
    payload = packed(make_evaluator(chain(layers=1), task(20).with_metric(metric)).context)
    output = np.ones((3, 16), np.float32)
    _, context = pickle.loads(payload)
    np.testing.assert_array_equal(pickle.loads(context).metric.score(output, output), [16, 16, 16])
    Path("own_metric_b.py").write_text("def size(output, targets):\n    return abs(output).max(axis=1)\n")
    with pytest.raises(UsageError, match="another version is loaded here"):
        pickle.loads(context)
