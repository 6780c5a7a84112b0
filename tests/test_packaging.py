"""The distribution: what is packaged, under which names, and what importing it costs."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from lhc.support.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
MAPPED = ("models", "passes", "runtime")
HEAVY = {"aihwkit", "networkx", "numpy", "onnx", "onnxruntime", "scipy", "torch"}


def project_settings() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def setuptools_settings() -> dict[str, Any]:
    settings: dict[str, Any] = project_settings()["tool"]["setuptools"]
    return settings


def package_folders(root: Path) -> dict[str, Path]:
    """Package → its real folder in a checkout, nested packages included."""
    tops = {"lhc": root / "lhc"} | {f"lhc.{name}": root / name for name in MAPPED}
    found = {}
    for package, top in tops.items():
        inner = [p for p in top.rglob("*") if p.is_dir() and not p.is_symlink()]
        for folder in (top, *inner):
            if any(folder.glob("*.py")):
                found[".".join((package, *folder.relative_to(top).parts))] = folder
    return found


def data_files(folder: Path, folders: set[Path]) -> set[Path]:
    """Files that belong to this package and are not Python."""
    return {
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix != ".py"
        and "__pycache__" not in path.parts
        and not path.name.startswith(".")
        and next(p for p in path.parents if p in folders) == folder
    }


def run_python(code: str, cwd: Path) -> str:
    """What the code prints in an interpreter started in ``cwd``, so with the lhc of this checkout in ROOT."""
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONSAFEPATH"}}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_package_list_equals_tree() -> None:
    assert sorted(setuptools_settings()["packages"]) == sorted(package_folders(ROOT))


def test_tree_helper_sees_nested_packages(tmp_path: Path) -> None:
    for module in ("lhc/__init__.py", "lhc/sub/deep/x.py", "passes/nested/__init__.py"):
        (tmp_path / module).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / module).touch()
    assert sorted(package_folders(tmp_path)) == ["lhc", "lhc.passes.nested", "lhc.sub.deep"]


def test_folders_are_mapped_under_lhc() -> None:
    assert setuptools_settings()["package-dir"] == {f"lhc.{name}": name for name in MAPPED}


@pytest.mark.parametrize("name", MAPPED)
def test_links_give_the_checkout_the_shape_of_the_package(name: str) -> None:
    link = ROOT / "lhc" / name
    if not link.is_symlink() and link.is_file():
        pytest.skip("this clone was made without symbolic links")
    assert link.readlink() == Path("..", name)


def test_every_data_file_is_packaged() -> None:
    folders = package_folders(ROOT)
    patterns = setuptools_settings()["package-data"]
    for package, folder in folders.items():
        wanted = data_files(folder, set(folders.values()))
        packaged = {p for pattern in patterns.get(package, ()) for p in folder.glob(pattern) if p.is_file()}
        assert packaged == wanted, package


def test_every_data_pattern_matches_a_file() -> None:
    folders = package_folders(ROOT)
    for package, patterns in setuptools_settings()["package-data"].items():
        for pattern in patterns:
            assert any(folders[package].glob(pattern)), f"{package}: {pattern}"


@cache
def imported(source: str) -> frozenset[str]:
    """Top-level names of all imports of a module, those inside functions too."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return frozenset(name.partition(".")[0] for name in names)


def normalised(requirement: str) -> str:
    """The name of a distribution in the form in which two of them are compared."""
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def third_party() -> Iterator[tuple[str, str]]:
    """Module file and name that it imports, where that is neither lhc nor Python's own."""
    for folder in package_folders(ROOT).values():
        for path in folder.glob("*.py"):
            for name in imported(path.read_text(encoding="utf-8")) - sys.stdlib_module_names - {"lhc"}:
                yield path.name, name


def test_imports_are_found_wherever_they_stand() -> None:
    assert imported("import a.b, c\ndef f() -> None:\n    from d.e import g\n    import h as i") == {"a", "c", "d", "h"}


