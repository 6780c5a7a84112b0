"""Descriptions as they are written: whether comments would be lost."""

from pathlib import Path

import pytest

from lhc.hardware import has_comments, preset_names
from tests.conftest import Cli

WITHOUT = ["a: 1\n", "a: '#x'\n", "a: b#c\n", "a: |\n  # x\n  y\nb: 2\n", "", "%YAML 1.2\n---\na: 1\n"]
WITH = [
    "a: 1 # x\n",
    "# x\na: 1",
    "a: {b: 1,  # x\n c: 2}\n",
    "a: |\n  # x\n# comment\nb: 2\n",
    "- 1\n# end\n",
    "a: >-\n  x\n\n# end\n",
]


@pytest.mark.parametrize(("text", "found"), [*((one, False) for one in WITHOUT), *((one, True) for one in WITH)])
def test_comments_are_told_from_text(tmp_path: Path, text: str, found: bool) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert has_comments(str(path)) == found


def test_comments_are_said_to_be_lost_only_where_there_are_some(cli: Cli, tmp_path: Path) -> None:
    path, said = tmp_path / "mine.yaml", "comments of the YAML are not carried over"
    for text, lost in (("name: a\n", False), ("name: a  # mine\n", True)):
        path.write_text(text)
        done = cli("hardware", path)
        assert done.exit_code == 0
        assert (said in done.stderr) == lost
    assert has_comments("lionheart")
    assert "lionheart" in preset_names()
