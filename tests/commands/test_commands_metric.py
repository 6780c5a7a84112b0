"""What networks are judged and ranked by where nobody says it, and that a placement is judged later as it was made."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import lhc
from lhc.errors import DataError, UsageError
from lhc.onnx_io import load_model, read_plan
from lhc.pipeline.inputs.run_inputs import is_judged_output
from lhc.runtime.onnxruntime.sessions import create_session
from lhc.samples.metrics import METRICS, metric_without_targets, shows_classes
from lhc.samples.task import Task
from tests.conftest import Cli
from tests.networks import drawn, parsed

NET = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 6] x) => (OUTPUTS) {
  [fc1] h = MatMul(x, w)
  [act] r = Relu(h)
  [fc2] y = MatMul(r, v)
  HEAD
}"""
X = np.random.default_rng(1).normal(size=(24, 6)).astype(np.float32)
LOGITS = X[:, :4]
SHARES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


def network(outputs: int = 2, head: str = "", named: str = "float[N, K] y") -> onnx.ModelProto:
    return parsed(NET.replace("OUTPUTS", named).replace("HEAD", head), drawn({"w": (6, 8), "v": (8, outputs)}))


@pytest.mark.parametrize(
    ("output", "targets", "shown"),
    [
        (LOGITS, None, False),
        (SHARES, None, True),
        (np.log(SHARES), None, True),
        (SHARES.astype(np.float16), None, True),
        (1 / (1 + np.exp(-LOGITS)), None, False),  # a sigmoid each: within [0, 1], and do not sum to 1
        (SHARES[:, :1], None, False),
        (SHARES[:, 0], None, False),
        (np.moveaxis(np.repeat(SHARES[:, :, None], 3, axis=2), 1, 1), None, False),  # classes along another axis
        (LOGITS, np.arange(24) % 4, True),
        (LOGITS, np.arange(24) % 5, False),
        (LOGITS, np.arange(24) % 4 - 1, False),
        (LOGITS, (np.arange(24) % 4).astype(np.float32), False),
        (np.repeat(LOGITS[:, None], 3, axis=1), np.full((24, 3), -100), False),
        (np.repeat(LOGITS[:, None], 3, axis=1), np.tile([1, 2, -100], (24, 1)), True),
        (LOGITS.astype(np.int8), None, False),
    ],
)
def test_what_shows_classes(output: np.ndarray, targets: np.ndarray | None, shown: bool) -> None:
    assert shows_classes(output, targets) is shown


def test_integers_without_targets_are_asked_about() -> None:
    with pytest.raises(UsageError, match=r"--metric agreement .* nmse .* module:function"):
        metric_without_targets(np.arange(12).reshape(3, 4), "ids")


def test_logits_without_targets_are_classes_where_the_user_names_their_axis() -> None:
    assert metric_without_targets(LOGITS, "y")[0] is METRICS["nmse"]
    assert metric_without_targets(LOGITS, "y", classes=True)[0] is METRICS["agreement"]


@pytest.mark.analog
def test_regression_without_labels_is_judged_and_ranked_by_nmse_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    result = lhc.partition(network(), {"x": X}, objective="macs", draws=2, max_drop=1.0)
    outcome = result.plan.outcome
    assert outcome is not None
    assert (outcome.metric, outcome.higher_is_better, outcome.output) == ("nmse", False, "y")
    assert outcome.metric_note is not None
    assert "nothing shows that output 'y' holds classes" in outcome.metric_note
    assert {layer.sensitivity.metric for layer in result.plan.layers if layer.sensitivity} == {"nmse"}
    assert "judged by nmse" in caplog.text
    assert "`metric` agreement or kl" in caplog.text
    assert "the labels are not used" not in caplog.text
    assert lhc.sensitivity(network(), {"x": X, "labels": np.arange(len(X)) + 99}, draws=2).metric == "nmse"
    assert "the labels are not used: they are no classes 0 to " in caplog.text
    assert lhc.attribute(network(), {"x": X}, draws=2).metric == "nmse"


