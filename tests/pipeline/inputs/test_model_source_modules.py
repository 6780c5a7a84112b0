"""PyTorch modules instead of files: what is exported, and the whole way from looking at one to running it."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import lhc
from lhc import HybridSession, LhcError
from lhc.errors import ModelError, OutOfTimeError, UsageError
from lhc.models.export import export_module
from lhc.passes import Select
from lhc.pipeline.inputs.model_source import open_model
from lhc.pipeline.pipeline_state import StateT
from lhc.plan import Retrained
from lhc.samples.task import Task
from lhc.train.training_setup import TrainingSetup

pytest.importorskip("torch", reason="modules need PyTorch")

import torch  # behind the line that skips without it
from torch import Tensor
from torch.nn import Module

Array = npt.NDArray[np.float32]
Arrays = dict[str, npt.NDArray[Any]]


class Cnn(Module):
    """Two convolutions and a linear layer, with a batch-norm that behaves differently in training."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.body = torch.nn.Conv2d(4, 6, 3, stride=2)
        self.head = torch.nn.Linear(6, 3)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(image)))
        logits: Tensor = self.head(torch.relu(self.body(x)).mean((2, 3)))
        return logits


class Encoder(Module):
    """Two inputs, an attention whose products between activations have no constant, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(11, 8)
        layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = torch.nn.Linear(8, 3)

    def forward(self, ids: Tensor, weights: Tensor) -> Tensor:
        logits: Tensor = self.head((self.encoder(self.words(ids)) * weights[..., None]).sum(1))
        return logits


@pytest.fixture(scope="module")
def cnn() -> Cnn:
    torch.manual_seed(0)
    return Cnn()


@pytest.fixture(scope="module")
def images() -> dict[str, Array]:
    return {"image": np.random.default_rng(0).normal(size=(12, 1, 8, 8)).astype(np.float32)}


def _answers(module: Module, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Array:
    module.eval()
    with torch.no_grad():
        answers: Array = module(*(torch.from_numpy(array) for array in arrays.values())).numpy()
    return answers


def test_a_module_is_exported_in_evaluation_mode_with_any_batch_and_left_as_it_was(
    cnn: Cnn, images: dict[str, Array]
) -> None:
    cnn.train()

    model = open_model(cnn, images).model

    assert cnn.training
    assert cnn.norm.training
    (answers,) = HybridSession(model).run(None, images)
    np.testing.assert_allclose(answers, _answers(cnn, images), atol=1e-5)


def test_layers_are_named_by_the_modules_they_come_from(cnn: Cnn, images: dict[str, Array]) -> None:
    analysis = lhc.analyze(cnn, images)

    assert [layer.name for layer in analysis.plan.layers] == ["stem", "body", "head"]
    assert [layer.macs for layer in analysis.plan.layers] == [4 * 9 * 64, 6 * 36 * 9, 18]


@pytest.mark.slow
def test_samples_of_another_float_type_are_converted_and_labels_are_no_input(
    cnn: Cnn, images: dict[str, Array]
) -> None:
    data = {"anything": images["image"].astype(np.float64), "labels": np.arange(12) % 3}

    (evaluation,) = lhc.evaluate(cnn, data, draws=1)

    expected = (_answers(cnn, images).argmax(1) == data["labels"]).mean()
    assert evaluation.metric == "accuracy"
    assert evaluation.baseline == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.analog
def test_a_transformer_goes_the_whole_way() -> None:
    torch.manual_seed(1)
    module = Encoder()
    rng = np.random.default_rng(2)
    data: Arrays = {"ids": rng.integers(0, 11, (16, 5)), "weights": rng.random((16, 5)).astype(np.float32)}

    analysis = lhc.analyze(module, data)
    result = lhc.partition(module, data, metric="nmse", max_drop=10.0, draws=2, objective="macs")

    digital = {layer.name: layer.reason for layer in analysis.plan.layers if layer.reason != "eligible"}
    assert len(digital) == 2
    assert set(digital.values()) == {"no-static-weight"}
    assert len(analysis.plan.eligible) == 5
    assert result.plan.analog == set(analysis.plan.eligible)
    session = result.session()
    (answers,) = session.run(None, data)
    error = np.square(answers - _answers(module, data)).sum() / np.square(answers).sum()
    assert 0 < error < 1


@pytest.mark.analog
def test_layers_of_a_network_that_gives_one_number_are_ranked_by_its_error() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1), torch.nn.Flatten(0))
    rng = np.random.default_rng(0)
    data: Arrays = {"x": rng.normal(size=(8, 4)).astype(np.float32), "labels": rng.normal(size=8)}

    # In int8 this network loses more than on tiles.
    table = lhc.sensitivity(module, data, draws=2, method="measure", digital_precision="as-file")

    assert table.metric == "nmse"
    assert list(table.layers) == ["0", "2"]
    assert all(layer.mean > 0 for layer in table.layers.values())


def test_a_module_needs_samples(cnn: Cnn) -> None:
    with pytest.raises(UsageError, match=r"Cnn: a PyTorch module is exported on samples"):
        lhc.analyze(cnn)


def test_samples_that_are_not_the_inputs_are_refused_by_name() -> None:
    arrays: Arrays = {"ids": np.zeros((2, 5), np.int64), "masks": np.zeros((2, 5), np.float32)}

    with pytest.raises(UsageError, match=r"Encoder: its forward takes ids, weights; the data has ids, masks"):
        lhc.analyze(Encoder(), arrays)


class FixedBatch(Module):
    """Takes batches of two only."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, 3, 4).sum(0)


