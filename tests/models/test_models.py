import subprocess
import sys

import pytest

from lhc.errors import UsageError
from lhc.models import ZooEntry, is_zoo_name, zoo_entry, zoo_names


@pytest.mark.parametrize("name", zoo_names())
def test_every_name_gives_its_entry(name: str) -> None:
    entry = zoo_entry(name)

    assert isinstance(entry, ZooEntry)
    assert entry.name == name
    assert entry.description
    assert 0 < entry.max_drop < 1


def test_names_are_told_from_files() -> None:
    assert is_zoo_name("digits")
    assert is_zoo_name("resnet20")
    assert not is_zoo_name("digits.onnx")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'resnet2O'.*did you mean 'resnet20'\?.*digits, digits-narrow, resnet20"):
        zoo_entry("resnet2O")


def test_a_name_like_nothing_is_answered_with_the_list() -> None:
    with pytest.raises(UsageError, match=r"'zzz'; it has digits, digits-narrow, resnet20"):
        zoo_entry("zzz")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import lhc.models", {"torch", "onnx", "onnxruntime", "numpy", "aihwkit"}),
        ("from lhc.models import zoo_entry, zoo_names; [zoo_entry(n) for n in zoo_names()]", {"torch", "onnxruntime"}),
        ("from lhc.models import zoo_entry; e = zoo_entry('digits'); e.model(); e.task()", {"torch", "sklearn"}),
    ],
    ids=["import", "list", "digits"],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(statement: str, heavy: set[str]) -> None:
    code = f"import sys\n{statement}\nprint(*sorted({heavy!r} & set(sys.modules)))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.split() == []
