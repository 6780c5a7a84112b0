from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import lhc
from lhc.errors import UsageError
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.models import zoo_entry
from lhc.onnx_io import load_model
from lhc.report.tables.measured_tables import evaluation_footer
from lhc.samples.task import Task
from tests.conftest import Cli

pytestmark = pytest.mark.analog

CALIBRATED = lhc.Hardware.load("lionheart").model_copy(
    update={"compensation": Compensation(outputs="affine", samples=16, reads=2)}
)
PLAIN = CALIBRATED.model_copy(update={"compensation": Compensation(outputs="none")})
LAYERS = ["layer2.0.conv1", "layer1.0.conv2"]
ASKED: dict[str, Any] = {"placement": LAYERS, "hardware": CALIBRATED, "draws": 2, "metric": "nmse"}


def test_every_layer_is_analog_by_the_flag_or_by_the_word() -> None:
    (flag,) = lhc.evaluate("digits-narrow", samples=20, draws=2, all_analog=True, metric="nmse")
    (word,) = lhc.evaluate("digits-narrow", samples=20, draws=2, placement="all-analog", metric="nmse")
    assert flag == word
    assert flag.drops != (0.0, 0.0)


def _head(task: Task, start: int, stop: int) -> dict[str, np.ndarray]:
    return dict(task.read(start, stop)[0])


def test_samples_to_calibrate_on_are_given_or_set_aside(digits: Task) -> None:
    """Given ones leave all others to be judged; chips differ by what they are calibrated on."""
    judged, others = _head(digits, 0, 60), _head(digits, 100, 116)
    (aside,) = lhc.evaluate("digits-narrow", judged, **ASKED)
    (given,) = lhc.evaluate("digits-narrow", judged, calibrate=others, **ASKED)
    assert (aside.samples, aside.calibrated) == (45, 15)
    assert (given.samples, given.calibrated) == (60, 16)
    assert evaluation_footer([given]).endswith("60 samples and 16 others that every chip was calibrated on, seed 0")
    outputs = [lhc.analog_outputs("digits-narrow", judged, calibrate=c, **ASKED) for c in (None, others)]
    assert [len(array) for found in outputs for array in found.values()] == [2, 2]
    (name,) = outputs[0]
    assert outputs[0][name].shape[1] == 60, "outputs are not judged: none is left out"
    assert not np.array_equal(outputs[0][name], outputs[1][name])


def test_samples_that_judge_do_not_calibrate(digits: Task) -> None:
    judged = _head(digits, 0, 60)
    with pytest.raises(UsageError, match="would look better than they are"):
        lhc.evaluate("digits-narrow", judged, calibrate=_head(digits, 20, 40), **ASKED)
    with pytest.raises(UsageError, match="corrects no outputs"):
        lhc.evaluate("digits-narrow", judged, calibrate=judged, **(ASKED | {"hardware": PLAIN}))


def test_the_command_takes_samples_to_calibrate_on(cli: Cli, digits: Task, tmp_path: Path) -> None:
    np.savez(tmp_path / "calibrate.npz", x=_head(digits, 100, 116)["x"])
    (tmp_path / "machine.yaml").write_text(CALIBRATED.to_yaml())
    asked = ("--calibrate", tmp_path / "calibrate.npz", "--hardware", tmp_path / "machine.yaml", "--draws", 2)
    found = cli("run", "digits-narrow", "--all-analog", "--samples", 20, *asked)
    assert found.exit_code == 0, found.stderr
    assert "20 samples and 16 others that every chip was calibrated on" in found.stdout


