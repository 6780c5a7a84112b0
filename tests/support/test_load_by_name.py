import sys
from pathlib import Path

import pytest

from lhc.errors import UsageError
from lhc.support.load_by_name import current_folder_importable, load_function


def test_a_function_of_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_function_a.py").write_text("def three():\n    return 3\n")
    before = list(sys.path)
    assert load_function("own_function_a:three", "--data")() == 3
    assert sys.path == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_xyz:f", "--data no_such_module_xyz:f: cannot be imported: ModuleNotFoundError"),
        ("json:no_such_function", "cannot be imported: AttributeError"),
        ("string:digits", "--data string:digits: not a function"),
    ],
)
def test_what_is_no_function_is_refused_with_the_option_that_names_it(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_function(name, "--data")


def test_a_module_that_fails_leaves_the_search_path_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_function_b.py").write_text("raise KeyError('gone')\n")
    before = list(sys.path)
    with pytest.raises(UsageError, match="KeyError: 'gone'"):
        load_function("own_function_b:f", "--data")
    assert sys.path == before


def test_the_current_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with current_folder_importable():
        assert sys.path[0] == str(tmp_path)
