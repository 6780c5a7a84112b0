from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from lhc.models import zoo_entry
from lhc.models.train_digits import RECIPES, TRAINING_SAMPLES, digits_split, train, write

pytest.importorskip("sklearn", reason="scikit-learn holds the training samples")
torch = pytest.importorskip("torch", reason="training needs PyTorch")


def test_the_shipped_samples_are_those_held_out_and_none_was_trained_on() -> None:
    (training, _), (held_out, held_out_labels) = digits_split()
    task = zoo_entry("digits").task()
    assert task.targets is not None

    np.testing.assert_array_equal(task.inputs["x"], held_out)
    np.testing.assert_array_equal(task.targets, held_out_labels)
    assert len(training) == TRAINING_SAMPLES
    assert {x.tobytes() for x in training}.isdisjoint(x.tobytes() for x in held_out)


def test_the_split_depends_on_its_seed_alone() -> None:
    first, again, other = digits_split(3), digits_split(3), digits_split(4)

    np.testing.assert_array_equal(first[0][1], again[0][1])
    assert not np.array_equal(first[0][1], other[0][1])


@pytest.mark.slow
def test_training_is_repeatable_and_learns() -> None:
    (images, labels), _ = digits_split()

    one, two = (train(images, labels, replace(RECIPES["digits-narrow"], epochs=8), seed=5) for _ in range(2))

    with torch.no_grad():
        logits = one(torch.from_numpy(images)).numpy()
        np.testing.assert_array_equal(logits, two(torch.from_numpy(images)).numpy())
    assert (logits.argmax(1) == labels).mean() > 0.5


@pytest.mark.slow
def test_the_script_writes_the_files_that_the_entry_reads(tmp_path: Path) -> None:
    write(tmp_path, {name: replace(recipe, epochs=1) for name, recipe in RECIPES.items()})

    for name in ("digits", "digits-narrow"):
        fresh, shipped = onnx.load(tmp_path / f"{name}.onnx"), zoo_entry(name).model()
        assert [(n.op_type, n.name) for n in fresh.graph.node] == [(n.op_type, n.name) for n in shipped.graph.node]
        assert [(t.name, t.dims) for t in fresh.graph.initializer] == [
            (t.name, t.dims) for t in shipped.graph.initializer
        ]
        with np.load(tmp_path / "digits.npz") as arrays:
            np.testing.assert_array_equal(arrays["x"], zoo_entry(name).task().inputs["x"])
