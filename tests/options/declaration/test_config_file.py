from pathlib import Path
from typing import Any

import pytest

from lhc.cli.framework.command_builder import options_by_key
from lhc.errors import ConfigError, UsageError
from lhc.options.by_command import CompareOptions
from lhc.options.declaration.config_file import read_config
from lhc.options.shared import BudgetOptions, Chips, MachineOptions, Selection

COMMANDS = {"partition": options_by_key(BudgetOptions, Chips, Selection), "run": options_by_key(Chips)}


def read(folder: Path, text: str, name: str = "lhc.toml") -> dict[str, dict[str, Any]]:
    path = folder / name
    path.write_text(text)
    return read_config(path, COMMANDS)


def test_what_stands_at_the_top_counts_for_every_command_that_has_it(tmp_path: Path) -> None:
    found = read(tmp_path, 'draws = 20\nmax-drop = "1%"\n[run]\ndraws = 5\n')
    assert found == {"partition": {"draws": "20", "max_drop": "1%"}, "run": {"draws": "5"}}


def test_one_value_at_the_top_is_also_one_of_several(tmp_path: Path) -> None:
    """``compare`` takes several machines, other commands one."""
    commands = {"partition": options_by_key(MachineOptions), "compare": options_by_key(CompareOptions)}
    (tmp_path / "lhc.toml").write_text('hardware = "hermes"\n')
    one = read_config(tmp_path / "lhc.toml", commands)
    assert one == {"partition": {"hardware": "hermes"}, "compare": {"hardware": ["hermes"]}}
    (tmp_path / "lhc.toml").write_text('hardware = ["hermes", "lionheart"]\n')
    several = read_config(tmp_path / "lhc.toml", commands)
    assert several == {"partition": {}, "compare": {"hardware": ["hermes", "lionheart"]}}


def test_a_pyproject_has_a_table_of_its_own(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\n[tool.lhc.partition]\ninclude = ["a", "b"]\ngeneralize = true\n'
    found = read(tmp_path, text, "pyproject.toml")
    assert found == {"partition": {"include": ["a", "b"], "generalize": True}, "run": {}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drws = 3", "no command has an option 'drws'; nearest: draws"),
        ("[run]\nmax-drop = 1", "lhc run has no option 'max-drop'"),
        ("[partiton]\ndraws = 1", "there is no command 'partiton'; nearest: partition"),
        ('[partition]\ninclude = "a"', "partition.include: write a list"),
        ("[partition]\ngeneralize = 1", "partition.generalize: write true or false"),
        ("[partition]\ndraws = [1]", "partition.draws: write one text or number"),
        ("draws = ", "cannot be read as TOML"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_config(tmp_path / "lhc.toml", COMMANDS)
