"""One concept, one room, one name."""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).resolve().parents[1]


def modules() -> Iterator[Path]:
    for folder in ("lhc", "passes", "runtime", "models"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT).parts
            if not (inside[0] == "lhc" and inside[1] in ("passes", "runtime", "models")):  # links to the others
                yield path


def repeated(names: Iterator[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def test_no_two_classes_share_a_name() -> None:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in modules())
    assert repeated(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)) == []


def circles(sources: Mapping[str, str]) -> list[list[str]]:
    """Modules that import each other; a name that a package hands on is the package's."""
    graph = nx.DiGraph()
    for module, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                named = [f"{node.module}.{alias.name}" for alias in node.names]
                graph.add_edges_from((module, name if name in sources else node.module) for name in named)
    return [sorted(group) for group in nx.strongly_connected_components(graph) if len(group) > 1]


def test_no_modules_import_each_other_in_a_circle() -> None:
    found = {}
    for path in modules():
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts if parts[0] == "lhc" else ("lhc", *parts))
        found[name.removesuffix(".__init__")] = path.read_text(encoding="utf-8")
    assert circles(found) == []


def test_a_circle_is_found() -> None:
    inner = "def f():\n    from a import x"
    assert circles({"a": "from b import y", "b": inner, "c": "from a import x"}) == [["a", "b"]]


def test_imports_for_types_alone_run_downward_too() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert not linter.get("exclude_type_checking_imports", False)
    assert [name for one in linter["contracts"] for name in one.get("ignore_imports", [])] == [
        "lhc.hardware.description.hardware -> aihwkit",
        "lhc.hardware.aihwkit_config.user_aihwkit_objects -> torch",
        "lhc.hardware.devices.aihwkit_noise_models -> aihwkit",
        "lhc.hardware.aihwkit_config.rpu_config -> aihwkit",
    ]


def test_a_repeated_name_is_found() -> None:
    assert repeated(iter(["a.py", "b.py", "a.py"])) == ["a.py"]


RECORD = ["Context", "Decision", "Consequence"]
SUITES = ("fuzz", "trials")
"""Folders of tests whose subject is the whole of lhc, beside the files of tests/ itself."""

WHOLE = {
    "connections",
    "documented",
    "examples",
    "extension",
    "house",
    "installation",
    "notebooks",
    "packaging",
    "reproduce",
    "site",
    "wheels",
}
"""What the other files of tests/ itself are about."""


def misnamed(tests: Path) -> list[str]:
    """Test files that do not name a module of the folder that theirs mirrors, or that folder as a whole."""
    found = []
    for path in sorted(tests.rglob("test_*.py")):
        folder = path.parent.relative_to(tests).as_posix()
        if folder in SUITES:
            continue
        source = ROOT / "lhc" / folder
        names = {module.stem for module in source.glob("*.py")}
        if names:
            names |= {source.name} if folder != "." else WHOLE
        subject = path.stem.removeprefix("test_")
        if not any(subject == name or subject.startswith(f"{name}_") for name in names):
            found.append(f"{folder}/{path.name}")
    return found


def test_tests_are_found_by_the_name_of_what_they_test() -> None:
    assert misnamed(ROOT / "tests") == []


def test_a_misplaced_test_is_found(tmp_path: Path) -> None:
    for name in (
        "cli/test_inspect.py",
        "cli/test_cli_errors.py",
        "cli/test_crashes.py",
        "api/test_api.py",
        "test_graph.py",
        "test_cache.py",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(misnamed(tmp_path)) == ["./test_cache.py", "api/test_api.py", "cli/test_crashes.py"]


def test_no_test_file_imports_another() -> None:
    """Set-up that several share is a fixture, or a helper in a file of its own."""
    lines = {
        f"{path.name}: {line}"
        for path in (ROOT / "tests").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith(("from tests.", "import tests.")) and ".test_" in line
    }
    assert lines == set()


def test_decisions_are_numbered_and_indexed_and_say_why() -> None:
    page = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    index, *records = re.split(r"^## ", page, flags=re.MULTILINE)
    titles = [record.partition("\n")[0] for record in records]
    assert re.findall(r"^\| (\d+) \| \[(.*?)\]", index, re.MULTILINE) == [tuple(t.split(". ", 1)) for t in titles]
    assert [title.partition(".")[0] for title in titles] == [str(number + 1) for number in range(len(titles))]
    parts = [re.findall(r"^\*\*(\w+)\.\*\*", record, re.MULTILINE) for record in records]
    assert [title for title, found in zip(titles, parts, strict=True) if found != RECORD] == []


def test_pages_name_tests_that_are_there() -> None:
    pages = [ROOT / "Makefile", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    named = {
        found for page in pages for found in re.findall(r"tests/[a-z0-9_/]+\.py", page.read_text(encoding="utf-8"))
    }
    assert len(named) > 10
    assert sorted(name for name in named if not (ROOT / name).exists()) == []