@pytest.mark.slow
@pytest.mark.analog
@pytest.mark.parametrize(
    ("beyond", "class_axis", "ranked_by"), [(99, None, "nmse"), (99, 1, "kl"), (0, None, "kl")], ids=str
)
def test_a_function_with_labels_that_are_no_classes_says_what_ranks(
    caplog: pytest.LogCaptureFixture, beyond: int, class_axis: int | None, ranked_by: str
) -> None:
    def near(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        scores: np.ndarray = -np.abs(outputs.argmax(1) - targets % 2).astype(float)
        return scores

    metric = lhc.Metric("near", higher_is_better=True, needs_targets=True, score=near)
    result = lhc.partition(
        network(),
        lhc.Task({"x": X}, np.arange(len(X)) % 2 + beyond, metric),
        class_axis=class_axis,
        objective="macs",
        draws=2,
        max_drop=1.0,
    )
    assert {layer.sensitivity.metric for layer in result.plan.layers if layer.sensitivity} == {ranked_by}
    told = "near reads, are no classes 0 to 1 of the output; layers are ranked by nmse"
    assert caplog.text.count(told) == (ranked_by == "nmse")


@pytest.mark.analog
def test_a_budget_in_another_unit_is_refused_before_anything_is_measured() -> None:
    done: list[str] = []
    with pytest.raises(UsageError, match="percentages are points of a share of right answers, which nmse is not"):
        lhc.partition(network(), {"x": X}, max_drop="5%", progress=lambda what, *_: done.append(what))
    assert not [what for what in done if what.startswith("checking")]


@pytest.mark.analog
def test_probabilities_without_labels_are_judged_by_agreement(caplog: pytest.LogCaptureFixture) -> None:
    model = network(4, "z = Softmax(y)", "float[N, K] z")
    result = lhc.partition(model, {"x": X}, objective="macs", draws=2, max_drop="100%")
    assert result.plan.outcome is not None
    assert result.plan.outcome.metric == "agreement"
    assert {layer.sensitivity.metric for layer in result.plan.layers if layer.sensitivity} == {"kl"}
    assert "nmse" not in caplog.text


@pytest.mark.analog
@pytest.mark.parametrize("metric", ["mse", "nmse", "agreement", "kl"])
def test_ranking_follows_the_metric_that_is_chosen(metric: str) -> None:
    data: dict[str, np.ndarray] = {"x": X, "labels": np.zeros((24, 2), np.float32)}
    result = lhc.partition(network(), data, metric=metric, objective="macs", draws=2, max_drop=0.9)
    ranked = {layer.sensitivity.metric for layer in result.plan.layers if layer.sensitivity}
    assert ranked == {"nmse" if metric in ("mse", "nmse") else "kl"}
    assert result.plan.outcome is not None
    assert result.plan.outcome.metric_note is None


@pytest.mark.analog
def test_float_targets_are_asked_about_where_a_placement_is_judged_and_ranked_by_nmse(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data: dict[str, np.ndarray] = {"x": X, "labels": np.zeros((24, 2), np.float32)}
    with pytest.raises(UsageError, match="`metric` mse"):
        lhc.partition(network(), data, draws=2)
    assert lhc.sensitivity(network(), data, draws=2).metric == "nmse"
    assert "the labels are not used: they are numbers, which judge placements by `metric` mse" in caplog.text
    assert "no classes" not in caplog.text
    assert len(lhc.analyze(network(), data).plan.layers) == 2


def absolute(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Of every sample, the mean absolute error."""
    errors: np.ndarray = np.abs(outputs - targets).mean(axis=-1)
    return errors


@pytest.mark.analog
@pytest.mark.parametrize(("last", "kind", "told"), [(1, np.float32, 1), (2, np.float32, 0), (1, np.int64, 0)])
def test_a_function_that_repeats_targets_over_outputs_is_told_once(
    last: int, kind: type, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    metric = lhc.Metric("absolute", higher_is_better=False, needs_targets=True, score=absolute)
    task = lhc.Task({"x": X}, np.ones((24, last), kind), metric)
    lhc.evaluate(network(), task, draws=2)
    said = "absolute is given outputs of shape (24, 2) and labels of shape (24, 1): NumPy repeats one over the other"
    assert caplog.text.count(said) == told
    assert caplog.text.count("NumPy repeats") == told


@pytest.mark.analog
@pytest.mark.parametrize("higher", [True, False])
def test_an_error_that_is_said_to_be_better_when_higher_is_asked_about(
    higher: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The targets are the network's own answers, so that noise cannot improve any."""
    x = np.random.default_rng(3).normal(size=(100, 6)).astype(np.float32)
    answers = lhc.HybridSession(network(), placement=frozenset()).run(None, {"x": x})[0]
    metric = lhc.Metric("absolute", higher_is_better=higher, needs_targets=True, score=absolute)
    task = lhc.Task({"x": x}, answers, metric)
    lhc.partition(network(), task, objective="macs", strategy="all-analog", draws=8, max_drop=9.0)
    assert caplog.text.count("noise of analog layers improves absolute from 0 to ") == higher


@pytest.mark.analog
def test_targets_of_another_shape_are_refused_before_anything_is_measured() -> None:
    done: list[str] = []
    data: dict[str, np.ndarray] = {"x": X, "labels": np.zeros((24, 3), np.float32)}
    with pytest.raises(DataError, match=r"mse: the output gives a sample numbers of shape \(2,\), .* shape \(3,\)"):
        lhc.partition(network(), data, metric="mse", max_drop=1.0, progress=lambda what, *_: done.append(what))
    assert not done


TWO = network(4, "z = Tanh(y)", "float[N, K] y, float[N, K] z")


@pytest.fixture(scope="module")
def placed() -> onnx.ModelProto:
    data: dict[str, np.ndarray] = {"x": X, "labels": np.arange(24) % 4}
    result = lhc.partition(
        TWO, data, metric="kl", output="z", objective="macs", draws=2, max_drop=0.25, strategy="all-analog"
    )
    return result.model


@pytest.mark.analog
def test_a_placement_is_run_as_it_was_judged(placed: onnx.ModelProto) -> None:
    data: dict[str, np.ndarray] = {"x": X, "labels": np.arange(24) % 4}
    plan = read_plan(load_model(placed))
    assert plan is not None
    assert plan.outcome is not None
    (found,) = lhc.evaluate(placed, data, draws=2)
    assert found.metric == "kl"
    own = lhc.evaluate(placed, data, draws=2, metric="kl", output="z")
    assert own == (found,)
    robust = lhc.robustness(placed, data, draws=2, chips=2, times=[0])
    assert (robust.chips.metric, robust.max_drop) == ("kl", 0.25)
    assert lhc.attribute(placed, data, draws=2).metric == "kl"


@pytest.mark.analog
def test_what_the_user_gives_goes_before_the_placement(placed: onnx.ModelProto) -> None:
    labels = np.arange(24) % 4
    (found,) = lhc.evaluate(placed, {"x": X, "labels": labels}, metric="accuracy", draws=2)
    assert found.metric == "accuracy"
    task = Task({"x": X}, labels, METRICS["agreement"])
    assert lhc.evaluate(placed, task, draws=2)[0].metric == "agreement"
    for arguments in ({"data": {"x": X, "labels": labels}, "metric": "accuracy"}, {"data": task}):
        with pytest.raises(UsageError, match=r"the budget of the placement, 0\.25, is for kl; give `max_drop`"):
            lhc.robustness(placed, draws=2, chips=2, times=[0], **arguments)


@pytest.mark.analog
def test_a_function_that_a_file_names_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("own_score.py").write_text("def score(outputs, targets):\n    return abs(outputs - targets).mean(axis=1)\n")
    data: dict[str, np.ndarray] = {"x": X, "labels": np.zeros((24, 2), np.float32)}
    name = "own_score:score"
    result = lhc.partition(
        network(), data, metric=name, higher_is_better=False, objective="macs", draws=2, max_drop=9.0
    )
    with pytest.raises(UsageError, match=f"give `metric` {name}, or another one"):
        lhc.evaluate(result.model, {"x": X}, draws=2)
    (found,) = lhc.evaluate(result.model, data, metric=name, draws=2)  # the direction is the placement's
    assert found.metric == name


@pytest.mark.slow
@pytest.mark.analog
def test_outputs_are_written_whatever_judged_the_placement(cli: Cli, placed: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save_model(placed, str(tmp_path / "m.onnx"))
    np.savez(tmp_path / "x.npz", x=X)
    command = ["run", str(tmp_path / "m.onnx"), "--data", str(tmp_path / "x.npz"), "--outputs", str(tmp_path / "y.npz")]
    result = cli(*command, "-q")
    assert result.exit_code == 0, result.stderr
    with np.load(tmp_path / "y.npz") as outputs:
        assert outputs["z"].shape == (24, 4)
    assert "kl" in result.stdout, "the stored metric needs no labels, so the table is there too"
    alone = json.loads(cli(*command[:4], "--draws", 2, "--json", "-q").stdout)
    assert json.loads(cli(*command, "--force", "--draws", 2, "--json", "-q").stdout) == alone
    with np.load(tmp_path / "y.npz") as outputs:
        assert outputs["z"].shape == (2, 24, 4)


@pytest.mark.slow
@pytest.mark.analog
def test_only_outputs_are_written_where_the_stored_metric_needs_labels(cli: Cli, tmp_path: Path) -> None:
    data: dict[str, np.ndarray] = {"x": X, "labels": np.zeros((24, 2), np.float32)}
    placed = lhc.partition(network(), data, metric="mse", objective="macs", draws=2, max_drop=9.0).model
    onnx.save_model(placed, str(tmp_path / "m.onnx"))
    np.savez(tmp_path / "x.npz", x=X)
    result = cli("run", tmp_path / "m.onnx", "--data", tmp_path / "x.npz", "--outputs", tmp_path / "y.npz", "-q")
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr


@pytest.mark.analog
def test_regression_is_retrained_in_the_metric_of_its_placement() -> None:
    x = np.random.default_rng(2).normal(size=(200, 6)).astype(np.float32)
    data: dict[str, np.ndarray] = {"x": x, "labels": np.zeros((200, 2), np.float32)}
    placed = lhc.partition(
        network(), data, metric="mse", objective="macs", draws=2, max_drop=5.0, strategy="all-analog"
    )
    result = lhc.retrain(placed.model, data, steps=2, batch_size=16, validations=1, draws=2)
    assert result.plan.outcome is not None
    assert (result.plan.outcome.metric, result.plan.outcome.max_drop) == ("mse", 5.0)
    both = lhc.partition(
        network(), data, metric="mse", retrain=True, steps=2, batch_size=16, validations=1, draws=2, max_drop=5.0
    )
    assert both.plan.outcome is not None
    assert both.plan.outcome.metric == "mse"


@pytest.mark.analog
def test_a_report_is_about_the_output_that_was_judged(placed: onnx.ModelProto) -> None:
    plan = read_plan(load_model(placed))
    assert [is_judged_output(plan, output) for output in (None, "z", "y")] == [True, True, False]
    assert is_judged_output(None, "y")


def test_outputs_that_nothing_looks_at_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", logger="lhc"):
        lhc.evaluate(two_outputs(), {"x": np.zeros((8, 4), np.float32)}, metric="nmse", draws=2, all_analog=True)
    (told,) = [text for text in caplog.messages if "not looked at" in text]
    assert told.endswith("judged by its first output 'pos'; 'vel' is not looked at (`output` NAME)")
    caplog.clear()
    with caplog.at_level("WARNING", logger="lhc"):
        x = {"x": np.zeros((8, 4), np.float32)}
        (found,) = lhc.evaluate(two_outputs(), x, metric="nmse", output="vel", draws=3, all_analog=True)
    assert not any("not looked at" in text for text in caplog.messages)
    assert found.drop_interval == (0.0, 0.0), "nmse is no share: where nothing is seen, there is no least step"


def test_a_kept_result_is_not_that_of_an_edited_helper_of_the_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_metric_k.py").write_text("import own_helper_k\ndef score(o, r): return own_helper_k.scored(o)")
    found = []
    for points in (1, 22):
        Path("own_helper_k.py").write_text(f"def scored(o):\n    return 0.0 * o.sum(axis=1) + {points}\n")
        for module in ("own_metric_k", "own_helper_k"):
            monkeypatch.delitem(sys.modules, module, raising=False)
        (result,) = lhc.evaluate(
            two_outputs(),
            {"x": np.zeros((8, 4), np.float32)},
            metric="own_metric_k:score",
            higher_is_better=True,
            draws=2,
            all_analog=True,
            work_dir=tmp_path / "kept",
        )
        found.append(result.mean)
    assert found == [1.0, 22.0]


def two_outputs() -> onnx.ModelProto:
    text = """
        <ir_version: 10, opset_import: ["" : 20]>
        two (float[n, 4] x) => (float[n, 2] pos, float[n, 2] vel)
        <float[4, 2] a = {1, 2, 3, 4, 5, 6, 7, 8}, float[4, 2] b = {8, 7, 6, 5, 4, 3, 2, 1}>
        { pos = MatMul(x, a)  vel = MatMul(x, b) }
    """
    return onnx.parser.parse_model(text)


def test_a_direction_without_a_metric_is_refused(cli: Cli) -> None:
    result = cli("sensitivity", "digits-narrow", "--lower-is-better")
    assert result.exit_code == 2
    assert "--lower-is-better is of a function that --metric names as module:function" in result.stderr


@pytest.mark.analog
@pytest.mark.parametrize("strategy", ["sensitivity", "lionheart"])
def test_a_search_goes_round_layers_whose_errors_an_operator_does_not_stand(strategy: str) -> None:
    """A sum that noise makes negative is no number behind a square root."""
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 16] x) => (float[N, 10] y) {
        [first] a = MatMul (x, w0)  r = Relu (a)  [before] b = MatMul (r, w1)  s = Sqrt (b)  [last] y = MatMul (s, w2)
    }"""
    rng = np.random.default_rng(0)
    small = np.abs(rng.normal(size=(16, 16))) * 0.05
    small[0] *= 20
    weights = {"w0": rng.normal(size=(16, 16)) / 4, "w1": small, "w2": rng.normal(size=(16, 10)) / 4}
    model = parsed(text, {name: array.astype(np.float32) for name, array in weights.items()})
    x = rng.normal(size=(200, 16)).astype(np.float32)
    labels = create_session(model, "digital").run(None, {"x": x})[0].argmax(axis=1)
    found = lhc.partition(
        model, {"x": x, "labels": labels}, strategy=strategy, objective="macs", max_drop="30%", draws=3
    )
    assert 0 < len(found.plan.analog) < 3, "all together give NaN"
    assert found.plan.outcome is not None
    assert found.plan.outcome.within_budget
