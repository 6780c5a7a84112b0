"""The examples run as they are typed: as scripts, from another folder, without a warning."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_examples_are_numbered_without_gaps() -> None:
    assert [int(path.name[:2]) for path in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))


NEED_DATA = [path for path in EXAMPLES if path.stem[:2] in ("05", "06")]
OF_CLUSTERS = [path for path in EXAMPLES if path.stem[:2] == "08"]
"""Tested by tests/commands/test_sweep_on_cluster.py."""
LONG = ("02", "03", "04", "07")
"""Numbers of examples whose steps other tests do too."""


def run(example: Path, folder: Path, *words: str | Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, example, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.analog
@pytest.mark.parametrize(
    "example",
    [
        pytest.param(example, marks=[pytest.mark.slow] if example.stem[:2] in LONG else [], id=example.stem)
        for example in EXAMPLES
        if example not in (*NEED_DATA, *OF_CLUSTERS)
    ],
)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    done = run(example, tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "told"),
    [("05", "no CIFAR-10 test images in"), ("06", "no development set of SQuAD v1.1 in")],
    ids=["resnet20", "mobilebert"],
)
def test_an_example_says_what_data_it_lacks(number: str, told: str, tmp_path: Path) -> None:
    (example,) = [path for path in EXAMPLES if path.stem[:2] == number]

    done = run(example, tmp_path, "--data", tmp_path)

    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", ["05", "06"], ids=["resnet20", "mobilebert"])
def test_an_example_says_what_weights_it_lacks(number: str, lhc_data: Path, tmp_path: Path) -> None:
    (example,) = [path for path in EXAMPLES if path.stem[:2] == number]
    for name in ("cifar10", "text"):
        (tmp_path / name).symlink_to(lhc_data / name)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bert_uncased_vocab.txt").symlink_to(lhc_data / "models" / "bert_uncased_vocab.txt")

    done = run(example, tmp_path, "--data", tmp_path)

    assert done.returncode == 1
    assert "no weights of ResNet20" in done.stderr or "no checkpoint of MobileBERT" in done.stderr


@pytest.mark.analog
@pytest.mark.slow
@pytest.mark.parametrize("words", [["--no-training"], ["--steps", "1", "--rounds", "1"]], ids=["search", "walk"])
def test_resnet20_is_placed_and_confirmed(words: list[str], lhc_data: Path, tmp_path: Path) -> None:
    (example,) = [path for path in NEED_DATA if path.stem[:2] == "05"]

    done = run(example, tmp_path, "--data", lhc_data, "--samples", "200", "--draws", "2", "--chips", "2", *words)

    assert done.returncode == 0, done.stderr
    assert "% of MACs" in done.stdout
    assert "on 2 fresh chips" in done.stdout


@pytest.mark.analog
@pytest.mark.slow
def test_mobilebert_is_placed_and_confirmed(lhc_data: Path, tmp_path: Path) -> None:
    """The real tokenizer and questions, and the real architecture with two narrow layers of random weights."""
    transformers = pytest.importorskip("transformers", reason="MobileBERT comes from transformers")
    (example,) = [path for path in NEED_DATA if path.stem[:2] == "06"]
    sizes = transformers.MobileBertConfig(
        num_hidden_layers=2, hidden_size=16, embedding_size=8, intermediate_size=12, num_attention_heads=2,
        true_hidden_size=8, intra_bottleneck_size=8, num_feedforward_networks=2,
    )  # fmt: skip
    transformers.MobileBertForQuestionAnswering(sizes).save_pretrained(tmp_path / "small")

    done = run(
        example, tmp_path, "--data", lhc_data, "--weights", tmp_path / "small",
        "--samples", "16", "--draws", "2", "--chips", "2",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "on 2 fresh chips" in done.stdout
