"""ResNet20 trained for a moment: the recipe, the checkpoint, the file that is written."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from lhc.models import cifar10, train_resnet20
from lhc.models.train_resnet20 import ResNet20Recipe, main, train
from lhc.onnx_io import load_model, read_graph

pytest.importorskip("torch", reason="training needs PyTorch")
import torch


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few images of two classes, bright above or below."""
    folder = tmp_path_factory.mktemp("cifar")
    rng = np.random.default_rng(0)
    for split, count in (("train", 96), ("test", 40)):
        labels = rng.integers(2, size=count)
        images = rng.integers(0, 60, (count, 32, 32, 3), dtype=np.uint8)
        images[labels == 0, :16] += 150
        images[labels == 1, 16:] += 150
        np.savez(folder / f"{split}.npz", x=images, labels=labels)
    return folder


@pytest.mark.slow
def test_a_training_that_was_cut_off_goes_on_to_the_same_weights(
    cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = ResNet20Recipe(epochs=2)
    whole = train(cifar, recipe, tmp_path / "whole.pt").state_dict()
    ordinary, calls = train_resnet20._moved, 0

    def interrupted(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 2:  # one batch an epoch
            raise KeyboardInterrupt
        return ordinary(images, rng)

    monkeypatch.setattr(train_resnet20, "_moved", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(cifar, recipe, tmp_path / "parts.pt")
    monkeypatch.setattr(train_resnet20, "_moved", ordinary)
    parts = train(cifar, recipe, tmp_path / "parts.pt").state_dict()

    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.slow
def test_the_file_is_resnet20_as_the_zoo_has_it(cifar: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.onnx"
    assert main(["--cifar", str(cifar), "--epochs", "1", "--limit", "64", "-o", str(out), "--device", "cpu"]) == 0

    graph = read_graph(load_model(out))
    assert sum(layer.matrix.macs for layer in graph.candidates if layer.matrix) == 40_551_040
    images, _ = cifar10.load("test", cifar)
    (logits,) = onnxruntime.InferenceSession(out).run(None, {"x": images})
    assert logits.shape == (40, 10)


def test_a_file_that_is_there_is_not_replaced(cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "resnet20.onnx"
    mine.write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        main(["--cifar", str(cifar), "--epochs", "1", "--limit", "64", "-o", str(mine)])
    assert mine.read_text() == "mine"
    assert "exists; --force replaces it" in capsys.readouterr().err


def test_images_are_moved_and_flipped_whole() -> None:
    image = torch.arange(3 * 32 * 32, dtype=torch.float32).reshape(1, 3, 32, 32) + 1
    rng = np.random.default_rng(0)
    padded = torch.nn.functional.pad(image[0], (4, 4, 4, 4))
    every = {
        crop.numpy().tobytes()
        for down in range(9)
        for right in range(9)
        for crop in (padded[:, down : down + 32, right : right + 32],)
        for crop in (crop.contiguous(), crop.flip(2).contiguous())
    }

    found = {train_resnet20._moved(image, rng)[0].contiguous().numpy().tobytes() for _ in range(40)}

    assert found <= every
    assert len(found) > 20


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--cifar", "NOWHERE"], 3, "no CIFAR-10 train images in NOWHERE"),
        (["--cifar", "CIFAR", "--epochs", "3"], 2, "of another recipe"),
    ],
    ids=["no-images", "another-recipe"],
)
def test_what_is_wrong_is_said(
    words: list[str], code: int, told: str, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "net.onnx"
    torch.save({"recipe": {"epochs": 1, "limit": None, "seed": 0}}, out.with_suffix(".checkpoint.pt"))

    assert main([word.replace("CIFAR", str(cifar)) for word in words] + ["-o", str(out)]) == code

    assert told in capsys.readouterr().err
    assert not out.exists()


def test_a_file_that_is_no_checkpoint_is_left_alone(
    cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "net.checkpoint.pt"
    other.write_text("mine")

    assert main(["--cifar", str(cifar), "--epochs", "1", "-o", str(tmp_path / "net.onnx")]) == 2

    assert "not a checkpoint of this script" in capsys.readouterr().err
    assert other.read_text() == "mine"


def test_the_learning_rate_falls_twice() -> None:
    rates = [ResNet20Recipe().rate(epoch) for epoch in (0, 99, 100, 149, 150, 199)]

    assert rates == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]


@pytest.mark.slow
def test_it_learns_cifar(lhc_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--cifar", str(lhc_data / "cifar10"), "--epochs", "2", "--limit", "2000", "-o", str(tmp_path / "n.onnx")]

    assert main(words) == 0

    share = float(capsys.readouterr().out.split(": ")[1].split("%")[0])
    assert share > 15  # of ten classes, after 30 steps