def test_drops_are_against_the_network_that_is_given(digits: Task) -> None:
    """Weights that were changed answer worse without any tile: a chip of them loses that too."""
    given = load_model(zoo_entry("digits-narrow").network()).proto
    changed = onnx.ModelProto()
    changed.CopyFrom(given)
    for tensor in changed.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.ndim > 1 and array.dtype == np.float32:
            noisy = array + 0.5 * array.std() * np.random.default_rng(0).standard_normal(array.shape)
            tensor.CopyFrom(onnx.numpy_helper.from_array(noisy.astype(np.float32), tensor.name))
    samples, labels = digits.read(0, 200)
    assert labels is not None
    right = []
    for proto in (given, changed):
        session = ort.InferenceSession(proto.SerializeToString())
        right.append(np.mean(session.run(None, dict(samples))[0].argmax(-1) == labels))
    assert right[1] < right[0]

    data = dict(samples) | {"labels": labels}
    asked: dict[str, Any] = {"placement": LAYERS, "hardware": PLAIN, "draws": 2}
    (own,), (against,) = lhc.evaluate(changed, data, **asked), lhc.evaluate(changed, data, against=given, **asked)
    assert (own.baseline, against.baseline) == pytest.approx((right[1], right[0]))
    assert own.values == against.values
    assert against.drops == pytest.approx([drop + right[0] - right[1] for drop in own.drops])
    assert own.against is None
    assert against.against == load_model(given).source
    (itself,) = lhc.evaluate(changed, data, against=changed, **asked)
    assert itself == own, "the file's own network is no other"

    wider = onnx.ModelProto()
    wider.CopyFrom(given)
    wider.graph.input[0].name = "other"
    for node in wider.graph.node:
        node.input[:] = ["other" if name == "x" else name for name in node.input]
    with pytest.raises(UsageError, match=r"it takes other, and .* x"):
        lhc.evaluate(changed, data, against=wider, **asked)
    flat = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 8] x) => (float[N, 10] y) { y = MatMul (x, w) }'
    )
    flat.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((8, 10), np.float32), "w"))
    with pytest.raises(UsageError, match="does not take these samples; it takes x: N, 8"):
        lhc.evaluate(changed, data, against=flat, **asked)


@pytest.mark.slow
def test_samples_that_are_skipped_are_read_once(digits: Task) -> None:
    calls: list[int] = []

    def blocks() -> object:
        calls.append(1)
        inputs, labels = digits.read(0, 60)
        return iter([dict(inputs) | {"labels": np.asarray(labels)}])

    placed = lhc.partition("digits-narrow", strategy="all-analog", samples=40, draws=2, explain=False).model
    (found,) = lhc.evaluate(placed, blocks, skip=40, draws=2)
    assert calls == [1]
    assert found.samples + found.calibrated == 20
    assert found.skipped == digits.head(40).digest


OWN = """
def right(output, targets):
    return (output.argmax(-1) == targets).astype(float)
"""


@pytest.mark.slow
@pytest.mark.parametrize("names_it", [False, True])
def test_outputs_of_a_network_that_an_own_metric_judged(
    cli: Cli, digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names_it: bool
) -> None:
    """They are written; a table there is where the function is named, since a file names none that is imported."""
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN, encoding="utf-8")
    some = digits.head(60)
    assert some.targets is not None
    np.savez("data.npz", x=np.asarray(some.inputs["x"][:]), labels=some.targets)
    metric, data = ["--metric", "own:right", "--higher-is-better"], ["--data", "data.npz"]
    asked = ["--strategy", "all-analog", "--draws", "2", "--max-drop", "0.5", "--no-explain"]
    assert cli("partition", "digits-narrow", *data, *asked, *metric).exit_code == 0
    run = cli("run", "digits-narrow.lhc.onnx", *data, "--outputs", "o.npz", *(metric if names_it else []))
    assert run.exit_code == 0
    assert Path("o.npz").is_file()
    assert "written: o.npz: all 60 samples, on chip 0" in run.stderr
    assert ("the placement was judged by a function, which --metric own:right names" in run.stderr) != names_it
    assert ("own:right" in run.stdout) == names_it


def test_a_plan_of_another_network_is_told(caplog: pytest.LogCaptureFixture) -> None:
    plan = lhc.partition("digits-narrow", samples=100, strategy="all-analog", max_drop="100%", draws=2).plan
    told = "the placement was made for other weights or another graph"
    caplog.clear()

    lhc.evaluate("digits-narrow", samples=20, draws=2, placement=plan)
    assert told not in caplog.text
    lhc.evaluate("digits-narrow", samples=20, draws=2, placement=plan.model_copy(update={"source": "0" * 64}))
    assert told in caplog.text