class Counting(Module):
    """Decides by a value, which no exporter can follow."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x


def test_a_module_that_cannot_be_exported_is_refused_with_torchs_reason() -> None:
    with pytest.raises(
        ModelError, match=r"Counting: torch cannot export it to ONNX with a dynamic batch: Could not guard"
    ):
        lhc.analyze(Counting(), {"x": np.zeros((2, 3), np.float32)})


def test_a_module_for_one_batch_size_is_refused() -> None:
    with pytest.raises(ModelError, match=r"FixedBatch: its forward takes batches of one size only \(input x\)"):
        lhc.analyze(FixedBatch(), {"x": np.zeros((2, 12), np.float32)})


def test_a_session_says_that_a_module_has_to_be_exported_first(cnn: Cnn) -> None:
    with pytest.raises(LhcError, match=r"the model is of type Cnn.*lhc\.partition"):
        HybridSession(cnn)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def labelled(images: dict[str, Array]) -> Arrays:
    """Sixty pictures with labels under a key of their own."""
    rng = np.random.default_rng(0)
    return {"image": rng.normal(size=(60, 1, 8, 8)).astype(np.float32), "kind": np.arange(60) % 3}


@pytest.fixture(scope="module")
def exported(cnn: Cnn, labelled: Arrays) -> onnx.ModelProto:
    return export_module(cnn, {"image": labelled["image"]})


@pytest.fixture
def exported_once(cnn: Cnn, exported: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export takes a second: what comes after it is tested with one."""

    def again(module: Module, arrays: Mapping[str, npt.NDArray[Any]]) -> onnx.ModelProto:
        assert module is cnn
        assert list(arrays) == ["image"]
        return deepcopy(exported)

    monkeypatch.setattr("lhc.pipeline.inputs.model_source.export_module", again)


@pytest.mark.slow
@pytest.mark.analog
@pytest.mark.usefixtures("exported_once")
def test_fronts_margins_and_causes_take_a_module(cnn: Cnn, labelled: Arrays) -> None:
    front = lhc.pareto(cnn, labelled, objective="macs", points=2, draws=2, label_key="kind", method="measure")
    found = lhc.robustness(
        cnn, labelled, all_analog=True, times=[0.0], chips=2, draws=2, max_drop=0.9, label_key="kind"
    )
    causes = lhc.attribute(cnn, labelled, draws=2, label_key="kind")

    assert len(front.verified) == 2
    assert found.chips.metric == "accuracy"
    assert list(causes.layers) == ["stem", "body", "head"]


@pytest.mark.slow
@pytest.mark.analog
@pytest.mark.usefixtures("exported_once")
def test_placing_with_retraining_takes_a_module_and_passes(
    cnn: Cnn, labelled: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a pass of the user's makes digital is not analog in training either."""
    asked: list[frozenset[str]] = []

    def train(
        _study: StateT, _course: TrainingSetup, analog: frozenset[str], _validation: Task
    ) -> tuple[StateT, Retrained]:
        asked.append(analog)
        raise OutOfTimeError("enough")

    monkeypatch.setattr("lhc.pipeline.training.retraining.train_once", train)
    result = lhc.partition(
        cnn,
        labelled,
        retrain=True,
        passes=[Select(exclude=("stem",))],
        objective="macs",
        max_drop=0.0,
        draws=2,
        label_key="kind",
    )

    assert asked == [frozenset({"body", "head"})]
    assert {layer.name: layer.reason for layer in result.plan.layers}["stem"] == "excluded"


@pytest.mark.slow
@pytest.mark.analog
@pytest.mark.usefixtures("exported_once")
@pytest.mark.parametrize("hardware", ["lionheart", "static-range"])
def test_a_module_is_compiled_and_looked_at_whatever_its_labels_are_called(
    cnn: Cnn, labelled: Arrays, hardware: str
) -> None:
    """With static ranges the samples are needed beyond the export."""
    compiled = lhc.compile(cnn, labelled, all_analog=True, hardware=hardware, label_key="kind", noise="off")
    analysis = lhc.analyze(cnn, labelled, label_key="kind")

    (answers,) = compiled.run(None, {"image": labelled["image"][:3]})
    assert answers.shape == (3, 3)
    assert len(analysis.plan.eligible) == 3
