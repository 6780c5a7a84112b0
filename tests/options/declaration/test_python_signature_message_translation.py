"""Messages name options as the command line does; in Python, as Python does."""

import logging

import pytest

import lhc
from lhc.errors import UsageError
from lhc.options.by_command import RetrainOptions, RobustnessOptions, RunOptions
from lhc.options.declaration.python_signature import python_words, told_in_python
from lhc.options.shared import ReadTime


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("--draws must be at least 2, got 1", "`draws` must be at least 2, got 1"),
        ("give --samples, or more --draws", "give `samples`, or more `draws`"),
        ("options of training need --retrain", "options of training need `retrain=True`"),
        ("--no-explain leaves it out; --lower-is-better", "`explain=False` leaves it out; `higher_is_better=False`"),
        ("F.onnx: exists; --force replaces it", "F.onnx: exists; `save(force=True)` replaces it"),
        ("'lhc partition --retrain' trains; --lr 0.1", "'lhc partition --retrain' trains; `learning_rate` 0.1"),
        ("not tried: more tiles (lhc partition --max-tiles)", "not tried: more tiles (lhc partition --max-tiles)"),
        ("--include and --force-… cannot go with --plan", "`include` and --force-… cannot go with `plan`"),
        ("no such option: --frobnicate; a -- b", "no such option: --frobnicate; a -- b"),
    ],
)
def test_options_are_called_by_their_keywords(told: str, words: str) -> None:
    assert python_words(told) == words


def test_a_flag_that_has_several_names_is_called_as_the_function_calls_it() -> None:
    assert python_words("--t-inference", RunOptions) == python_words("--t-inference", RobustnessOptions) == "`times`"
    assert python_words("--t-inference", RetrainOptions) == "`t_inference`"


def test_python_is_told_of_its_keywords_and_the_terminal_of_its_flags() -> None:
    with pytest.raises(UsageError, match=r"^`t_inference` 'soon' is no time"):
        lhc.sensitivity("digits", t_inference="soon")
    with pytest.raises(UsageError, match=r"^--t-inference 'soon' is no time"):
        ReadTime(t_inference="soon")


def test_warnings_are_told_likewise_and_as_before_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("lhc")
    with told_in_python(RunOptions):
        log.warning("%s is few: see --samples", 3)
    log.warning("%s is few: see --samples", 3)
    assert [one.getMessage() for one in caplog.records] == ["3 is few: see `samples`", "3 is few: see --samples"]
