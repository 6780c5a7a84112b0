import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest

from lhc.errors import ModelError, UsageError
from lhc.models import cifar10, zoo_entry
from lhc.models.resnet20 import ResNet20, build
from lhc.models.weights import read_weights
from tests.runtime.models_on_tiles import linear

torch = pytest.importorskip("torch", reason="ResNet20 is a PyTorch definition")

Arrays = dict[str, npt.NDArray[np.float32]]
needs_data = pytest.mark.skipif("LHC_DATA" not in os.environ, reason="LHC_DATA names no folder of data sets")


def _arrays() -> Arrays:
    """Made-up weights of the right names and shapes."""
    from lhc.models.residual_networks import ResidualNet

    torch.manual_seed(0)
    network = ResidualNet(channels=3, widths=(16, 32, 64), blocks=3, classes=10)
    state = network.state_dict()
    return {name: value.numpy() for name, value in state.items() if not name.endswith("num_batches_tracked")}


def _save_npz(arrays: Arrays, path: Path) -> Path:
    np.savez(path.with_suffix(".npz"), allow_pickle=False, **arrays)
    return path.with_suffix(".npz")


def _save_state_dict(arrays: Arrays, path: Path) -> Path:
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    return path


def _save_checkpoint(arrays: Arrays, path: Path) -> Path:
    tensors = {f"module.{name}": torch.from_numpy(array) for name, array in arrays.items()}
    tensors["module.bn1.num_batches_tracked"] = torch.tensor(7)
    torch.save({"state_dict": tensors, "best_prec1": 91.73}, path)
    return path


