"""Help groups commands and options by the work; rare options stay behind ``--help-all``; shells complete."""

import os
import subprocess
import sys

import pytest

from lhc.cli.framework.command_builder import classes
from lhc.cli.framework.help import GROUPS, HEADINGS, NAMES
from lhc.options.declaration.option_fields import options_of
from lhc.support.number_formatting import counted
from tests.conftest import Cli


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["analyze"], "error: Missing argument 'MODEL'."),
        (["analyze", "digits", "--nope"], "error: No such option: --nope"),
        (["nope"], "error: No such command 'nope'."),
        (["analyse", "digits"], "error: No such command 'analyse'; did you mean 'analyze'?"),
        (["run", "digits", "--draws", "x"], "error: --draws 'x': write a whole number"),
        (["run", "digits", "--draws", "1_0"], "error: --draws '1_0': write a whole number"),
        (["run", "digits", "--draws", "1" + "0" * 30], "a number is 0 or of a magnitude of 1e-15 to 1e+15"),
        (["run", "digits", "--jobs", "2000"], "error: --jobs must be at most 1,024, got 2000"),
        (
            ["run", "digits", "--t-inference", "0,nan"],
            "error: --t-inference 'nan' is no time: write seconds, or a number with s, min,",
        ),
        (
            ["run", "digits", "--t-inference", "0,1 month"],
            "error: --t-inference '1 month' is no time: write seconds, or a number with",
        ),
        (
            ["split", "digits", "-o", "x", "--t-inference", "one day"],
            "error: --t-inference 'one day' is no time: write",
        ),
        (
            ["analyze", "digits", "--hardware", "ideal", "--hardware", "afm"],
            "error: --hardware is given 2 times, and takes one value; 'lhc compare' takes several machines",
        ),
        (["partition", "digits", "-o", "a", "--out", "b"], "error: --out is given 2 times, and takes one value"),
        (
            ["partition", "digits", "--explain", "--no-explain"],
            "error: --explain is given 2 times, and takes one value",
        ),
        (
            ["split", "digits", "-o", "x", "--t-inference", "-1"],
            "error: --t-inference: a time of inference must be at least 0 s, got -1",
        ),
        (["split", "digits", "-o", "x", "--t-inference", "1e308"], "a number is 0 or of a magnitude"),
        (["split", "digits", "-o", "x", "--draw", "-1"], "error: --draw must be at least 0, got -1"),
        (["partition", "digits", "--max-drop", "5e-324"], "a number is 0 or of a magnitude"),
        (["compile", "digits", "--draws", "20000"], "error: --draws must be at most 10,000, got 20000"),
    ],
)
def test_all_errors_begin_alike(cli: Cli, arguments: list[str], message: str) -> None:
    done = cli(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Error" not in done.stderr


def test_arguments_are_told_as_they_are_written(cli: Cli) -> None:
    shown = cli("diff", "--help").stdout
    assert "Usage: lhc diff [OPTIONS] A.lhc.onnx B.lhc.onnx\n" in shown
    assert "  A.lhc.onnx  An annotated model, or a machine" in shown


def test_no_command_is_told_in_half_a_sentence(cli: Cli) -> None:
    assert "..." not in cli("--help").stdout.partition("Look")[2]


def test_every_command_is_in_one_group(cli: Cli) -> None:
    assert sorted(NAMES) == sorted(classes())
    assert len(set(NAMES)) == len(NAMES)
    shown = cli("--help").stdout
    positions = [shown.index(f"\n{heading} ") for heading in GROUPS]
    assert positions == sorted(positions)
    for name in NAMES:
        assert f"\n  {name} " in shown
    assert "lhc.toml" in shown


@pytest.mark.parametrize("name", NAMES)
def test_rare_options_are_behind_help_all(cli: Cli, name: str) -> None:
    brief, whole = (cli(name, option).stdout for option in ("--help", "--help-all"))
    for one in [one for kind in classes()[name] for one in options_of(kind) if one.flag and one.instead is None]:
        assert (f" {one.flag} " in brief or f" {one.flag}\n" in brief) != one.rare, one.flag
        assert str(one.flag) in whole
    rare = sum(one.rare for kind in classes()[name] for one in options_of(kind) if one.instead is None)
    assert (f"{counted(rare, 'option')} rarely needed: --help-all" in brief) == (rare > 0)
    assert "rarely needed" not in whole


@pytest.mark.parametrize("name", NAMES)
def test_options_lie_under_headings_that_are_ordered(cli: Cli, name: str) -> None:
    found = [line[:-1] for line in cli(name, "--help-all").stdout.splitlines() if line[:-1] in HEADINGS]
    assert found == [heading for heading in HEADINGS if heading in found]
    panels = {one.panel for kind in classes()[name] for one in options_of(kind) if one.flag and one.instead is None}
    assert set(found) == panels | {"Output"}, "--config is output's"


def test_partition_begins_with_three_examples(cli: Cli) -> None:
    shown = cli("partition", "--help").stdout
    before = shown[: shown.index("Arguments:")]
    assert before.count("\n  $ lhc partition ") == 3


@pytest.mark.parametrize(
    ("shell", "environment", "expected"),
    [
        ("bash", {"COMP_WORDS": "lhc par", "COMP_CWORD": "1"}, "partition\npareto\n"),
        ("bash", {"COMP_WORDS": "lhc partition m --obj", "COMP_CWORD": "3"}, "--objective\n"),
        ("bash", {"COMP_WORDS": "lhc partition m --objective ", "COMP_CWORD": "4"}, "energy\nlatency\nmacs\n"),
        ("bash", {"COMP_WORDS": "lhc partition resn", "COMP_CWORD": "2"}, "resnet20\nresnet8\n"),
        ("bash", {"COMP_WORDS": "lhc compare m --hardware her", "COMP_CWORD": "4"}, "hermes\n"),
        ("bash", {"COMP_WORDS": "lhc hardware her", "COMP_CWORD": "2"}, "hermes\n"),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "lhc rob"}, '_arguments \'*: :(("robustness":'),
        ("fish", {"_TYPER_COMPLETE_ARGS": "lhc rob", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}, "robustness\t"),
    ],
)
def test_shells_complete(shell: str, environment: dict[str, str], expected: str) -> None:
    code = "import sys; sys.argv = ['lhc']; from lhc.cli import main; main()"
    asked = os.environ | environment | {"_LHC_COMPLETE": f"complete_{shell}"}
    done = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(expected), done.stderr
