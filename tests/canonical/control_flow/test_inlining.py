"""Products in branches of If are placed for the calls that take them."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import lhc
from lhc.canonical import canonical
from lhc.errors import DataError, ModelError
from lhc.hardware import Hardware
from lhc.onnx_io import contradictions, load_model, read_graph, read_plan
from lhc.onnx_model import all_nodes
from lhc.options.training import TrainingOptions
from lhc.passes import Qualify, initial_plan
from lhc.pipeline.inputs.model_source import LoadedModel
from lhc.runtime.gradients.network import DifferentiableModel, parity
from lhc.runtime.onnxruntime.sessions import Array, create_session
from lhc.samples.metrics import METRICS
from lhc.samples.task import Task
from lhc.train.training_setup import TrainingSetup
from tests.canonical import made_models as made

pytestmark = pytest.mark.analog

IDEAL = Hardware.load("lionheart").geometry


def samples(cached: bool, count: int = 40) -> dict[str, Array]:
    return {"x": np.random.default_rng(1).normal(size=(count, 16)).astype(np.float32), "cached": np.array(cached)}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    return made.merged(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def found(file: onnx.ModelProto) -> lhc.PartitionResult:
    head = next(node.name for node in file.graph.node if node.op_type == "Gemm")  # what torch calls it varies
    return lhc.partition(
        file, samples(True), metric="nmse", draws=2, objective="macs", strategy="all-analog", hardware=IDEAL,
        max_drop=1.0, copies="off", force_digital=(head,),
    )  # fmt: skip


@pytest.fixture(scope="module")
def placed(found: lhc.PartitionResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("placed") / "merged.lhc.onnx"
    found.save(path)
    return path


def outputs(file: onnx.ModelProto, feeds: dict[str, Array]) -> Array:
    answer: Array = create_session(file, "file").run(None, feeds)[0]
    return answer


@pytest.mark.parametrize("cached", [True, False])
def test_the_branch_that_samples_take_is_placed(cached: bool, file: onnx.ModelProto) -> None:
    analysis = lhc.analyze(file, data=samples(cached))
    sizes = {True: [24 * 16, 24 * 24], False: [24 * 16]}[cached]
    assert [row.macs for row in analysis.plan.layers if row.reason == "eligible"] == [*sizes, 5 * 24]
    left = [row for row in analysis.plan.layers if row.reason == "unsupported"]
    assert sorted(row.parameters for row in left) == sorted({True: [24 * 16], False: [24 * 16, 24 * 24]}[cached])
    assert all(row.macs == 0 and "take other branches" in row.detail for row in left)
    assert [*analysis.plan.control.values()] == ["then_branch" if cached else "else_branch"]


def test_without_samples_it_is_counted_and_told_what_is_missing(file: onnx.ModelProto) -> None:
    plan = lhc.analyze(file).plan
    inside = [row for row in plan.layers if row.reason == "unsupported"]
    assert plan.control == {}
    assert sorted(row.macs for row in inside) == [24 * 16, 24 * 16, 24 * 24]
    assert all("samples (--data) tell which branch" in row.detail for row in inside)


def test_annotations_are_on_the_nodes_of_the_branch(file: onnx.ModelProto, placed: Path) -> None:
    annotated = load_model(placed)
    plan = read_plan(annotated)
    assert plan is not None
    keys = {
        node.name: {entry.key: entry.value for entry in node.metadata_props}
        for node in all_nodes(annotated.proto.graph)
    }
    assert len(plan.analog - {node.name for node in annotated.proto.graph.node}) == 2
    assert all(keys[name]["lhc.placement"] == "analog" for name in plan.analog)
    assert contradictions(annotated, plan) == contradictions(canonical(annotated), plan) == []
    bare = onnx.load(placed)
    for node in all_nodes(bare.graph):
        del node.metadata_props[:]
    assert lhc.reapply(bare).plan.analog == plan.analog
    del bare.metadata_props[:]
    again = lhc.reapply(bare, placed)
    assert (again.plan.analog, again.notes) == (plan.analog, ())
    assert again.plan.outcome is not None
    assert outputs(bare, samples(False)).tobytes() == outputs(file, samples(False)).tobytes()


def test_without_noise_tiles_compute_what_the_file_does(file: onnx.ModelProto, placed: Path) -> None:
    session = lhc.HybridSession(placed)
    feeds = samples(True)
    expected = outputs(file, feeds)
    np.testing.assert_allclose(session.run(None, feeds)[0], expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


def test_calls_that_take_the_other_branch_are_refused(placed: Path) -> None:
    with pytest.raises(DataError, match=r"do not take the then_branch of If '.*', for which its layers are placed"):
        lhc.HybridSession(placed).run(None, samples(False))


def test_compiled_it_computes_both_branches(file: onnx.ModelProto, placed: Path) -> None:
    compiled = lhc.compile(placed, noise="off").proto
    calls = {node.name: node for node in all_nodes(compiled.graph) if node.domain == "lhc.analog"}
    assert len(calls) == 2
    assert all(any(e.key == "lhc.placement" for e in node.metadata_props) for node in calls.values())
    assert len(calls.keys() - {node.name for node in compiled.graph.node}) == 2
    expected = outputs(file, samples(True))
    found = outputs(compiled, samples(True))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
    assert outputs(compiled, samples(False)).tobytes() == outputs(file, samples(False)).tobytes()


def test_it_is_differentiated_and_retrained_in_its_branch(file: onnx.ModelProto, placed: Path) -> None:
    model = canonical(load_model(placed))
    graph = read_graph(model)
    names = [layer.name for layer in graph.candidates]
    assert max(parity(DifferentiableModel(model, graph), samples(True)).values()) <= 1e-4
    settings = TrainingOptions(steps=5, batch_size=8, loss="distillation")
    task = Task(samples(True), None, METRICS["nmse"])
    course = TrainingSetup(model, graph, Hardware.load("lionheart"), {}, 86400.0, task, settings, lambda *_: None)
    trainer = course.trainer(5)
    trainer.begin(names)
    assert np.isfinite([trainer.train_step(1.0) for _ in range(5)]).all()
    written = course.written(trainer.network.weights())
    assert [node.op_type for node in written.graph.node].count("If") == 1
    again = canonical(load_model(written))
    assert [layer.name for layer in read_graph(again).candidates] == names
    for cached in (True, False):  # the head was trained for both
        assert outputs(written, samples(cached)).shape == (40, 5)
    assert not np.array_equal(outputs(written, samples(True)), outputs(file, samples(True)))


def test_a_branch_that_gives_too_little_is_refused(file: onnx.ModelProto) -> None:
    short = onnx.ModelProto()
    short.CopyFrom(file)
    node = next(node for node in short.graph.node if node.op_type == "If")
    for attribute in node.attribute:
        del attribute.g.output[:]
    with pytest.raises(ModelError, match=r"If .*_branch gives 0 outputs and not 1; no runtime runs this model"):
        lhc.smooth(short, samples(True))


def test_names_that_branches_share_are_told_apart() -> None:
    text = """net (float[2, 4] x, bool c, bool d) => (float[2, 4] z) {
      [one] y = If (c) <
        then_branch = a () => (float[2, 4] h) { [fc] g = MatMul(x, w)  [act] h = Relu(g) },
        else_branch = b () => (float[2, 4] h) { [fc] h = MatMul(x, v) }>
      [two] z = If (d) <
        then_branch = a () => (float[2, 4] h) { [fc] g = MatMul(y, v)  [act] h = Neg(g) },
        else_branch = b () => (float[2, 4] h) {
          h = If (c) <then_branch = i () => (float[2, 4] g) { [fc] g = MatMul(y, w) },
                      else_branch = j () => (float[2, 4] g) { g = Identity(y) }> }>
    }"""
    file = made.model_of(text, w=(4, 4), v=(4, 4))
    feeds = {"x": np.ones((2, 4), np.float32)}
    for c, d in ((True, True), (True, False), (False, True), (False, False)):
        taken = feeds | {"c": np.array(c), "d": np.array(d)}
        opened = LoadedModel(load_model(file), None).seen(Task(taken, None, METRICS["nmse"]))
        graph = opened.graph()
        assert len({layer.name for layer in graph.multiplying}) == 4
        assert len(graph.candidates) == 1 + (d or c)
        plan = Qualify().run(graph, initial_plan(graph, IDEAL, "", "")).plan
        plan = plan.decide({layer.name: ("analog", "forced", "") for layer in graph.candidates})
        expected = outputs(file, taken)
        found = lhc.HybridSession(file, IDEAL, plan).run(None, taken)[0]
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
        compiled = lhc.compile(file, placement=plan, noise="off").proto
        for other in (taken, taken | {"c": np.array(not c)}, taken | {"d": np.array(not d)}):
            expected = outputs(file, other)
            np.testing.assert_allclose(outputs(compiled, other), expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


def test_a_voice_detector_with_an_lstm_goes_the_whole_way(lhc_data: Path) -> None:
    """silero_vad: two sampling rates by an If, and in each an LSTM in an If of the shape of its state."""
    path = lhc_data / "onnx" / "silero_vad.onnx"
    rng = np.random.default_rng(0)
    feeds = {
        "input": 0.1 * rng.normal(size=(4, 576)).astype(np.float32),
        "state": rng.normal(size=(4, 2, 128)).astype(np.float32),
        "sr": np.array(16000),
    }
    analysis = lhc.analyze(path, data=feeds)
    rows = {row.name: row for row in analysis.plan.layers if row.reason == "eligible"}
    assert len(rows) == 8
    assert sum(row.macs for row in rows.values()) == analysis.plan.macs
    assert [row.kind for row in rows.values()].count("LSTM") == 2
    plan = analysis.plan.decide(dict.fromkeys(rows, ("analog", "forced", "")))
    call = feeds | {name: feeds[name][:2] for name in ("input", "state")}
    file = onnx.load(path)
    session = lhc.HybridSession(path, IDEAL, plan)
    compiled = lhc.compile(path, placement=plan.model_copy(update={"hardware": IDEAL}), noise="off").proto
    for found in (session.run(None, call), create_session(compiled, "compiled").run(None, call)):
        for ours, files in zip(found, create_session(file, "file").run(None, call), strict=True):
            np.testing.assert_allclose(ours, files, atol=1e-4 * np.abs(files).max(), rtol=0)
    slower = call | {"input": call["input"][:, :288], "sr": np.array(8000)}
    with pytest.raises(DataError, match="do not take the then_branch of If 'If_0'"):
        session.run(None, slower)
    assert outputs(compiled, slower).tobytes() == outputs(file, slower).tobytes()
