import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from lhc.support.load_by_name import load_function
from lhc.support.source_digest import source_digest


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def digest_of(name: str) -> str | None:
    """What a process that begins now says."""
    for loaded in [loaded for loaded in sys.modules if loaded.startswith("own_")]:
        del sys.modules[loaded]
    return source_digest(load_function(name, "--metric"), name.partition(":")[0])


def write(files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)


def scale(factor: int, before: str = "") -> str:
    return f"{before}\n\ndef scale(x):\n    return {factor} * x\n"


RESTS_ON = {
    "own module": ("own_metric.py", {"own_metric.py": "def score(x): return scale(x)"}),
    "module": ("own_helper.py", {"own_metric.py": "import own_helper\ndef score(x): return own_helper.scale(x)"}),
    "function": ("own_helper.py", {"own_metric.py": "from own_helper import scale as score"}),
    "import when called": (
        "own_helper.py",
        {"own_metric.py": "def score(x):\n    from own_helper import scale\n    return scale(x)"},
    ),
    "import by name": (
        "own_helper.py",
        {"own_metric.py": "from importlib import import_module\nscore = import_module('own_helper').scale"},
    ),
    "module of a module": (
        "own_helper.py",
        {"own_metric.py": "import own_middle as m\ndef score(x): return m.f(x)", "own_middle.py": "import own_helper"},
    ),
    "ring": (
        "own_helper.py",
        {"own_metric.py": "import own_ring\ndef score(x): return x", "own_ring.py": "import own_metric, own_helper"},
    ),
    "module of a package": (
        "own_package/sub.py",
        {"own_metric.py": "from own_package.sub import scale as score", "own_package/__init__.py": ""},
    ),
    "package around it": (
        "own_package/__init__.py",
        {"own_metric.py": "from own_package.sub import score", "own_package/sub.py": "def score(x): return x"},
    ),
    "module that binds arguments": (
        "own_metric.py",
        {
            "own_metric.py": "from functools import partial\nimport own_helper\nscore = partial(own_helper.f, 1)",
            "own_helper.py": "def f(factor, x): return factor * x",
        },
    ),
    "wrapper": (
        "own_wrapper.py",
        {
            "own_helper.py": "def f(x): return x",
            "own_wrapper.py": (
                "from functools import wraps\n"
                "def wrapped(f):\n    @wraps(f)\n    def inner(x): return scale(f(x))\n    return inner"
            ),
            "own_metric.py": "from own_helper import f\nfrom own_wrapper import wrapped\nscore = wrapped(f)",
        },
    ),
    "relative import": (
        "own_package/second.py",
        {
            "own_metric.py": "from own_package import score",
            "own_package/__init__.py": "from .first import score",
            "own_package/first.py": "from . import second\ndef score(x): return second.scale(x)",
        },
    ),
    "folder without __init__": (
        "own_namespace/sub.py",
        {"own_metric.py": "from own_namespace import sub\ndef score(x): return sub.scale(x)"},
    ),
}


@pytest.mark.parametrize(("edited", "files"), RESTS_ON.values(), ids=RESTS_ON.keys())
def test_an_edit_of_what_it_rests_on_makes_a_function_another_one(edited: str, files: dict[str, str]) -> None:
    found = []
    for factor in (1, 1, 22):
        write(files | {edited: scale(factor, files.get(edited, ""))})
        found.append(digest_of("own_metric:score"))
    assert None not in found
    assert found[0] == found[1] != found[2]


def test_other_modules_of_the_folder_change_nothing() -> None:
    write({"own_metric.py": "import json\nimport numpy\ndef score(x): return x"})
    found = set()
    for factor in (1, 22):
        write({"own_other.py": scale(factor)})
        load_function("own_other:scale", "--metric")
        found.add(digest_of("own_metric:score"))
    assert len(found) == 1


def digest_in_new_process(script: str) -> str:
    write(
        {"script.py": f"{script}\nfrom lhc.support.source_digest import source_digest\nprint(source_digest(score))\n"}
    )
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("def score(x): return x", "def score(x): return 2 * x", False),
        (
            "def scale(x): return x\ndef score(x): return scale(x)",
            "def scale(x): return 2\ndef score(x): return scale(x)",
            False,
        ),
        ("FACTOR = 1\ndef score(x): return FACTOR * x", "FACTOR = 2\ndef score(x): return FACTOR * x", False),
        (
            "def scale(x): return x\nscore = max(\n[lambda x: scale(x)\n], key=id)",
            "def scale(x): return 2\nscore = max(\n[lambda x: scale(x)\n], key=id)",
            False,
        ),
        ("class A: b = 1\ndef score(x): return A.b", "class A: b = 2\ndef score(x): return A.b", False),
        ("def score(x): return x", "def score(x): return x\nother = 3", True),
    ],
    ids=[
        "itself",
        "a function that it calls",
        "a constant that it names",
        "a function that a lambda calls",
        "a class that it names",
        "another line",
    ],
)
def test_of_a_script_what_the_function_names_counts(before: str, after: str, same: bool) -> None:
    assert (digest_in_new_process(before) == digest_in_new_process(after)) is same


def test_a_module_that_a_function_of_a_script_calls_counts() -> None:
    found = []
    for factor in (1, 22):
        write({"own_helper.py": scale(factor)})
        found.append(digest_in_new_process("import own_helper\ndef score(x): return own_helper.scale(x)"))
    assert found[0] != found[1]


def test_of_an_installed_package_the_version_counts_and_not_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "packages", prepend=os.pathsep)
    script = "import own_installed\ndef score(x): return own_installed.scale(x)"
    found = []
    for version, factor in (("1.0", 1), ("1.0", 22), ("2.0", 22)):
        shutil.rmtree("packages", ignore_errors=True)
        write({"packages/own_installed.py": scale(factor)})
        write({f"packages/own_installed-{version}.dist-info/METADATA": f"Name: own_installed\nVersion: {version}\n"})
        found.append(digest_in_new_process(script))
    assert found[0] == found[1] != found[2]


def test_arguments_bound_in_advance_do_not_hide_a_function() -> None:
    assert source_digest(partial(load_function)) == source_digest(load_function)


def test_what_is_bound_to_a_function_counts() -> None:
    def made(beta: float) -> Callable[[], float]:
        def score() -> float:
            return beta

        return score

    def plain(beta: float) -> float:
        return beta

    def calls(inner: Callable[[], float]) -> Callable[[], float]:
        def score() -> float:
            return score() if inner is score else inner()

        return score

    assert source_digest(made(1.0)) == source_digest(made(1.0)) != source_digest(made(2.0))
    assert source_digest(calls(made(1.0))) == source_digest(calls(made(1.0))) != source_digest(calls(made(2.0)))
    assert source_digest(calls(os.getpid)) != source_digest(calls(os.getppid)), "functions count by their names"
    one, same, other = (source_digest(partial(plain, beta=beta)) for beta in (1.0, 1.0, 2.0))
    assert one == same != other


def test_what_has_no_source_has_no_digest() -> None:
    assert source_digest(len) is None
