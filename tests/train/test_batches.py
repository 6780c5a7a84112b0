"""Order of batches, augmentation and losses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from lhc.errors import DataError, UsageError
from lhc.options.training import TrainingOptions
from lhc.samples.metrics import get_metric
from lhc.samples.task import Array, Task
from lhc.train.batches import Batches, crop_flip, load_augment
from lhc.train.losses import cross_entropy, kl_divergence, load_loss, relative_squared_error


def task(samples: int) -> Task:
    x = np.arange(samples, dtype=np.float32)[:, None]
    return Task({"x": x, "scalar": np.array(3, np.float32)}, np.arange(samples), get_metric("accuracy"))


def test_every_epoch_sees_every_sample_once_in_an_order_of_its_own() -> None:
    batches = Batches(task(12), 4, seed=0)
    epochs = [np.concatenate([batches.batch(3 * e + i)[0]["x"][:, 0] for i in range(3)]) for e in range(3)]
    assert all(sorted(epoch.tolist()) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_a_batch_depends_on_its_number_and_the_seed_alone() -> None:
    first, second = Batches(task(13), 4, seed=0), Batches(task(13), 4, seed=0)
    for step in (0, 1, 7, 3):
        feeds, targets = first.batch(step)
        again, targets_again = second.batch(step)
        assert np.array_equal(feeds["x"], again["x"])
        assert targets is not None
        assert targets_again is not None
        assert np.array_equal(targets, targets_again)
        assert np.array_equal(feeds["x"][:, 0], targets), "targets go with their samples"
        assert feeds["scalar"] == 3
    assert not np.array_equal(Batches(task(13), 4, seed=1).batch(0)[0]["x"], first.batch(0)[0]["x"])


def test_fewer_samples_than_a_batch_are_refused() -> None:
    with pytest.raises(DataError, match="--batch-size"):
        Batches(task(3), 4, seed=0)


def test_images_are_moved_and_mirrored_and_nothing_else_changes() -> None:
    images = np.arange(1, 2 * 6 * 6 + 1, dtype=np.float32).reshape(1, 2, 6, 6)
    feeds: dict[str, Array] = {"x": images, "other": np.ones((1, 3))}
    seen = set()
    for seed in range(400):
        moved = crop_flip(feeds, np.random.default_rng(seed))
        assert moved["other"] is feeds["other"]
        seen.add(moved["x"].tobytes())
        assert moved["x"].shape == images.shape
        kept = moved["x"][moved["x"] != 0]
        assert set(kept.tolist()) <= set(images.ravel().tolist())
    padded = np.pad(images, ((0, 0), (0, 0), (4, 4), (4, 4)))
    windows = [padded[..., top : top + 6, left : left + 6] for top in range(9) for left in range(9)]
    allowed = {np.ascontiguousarray(w[..., ::step]).tobytes() for w in windows for step in (1, -1)}
    assert seen <= allowed
    assert len(seen) > 100


def test_images_with_channels_last_are_moved_as_those_with_channels_first() -> None:
    images = np.random.default_rng(0).normal(size=(5, 3, 9, 8)).astype(np.float32)
    first, last = ({"x": images}, {"x": np.moveaxis(images, 1, 3)})
    moved, moved_last = (crop_flip(feeds, np.random.default_rng(1))["x"] for feeds in (first, last))
    np.testing.assert_array_equal(np.moveaxis(moved_last, 3, 1), moved)
    assert (moved != images).any()


def test_a_users_augmentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "def double(feeds, rng): return {k: 2 * v for k, v in feeds.items()}",
        "def cut(feeds, rng): return {k: v[:1] for k, v in feeds.items()}",
        "def none(feeds, rng): pass",
        "def broken(feeds, rng): return feeds['no such input']",
    ]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_augment.py").write_text("\n".join(lines))
    feeds = {"x": np.ones((3, 1), np.float32)}
    rng = np.random.default_rng(0)
    double = load_augment("my_augment:double")
    assert double is not None
    assert np.array_equal(double(feeds, rng)["x"], 2 * feeds["x"])
    for name, why in (("cut", "must stay"), ("none", "same inputs")):
        augment = load_augment(f"my_augment:{name}")
        assert augment is not None
        with pytest.raises(UsageError, match=why):
            augment(feeds, rng)
    broken = load_augment("my_augment:broken")
    assert broken is not None
    with pytest.raises(DataError, match="--augment my_augment:broken fails: KeyError"):
        broken(feeds, rng)
    with pytest.raises(UsageError, match="--augment"):
        load_augment("mirror")
    assert load_augment("none") is None


def test_distillation_is_the_divergence_from_the_digital_network_or_its_normalised_error() -> None:
    torch.manual_seed(0)
    found, digital = torch.randn(6, 3, 4), torch.randn(6, 3, 4)
    p, q = functional.softmax(digital, -1), functional.softmax(found, -1)
    expected = (p * (p / q).log()).sum(-1).mean()
    torch.testing.assert_close(load_loss("distillation")(found, digital), expected)
    error = (found - digital).square().sum() / digital.square().sum()
    torch.testing.assert_close(load_loss("distillation", classes=False)(found, digital), error)
    torch.testing.assert_close(load_loss("distillation", 1, classes=False)(found, digital), error)
    shifted = digital + 1  # the same classes, other values
    assert float(kl_divergence(shifted, digital)) < 1e-6 < float(relative_squared_error(shifted, digital))


def test_a_class_that_both_networks_rule_out_adds_nothing_to_the_divergence() -> None:
    found, digital = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    without = kl_divergence(found, digital)
    ruled_out = torch.full((4, 1), -torch.inf)
    loss = kl_divergence(torch.cat([found, ruled_out], 1), torch.cat([digital, ruled_out], 1))
    torch.testing.assert_close(loss, without)
    own, wanted = (torch.autograd.grad(one, found)[0] for one in (loss, without))
    torch.testing.assert_close(own, wanted)


def test_a_batch_without_labels_that_count_has_a_loss_of_0() -> None:
    output = torch.randn(3, 4, requires_grad=True)
    loss = cross_entropy(output, torch.full((3,), -100))
    loss.backward()  # type: ignore[no-untyped-call]
    assert output.grad is not None
    assert (float(loss.detach()), int(output.grad.count_nonzero())) == (0.0, 0)


def test_a_divergence_in_pieces_is_torch_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.train.losses._VALUES", 11)  # two rows of five, the last of 21 alone
    torch.manual_seed(0)
    found, digital = torch.randn(3, 7, 5, requires_grad=True), torch.randn(3, 7, 5)
    own_rows, wanted_rows = (functional.log_softmax(x.reshape(-1, 5), -1) for x in (found, digital))
    expected = functional.kl_div(own_rows, wanted_rows, reduction="batchmean", log_target=True)
    loss = kl_divergence(found, digital)
    torch.testing.assert_close(loss, expected)
    own, wanted = (torch.autograd.grad(3 * one, found)[0] for one in (loss, expected))
    torch.testing.assert_close(own, wanted)
    assert float(wanted.abs().max()) > 0.05


def test_losses_that_need_other_targets_say_so() -> None:
    output = torch.randn(5, 3)
    classes = torch.tensor([0, 1, 2, 1, 0])
    torch.testing.assert_close(load_loss("cross-entropy")(output, classes), functional.cross_entropy(output, classes))
    torch.testing.assert_close(load_loss("mse")(output, output + 1), torch.tensor(1.0))
    with pytest.raises(DataError, match="one integer class"):
        load_loss("cross-entropy")(output, torch.randn(5, 3))
    with pytest.raises(DataError, match="output's shape"):
        load_loss("mse")(output, classes)
    with pytest.raises(DataError, match="labels are 0 to 3, the output has classes 0 to 2"):
        load_loss("cross-entropy")(output, torch.tensor([0, 1, 2, 3, -100]))


def test_a_loss_of_the_user_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_loss.py").write_text("def broken(output, targets): return output.no_such_thing\n")
    with pytest.raises(DataError, match="--loss my_loss:broken fails: AttributeError"):
        load_loss("my_loss:broken")(torch.randn(5, 3), torch.randn(5, 3))


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 10, "epochs": 1.0},
        {"steps": 0},
        {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"loss": "hinge"},
        {"optimizer": "lbfgs"},
        {"noise": "white"},
        {"ramp": 1.5},
        {"seed": -1},
        {"momentum": 1.0},
        {"patience": 0},
        {"adapters": 0},
        {"adapters": "0%"},
        {"adapters": "120%"},
        {"adapters": -2},
        {"adapters": "few"},
    ],
    ids=lambda options: ",".join(options),
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        TrainingOptions(**options)  # type: ignore[arg-type]


def test_epochs_are_counted_in_steps() -> None:
    assert TrainingOptions(epochs=2.5, batch_size=10).steps_for(1000) == 250
    assert TrainingOptions(epochs=0.001, batch_size=10).steps_for(1000) == 1
    assert TrainingOptions(steps=7).steps_for(1000) == 7
    assert TrainingOptions().steps_for(1000) == 1000
    assert TrainingOptions().steps_for(20_000) == 1250
    assert TrainingOptions().steps_for(50_000) == TrainingOptions().steps_for(1_000_000) == 3000


@pytest.mark.parametrize(
    ("options", "steps", "convolves", "rate"),
    [
        ({}, 1000, True, 0.01),
        ({}, 999, True, 0.003),
        ({}, 3000, False, 0.003),
        ({"adapters": 8}, 150, False, 0.01),
        ({"learning_rate": 0.02}, 3000, True, 0.02),
        ({"optimizer": "sgd"}, 3000, True, 0.001),
    ],
)
def test_a_rate_that_nobody_names(options: dict[str, object], steps: int, convolves: bool, rate: float) -> None:
    assert TrainingOptions(**options).rate_for(steps, convolves) == rate  # type: ignore[arg-type]
