"""A sweep file: every combination of values is a run, and a mistake is told with its place before any run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lhc.errors import ConfigError, UsageError
from lhc.pipeline.inputs.sweep_file import read_sweep


def settings(source: Path | Mapping[str, object]) -> list[dict[str, Any]]:
    return [dict(run.settings) for run in read_sweep(source)]


def test_every_combination_is_a_run_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text('model = ["a.onnx", "b.onnx"]\nmax-drop = ["1%", 0.02]\nretrain = true\nseed = [0, 1]\n')

    found = settings(path)

    assert [(one["model"], one["max-drop"], one["seed"]) for one in found] == [
        (model, drop, seed) for model in ("a.onnx", "b.onnx") for drop in ("1%", "0.02") for seed in ("0", "1")
    ]
    assert all(one["retrain"] is True for one in found)
    options = read_sweep(path)[3].options(work_dir=tmp_path)
    assert (options.model, options.max_drop, options.seed, options.retrain) == ("a.onnx", "0.02", 1, True)
    assert options.work_dir == tmp_path


def test_tables_are_combined_each_for_itself_and_the_same_run_twice_is_one() -> None:
    found = settings(
        {
            "hardware": ["lionheart", "hermes"],
            "runs": [
                {"model": "digits"},
                {"model": "resnet20", "samples": 5000, "hardware": "ideal"},
                {"model": "digits"},
            ],
        }
    )

    assert found == [
        {"hardware": "lionheart", "model": "digits"},
        {"hardware": "hermes", "model": "digits"},
        {"hardware": "ideal", "model": "resnet20", "samples": "5000"},
    ]


@pytest.mark.parametrize(
    ("value", "runs"),
    [("head", None), (["head"], [["head"]]), ([["head"], ["head", "stem"]], [["head"], ["head", "stem"]])],
    ids=["one-text", "one-list", "several-lists"],
)
def test_an_option_that_repeats_takes_lists_of_lists(value: object, runs: list[list[str]] | None) -> None:
    given = {"model": "digits", "exclude": value}
    if runs is None:
        with pytest.raises(ConfigError, match="sweep: exclude: write a list, got 'head'"):
            read_sweep(given)
        return
    assert [one["exclude"] for one in settings(given)] == runs


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("max-drop = 0.1", r"name the network: model = "),
        ('model = "digits"\nmax-dorp = 1', r"no option 'max-dorp'; nearest: max-drop"),
        ('model = "digits"\njobs = 2', r"jobs: is said once for all runs, on the command line: lhc sweep --jobs"),
        ('model = "digits"\nseed = []', r"seed: an empty list makes no run"),
        ('model = "digits"\nseed = [0, [1]]', r"seed: write "),
        ('model = "digits"\nretrain = ["yes"]', r"retrain: write true or false, got 'yes'"),
        ('model = "digits"\nseed = -1', r"--seed must be at least 0"),
        ('model = "digits"\nrounds = 3', r"--rounds: options of training need --retrain"),
        ('runs = "digits"', r"runs: write tables \[\[runs\]\]"),
        ('[[runs]]\nmodel = "digits"\n[[runs]]\nseed = 1', r"\[\[runs\]\] 2: name the network"),
        ("model = ", r"cannot be read as TOML"),
        ("\n".join(f"{key} = {list(range(1, 1002))}" for key in ("seed", "draws")) + '\nmodel = "m"', "1,002,001 runs"),
    ],
    ids=["no-model", "unknown", "of-the-sweep", "empty", "mixed", "kind", "value", "together", "runs", "table", "toml",
         "many"],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=rf"wrong\.toml: .*{told}|wrong\.toml: {told}"):
        read_sweep(path)


def test_no_file_is_told() -> None:
    with pytest.raises(UsageError, match=r"nowhere\.toml: no such file; a sweep is a TOML file"):
        read_sweep("nowhere.toml")


def test_what_is_neither_a_file_nor_a_table_is_told() -> None:
    with pytest.raises(UsageError, match="the sweep is of type list; give the path of a TOML file, or a dict"):
        read_sweep([{"model": "digits"}])  # type: ignore[arg-type]
