"""What can be known at the start is refused at the start, before a search of hours."""

from typing import Any

import numpy as np
import onnx
import pytest

import lhc
from lhc.errors import DataError, LhcError, UsageError
from tests.networks import drawn, parsed

pytestmark = pytest.mark.analog

NET = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 6] x) => (OUTPUT y) <int64[1] last = {1}> {
  [fc1] h = MatMul(x, w)
  [act] r = Relu(h)
  [fc2] z = MatMul(r, v)
  LAST
}"""
X = np.random.default_rng(1).normal(size=(60, 6)).astype(np.float32)


def network(last: str = "y = Identity(z)", output: str = "float[N, 3]") -> onnx.ModelProto:
    return parsed(NET.replace("OUTPUT", output).replace("LAST", last), drawn({"w": (6, 8), "v": (8, 3)}))


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (network("y = ReduceSum<keepdims = 0>(z, last)", "float[N]"), {"metric": "kl"}, "at least two classes"),
        (network("y = Hardmax(z)"), {"retrain": True, "metric": "nmse"}, "Hardmax .* cannot be differentiated"),
        (network(), {"retrain": True, "loss": "cross-entropy", "metric": "nmse"}, "`loss` cross-entropy needs labels"),
        (network("d = ArgMax<axis = 1>(z)  y = Cast<to = 1>(d)"), {"retrain": True, "metric": "nmse"}, "no gradient"),
    ],
    ids=["kl of one axis", "no gradient", "no targets", "a step at the end"],
)
def test_nothing_is_measured_before_it_is_refused(model: onnx.ModelProto, options: dict[str, Any], words: str) -> None:
    done: list[str] = []

    def note(what: str, finished: int, total: int) -> None:
        done.append(what)

    more: dict[str, Any] = {"batch_size": 8} if options.get("retrain") else {}
    with pytest.raises(LhcError, match=words):
        lhc.partition(model, {"x": X}, draws=2, max_drop=0.1, progress=note, objective="macs", **options, **more)
    assert not [what for what in done if "sensitivity" in what or "judging" in what]


def test_what_cannot_be_trained_is_refused_before_it_is_judged() -> None:
    done: list[str] = []

    def note(what: str, finished: int, total: int) -> None:
        done.append(what)

    with pytest.raises(LhcError, match=r"Hardmax .* cannot be differentiated"):
        lhc.retrain(
            network("y = Hardmax(z)"),
            {"x": np.tile(X, (5, 1))},
            all_analog=True,
            metric="nmse",
            batch_size=8,
            progress=note,
        )
    assert not [what for what in done if "judging" in what]


def test_retraining_says_how_many_samples_it_takes() -> None:
    """Of 100 samples 20 judge: nobody gave these 20."""
    with pytest.raises(
        DataError,
        match=r"^20 samples cannot watch a training \(a third\) and judge it \(the others\);"
        r" give at least 30 as `data` beside `train_data`, or 150 as `data` alone, a fifth of which watches and"
        r" judges$",
    ):
        lhc.retrain("digits-narrow", samples=100, all_analog=True)
    with pytest.raises(DataError, match=r"^40 samples are too few to split .* give at least 50$"):
        lhc.retrain("digits-narrow", samples=40, all_analog=True)


def test_a_test_takes_at_least_the_chips_that_are_asked_for() -> None:
    with pytest.raises(UsageError, match="`max_draws` 4: a test takes at least `draws` 8 chips"):
        lhc.partition(network(), {"x": X}, draws=8, max_draws=4)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (
            np.append(np.zeros(59, int), 3),
            "labels are 0 to 3, the output has classes 0 to 2; number the classes from 0, or",
        ),
        (np.zeros((60, 2), int), r"the output gives a sample one class, the data labels of shape \(2,\)"),
    ],
)
def test_labels_that_are_no_classes_are_refused_by_the_first_look_at_the_data(labels: np.ndarray, words: str) -> None:
    done: list[str] = []
    with pytest.raises(DataError, match=words):
        lhc.partition(network(), {"x": X, "labels": labels}, draws=2, progress=lambda what, *_: done.append(what))
    assert not done, "not even the tiles were checked"
