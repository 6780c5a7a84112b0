"""One concept, one room, one name."""

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def modules() -> Iterator[Path]:
    for folder in ("lhc", "passes", "runtime", "models"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT).parts
            if not (inside[0] == "lhc" and inside[1] in ("passes", "runtime", "models")):  # links to the others
                yield path


def repeated(names: Iterator[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def test_no_two_modules_share_a_name() -> None:
    assert repeated(path.name for path in modules() if path.name != "__init__.py") == []


def test_no_two_classes_share_a_name() -> None:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in modules())
    assert repeated(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)) == []


def test_few_modules_lie_beside_the_folders() -> None:
    assert len(list((ROOT / "lhc").glob("[!_]*.py"))) <= 8


def test_there_are_at_most_twelve_layers() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert len(contracts[0]["layers"]) <= 12


def test_a_repeated_name_is_found() -> None:
    assert repeated(iter(["a.py", "b.py", "a.py"])) == ["a.py"]