def test_every_import_is_declared() -> None:
    """As a dependency, or in one of the extras: what those hold is imported where it is needed, with a message."""
    project = project_settings()["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    declared = {normalised(requirement) for requirement in (*project["dependencies"], *extras)}
    known = {"mlflow": ["mlflow-skinny"], "olive": ["olive-ai"]}  # they need not be installed
    distributions = {**known, **packages_distributions()}
    missing = {
        (file, name)
        for file, name in third_party()
        if declared.isdisjoint(map(normalised, distributions.get(name, [name])))
    }
    assert missing == set()


def test_only_named_modules_import_what_an_extra_holds() -> None:
    needed = {normalised(requirement) for requirement in project_settings()["project"]["dependencies"]}
    distributions = packages_distributions()
    optional = {
        (file, name)
        for file, name in third_party()
        if needed.isdisjoint(map(normalised, distributions.get(name, [name])))
    }
    assert optional == {
        ("dask_cluster.py", "distributed"),
        ("mlflow_run.py", "mlflow"),
        ("olive_pass.py", "olive"),
        ("mobilebert.py", "transformers"),
        ("train_digits.py", "sklearn"),  # a script of the repository
        *((file, "tokenizers") for file in ("minilm.py", "squad.py", "stories260k.py", "tokens.py")),
        *(
            (file, "tokenizers")
            for file in ("text_documents.py", "zoo_entry.py", "gguf_file.py", "smollm2.py", "text_samples.py")
        ),
        ("gguf_file.py", "gguf"),  # extra "llm"
        ("hugging_face.py", "safetensors"),
        *((file, "PIL") for file in ("ppocr_det.py", "rendered_text.py")),  # extra "zoo", as the next two
        ("fracast.py", "fracast"),
        ("mtcnn_rnet.py", "joblib"),
    }


@pytest.mark.parametrize("name", MAPPED)
def test_bare_names_are_not_installed(name: str, tmp_path: Path) -> None:
    code = (
        "from importlib.util import find_spec\n"
        f"spec = find_spec({name!r})\n"
        "print([] if spec is None else [spec.origin, *(spec.submodule_search_locations or [])])"
    )
    assert str(ROOT) not in run_python(code, tmp_path)


def test_import_is_light() -> None:
    code = f"import sys, lhc; print(*sorted({HEAVY!r} & set(sys.modules)))"
    assert run_python(code, ROOT).split() == []


@pytest.mark.parametrize(("option", "said"), [("--help", "Usage"), ("--version", VERSION)])
def test_what_looks_at_no_network_is_light(option: str, said: str) -> None:
    code = f"""
import contextlib, io, runpy, sys
sys.argv = ["lhc", {option!r}]
shown = io.StringIO()
try:
    with contextlib.redirect_stdout(shown):
        runpy.run_module("lhc", run_name="__main__", alter_sys=True)
except SystemExit as stop:
    assert not stop.code, stop.code
assert {said!r} in shown.getvalue(), shown.getvalue()
print(*sorted({HEAVY!r} & set(sys.modules)))
"""
    assert run_python(code, ROOT).split() == []


@pytest.mark.analog
def test_public_names_exist() -> None:
    code = "import lhc\nfor name in lhc.__all__: getattr(lhc, name)\nprint(len(lhc.__all__))"
    assert int(run_python(code, ROOT)) > 1


@pytest.mark.slow
def test_wheel_holds_lhc_its_pages_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if ".dist-info/" not in n}
    folders = package_folders(ROOT)
    expected = set()
    for package, folder in folders.items():
        prefix = package.replace(".", "/")
        files = data_files(folder, set(folders.values())) | set(folder.glob("*.py"))
        expected |= {f"{prefix}/{path.relative_to(folder).as_posix()}" for path in files}
    pages = {f"lhc-{VERSION}.data/data/share/doc/lhc/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert names == expected | pages