def test_it_is_exported_once_for_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again where the weights change, or where the kept file is damaged; a folder that takes nothing does no harm."""
    monkeypatch.setenv("LHC_CACHE", str(tmp_path / "cache"))
    entry, arrays = zoo_entry("resnet20"), _arrays()
    made: list[bytes] = []

    def counted(self: ResNet20, path: Path) -> onnx.ModelProto:
        found = linear(read_weights(path)["linear.bias"][None])  # for an export, which takes seconds
        made.append(found.SerializeToString())
        return found

    monkeypatch.setattr(ResNet20, "exported", counted)
    path = _save_npz(arrays, tmp_path / "weights")
    assert [entry.model(path).SerializeToString() for _ in range(2)] == made * 2
    (kept,) = (tmp_path / "cache" / "models").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert entry.model(path).SerializeToString() == made[0]
    _save_npz({**arrays, "linear.bias": arrays["linear.bias"] + 1}, tmp_path / "weights")
    assert entry.model(path).SerializeToString() != made[0]
    assert len(made) == 3
    (tmp_path / "file").touch()
    monkeypatch.setenv("LHC_CACHE", str(tmp_path / "file"))
    assert entry.model(path).SerializeToString() == made[2]


@pytest.mark.parametrize("save", [_save_npz, _save_state_dict, _save_checkpoint])
def test_weights_of_every_form_give_the_same_network(tmp_path: Path, save: Callable[[Arrays, Path], Path]) -> None:
    arrays = _arrays()
    path = save(arrays, tmp_path / "weights.th")

    network = build(read_weights(path), str(path))

    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(x), build(arrays, "made up")(x))


def test_folding_the_batch_norms_changes_nothing_but_rounding() -> None:
    from lhc.models.residual_networks import ResidualBlock, ResidualNet, fold_batch_norms

    torch.manual_seed(1)
    network = ResidualNet(channels=3, widths=(4, 8), blocks=2, classes=5)
    x = torch.randn(8, 3, 12, 12)
    network.train()(x)
    network.eval()

    folded = fold_batch_norms(network)

    with torch.no_grad():
        torch.testing.assert_close(folded(x), network(x), atol=1e-5, rtol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, ResidualBlock) for module in folded.modules())


def _without_linear(arrays: Arrays) -> None:
    del arrays["linear.weight"]


def _with_more(arrays: Arrays) -> None:
    arrays["extra.weight"] = np.zeros(1, np.float32)


def _wrong_shape(arrays: Arrays) -> None:
    arrays["layer2.0.conv1.weight"] = np.zeros((32, 16, 1, 1), np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_linear, r"linear\.weight is missing"),
        (_with_more, r"extra\.weight is not part of ResNet20"),
        (_wrong_shape, r"layer2\.0\.conv1\.weight has shape \(32, 16, 1, 1\) instead of \(32, 16, 3, 3\)"),
        (dict.clear, r"conv1\.weight is missing.*and \d+ more"),
    ],
    ids=["missing", "left over", "shape", "all missing"],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, change: Callable[[Arrays], None], message: str) -> None:
    arrays = _arrays()
    change(arrays)

    with pytest.raises(ModelError, match=message):
        zoo_entry("resnet20").model(_save_npz(arrays, tmp_path / "weights"))


@pytest.mark.parametrize("name", ["weights.npz", "weights.th"])
@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04 cut off"], ids=["empty", "text", "cut off"])
def test_files_that_hold_no_weights_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(ModelError, match=name):
        read_weights(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.npz: no such file"):
        read_weights(tmp_path / "gone.npz")


class _Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.target,)


def test_a_state_dict_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path, harm = tmp_path / "weights.th", tmp_path / "harm"
    torch.save({"conv1.weight": _Malicious(harm)}, path)

    with pytest.raises(ModelError, match="weights alone"):
        read_weights(path)

    assert not harm.exists()


def test_without_weights_and_variable_the_message_names_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LHC_DATA", raising=False)

    with pytest.raises(UsageError, match=r"--weights.*LHC_DATA"):
        zoo_entry("resnet20").model()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path = _save_npz(_arrays(), tmp_path_factory.mktemp("weights") / "made_up")
    return zoo_entry("resnet20").model(path)


def _candidates(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type in {"Conv", "Gemm", "MatMul"}]


def test_the_model_has_20_candidates_named_after_their_modules(model: onnx.ModelProto) -> None:
    blocks = [(stage, block, conv) for stage in (1, 2, 3) for block in range(3) for conv in (1, 2)]

    assert [node.name for node in _candidates(model)] == [
        "conv1", *(f"layer{stage}.{block}.conv{conv}" for stage, block, conv in blocks), "linear",
    ]  # fmt: skip


def test_the_model_has_40551040_multiply_accumulates(model: onnx.ModelProto) -> None:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = {value.name: value.type.tensor_type.shape.dim for value in (*inferred.value_info, *inferred.output)}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    macs = 0
    for node in _candidates(model):
        positions = [dim.dim_value for dim in values[node.output[0]]][2:]
        macs += int(np.prod(weights[node.input[1]].dims) * np.prod(positions, dtype=int))

    assert macs == 40_551_040


def test_the_model_has_named_axes_and_no_notes(model: onnx.ModelProto) -> None:
    (image,), (logits,) = model.graph.input, model.graph.output

    assert (image.name, logits.name) == ("x", "logits")
    assert [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim] == ["batch", 3, 32, 32]
    assert model.opset_import[0].version <= 21
    assert not any(part.metadata_props or part.doc_string for part in (model, model.graph, *model.graph.node))


def _logits(model: onnx.ModelProto, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    blocks = [session.run(["logits"], {"x": x[start : start + 250]})[0] for start in range(0, len(x), 250)]
    return np.concatenate(blocks)


@needs_data
def test_onnxruntime_gives_what_torch_gives() -> None:
    weights = Path(os.environ["LHC_DATA"]) / ResNet20.weights
    images = cifar10.load("test")[0][:50]

    with torch.no_grad():
        expected = build(read_weights(weights), str(weights))(torch.from_numpy(images)).numpy()

    np.testing.assert_allclose(_logits(zoo_entry("resnet20").model(), images), expected, atol=2e-5, rtol=1e-5)


@needs_data
@pytest.mark.slow
def test_accuracy_on_the_10000_test_images_is_the_published_one() -> None:
    entry = zoo_entry("resnet20")
    task = entry.task()
    assert task.targets is not None

    logits = _logits(entry.model(), np.asarray(task.inputs["x"], np.float32))

    assert len(task) == 10_000
    assert np.mean(task.metric.score(logits, task.targets)) == pytest.approx(0.9173, abs=1e-9)
