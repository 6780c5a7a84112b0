"""Pages that messages name are where users find them."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lhc.support import documentation_links
from lhc.support.documentation_links import page

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for top in ("lhc", "passes", "runtime", "models") for path in sorted((ROOT / top).rglob("*.py"))]


def _said(source: str) -> Iterator[str]:
    """Texts of a module that are no docstrings."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_a_page_is_named_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert page("costs") == str(ROOT / "docs" / "costs.md"), "a checkout has its own"
    monkeypatch.setattr(documentation_links, "__file__", str(tmp_path / "site" / "lhc" / "support" / "links.py"))
    monkeypatch.setattr("sysconfig.get_path", {"data": str(tmp_path)}.__getitem__)
    assert page("costs") == "page costs of lhc's documentation"
    installed = tmp_path / "share" / "doc" / "lhc" / "costs.md"
    installed.parent.mkdir(parents=True)
    installed.touch()
    assert page("costs") == str(installed)


def test_wheels_bring_the_pages() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert settings["data-files"] == {"share/doc/lhc": ["docs/*.md"]}


def test_every_page_that_is_named_is_there_and_none_is_named_by_a_path_of_the_checkout() -> None:
    texts = [path.read_text(encoding="utf-8") for path in SOURCES]
    named = {name for text in texts for name in re.findall(r"""\bpage\(["']([\w-]+)["']\)""", text)}
    assert named >= {"budget-not-met", "command-line", "costs"}
    assert all((ROOT / "docs" / f"{name}.md").is_file() for name in named)
    assert not [said for text in texts for said in _said(text) if re.search(r"\bdocs/[\w-]+\.md", said)]
    assert list(_said('"""docs/a.md"""\nx = f"see docs/{y}.md"')) == ["see docs/", ".md"], "the helper sees them"
