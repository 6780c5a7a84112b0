import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
import pytest

import lhc
from lhc.errors import UsageError
from lhc.options.by_command import CompareOptions, RunOptions
from lhc.options.declaration.command_text import command_line
from lhc.options.declaration.option_fields import argument, option, options, options_of, taken_by
from lhc.options.declaration.python_signature import keywords
from lhc.options.declaration.value_parsing import engine_of
from lhc.options.shared import (
    Chips,
    Data,
    Execution,
    GivenPlacement,
    GoalOptions,
    MachineOptions,
    PlacedMachine,
    ReadTime,
    ReadTimes,
    Selection,
    Shapes,
)
from lhc.options.training import Checkpointing, TrainingOptions


@options
class Source:
    PANEL: ClassVar[str] = "Source"

    source: str = argument("Where from.", kw_only=False, metavar="SOURCE")


@options
class Search:
    PANEL: ClassVar[str] = "Search"

    most: int = option("Most tries.", default=3, unit="tries")
    order: Literal["up", "down"] = option("Which way.", default="up")
    only: tuple[str, ...] = option("Only these.", default=(), reads=list[str], convert=tuple)
    strict: bool = option("Refuse more.", default=False)
    watch: object = option("Called.", default=None, instead="a bar")


@options
class Both(Search, Source):
    most: int = option("Most tries.", default=5, unit="tries")


def test_an_option_says_everything_once() -> None:
    found = {one.name: one for one in options_of(Both)}
    assert list(found) == ["source", "most", "order", "only", "strict", "watch"]
    assert found["source"].flag is None
    assert found["source"].required
    assert found["order"].choices == ("up", "down")
    assert found["order"].panel == "Search"
    assert found["only"].repeats


def test_a_command_may_have_a_default_of_its_own() -> None:
    assert next(one.default for one in options_of(Search) if one.name == "most") == 3
    assert next(one.default for one in options_of(Both) if one.name == "most") == 5
    assert {one.default for one in options_of(PlacedMachine) if one.name == "hardware"} == {None}
    assert {one.default for one in options_of(MachineOptions) if one.name == "hardware"} == {"lionheart"}


def test_options_are_the_keywords_of_a_function() -> None:
    @keywords(Both)
    def find(chosen: Both) -> str:
        """Find it.

        Raises:
            UsageError: never.
        """
        return f"{chosen.source} {chosen.most}"

    assert find("here", most=4) == "here 4"
    assert find(source="there") == "there 5"
    text = find.__doc__ or ""
    assert text.index("Args:") < text.index("most: Most tries; in tries.") < text.index("Raises:")
    with pytest.raises(UsageError, match=r"find\(\) has no keyword 'mots'; nearest: most"):
        find("here", mots=4)  # type: ignore[call-arg]


def test_the_command_that_says_the_same_names_what_is_not_default() -> None:
    chosen = Both("a b.onnx", most=4, only=("x", "y*"), strict=True, watch=print)
    assert command_line("find", chosen) == "lhc find 'a b.onnx' --most 4 --only x --only 'y*' --strict"


def test_the_command_shows_objects_that_are_no_text() -> None:
    assert command_line("run", Data(data={})) == "lhc run --data …"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (lambda: TrainingOptions(steps=1, epochs=1.0), "--steps, --epochs and --time say the same"),
        (lambda: TrainingOptions(learning_rate=0.0), "--lr must be above 0"),
        (lambda: TrainingOptions(loss="hinge"), "unknown loss 'hinge'; choose distillation, cross-entropy"),
        (lambda: TrainingOptions(loss="mse", label_share=0.5), "--loss mse takes labels alone"),
        (lambda: TrainingOptions(ramp=1.5), "--ramp must be at most 1, got 1.5"),
        (lambda: Execution(jobs=0), "--jobs must be at least 1"),
        (lambda: Execution(jobs=1025), "--jobs must be at most 1,024, got 1025"),
        (lambda: Execution(timeout=0), "--timeout must be above 0 s, got 0"),
        (lambda: Execution(memory="5 apples"), "write a size such as 2GiB"),
        (lambda: Execution(memory="5kB"), "at least 1 MiB"),
        (lambda: Execution(jobs=2, scheduler="tcp://x:1"), "has workers of its own"),
    ],
)
def test_values_without_a_meaning_are_refused(options: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options()  # type: ignore[operator]


def test_a_size_is_a_number_or_a_text() -> None:
    assert Execution(memory="2GiB").bytes == Execution(memory=2**31).bytes == 2**31


def test_a_field_with_a_type_of_a_heavy_library_must_say_what_the_command_line_reads() -> None:
    with pytest.raises(TypeError, match=r"Heavy\.array: say with reads="):

        @options
        class Heavy:
            array: "numpy.ndarray" = option("An array.", default=None)  # type: ignore[name-defined]  # noqa: F821


def test_a_function_takes_the_options_that_it_has_keywords_for() -> None:
    def save(path: str, most: int = 1, strict: bool = False) -> None:
        pass

    assert taken_by(save, Search(most=4)) == {"most": 4, "strict": False}


def test_repeated_options_are_tuples() -> None:
    assert next(one.convert for one in options_of(Selection) if one.name == "include") is tuple


def test_every_class_that_a_class_is_made_of_checks_its_values() -> None:
    @options
    class Both(Execution, TrainingOptions):
        pass

    for wrong in ({"jobs": 0}, {"batch_size": 0}):
        with pytest.raises(UsageError):
            Both(**wrong)  # type: ignore[arg-type]


def test_a_closed_set_is_checked_in_python_too() -> None:
    with pytest.raises(UsageError, match=r"--order 'sideways': choose up, down"):
        Search(order="sideways")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "name", "given", "value"),
    [
        (ReadTime, "t_inference", "1d", 86400.0),
        (ReadTime, "t_inference", 60, 60.0),
        (ReadTimes, "times", ["0", "30d", 5], [0.0, 2592000.0, 5.0]),
        (ReadTimes, "times", "0,1h", [0.0, 3600.0]),
        (ReadTimes, "times", 30, [30.0]),
        (ReadTimes, "times", np.array(30), [30.0]),
        (partial(CompareOptions, "m"), "ages", np.array(3600.0), [3600.0]),
        (Selection, "include", np.array("head"), ("head",)),
        (Execution, "timeout", "30min", 1800.0),
        (Execution, "jobs", "2", 2),
        (Execution, "jobs", np.int64(2), 2),
        (Data, "samples", "20", 20),
        (Chips, "confidence", "95%", 0.95),
        (Checkpointing, "checkpoint", "here", Path("here")),
        (Selection, "force_digital", "head", ("head",)),
        (Selection, "force_digital", ["a", "b"], ("a", "b")),
        (Selection, "force_digital", None, ()),
        (partial(CompareOptions, "m"), "ages", "1h", [3600.0]),
        (partial(CompareOptions, "m"), "hardware", "lionheart", ("lionheart",)),
        (Shapes, "shapes", "x=1,3", {"x": (1, 3)}),
        (Shapes, "shapes", {"x": [1, 3]}, {"x": (1, 3)}),
    ],
)
def test_python_takes_what_the_command_line_takes(
    kind: Callable[..., object], name: str, given: object, value: object
) -> None:
    assert getattr(kind(**{name: given}), name) == value


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (ReadTime, {"t_inference": "1 month"}, "--t-inference '1 month' is no time"),
        (ReadTime, {"t_inference": [1]}, r"--t-inference '\[1\]' is no time"),
        (ReadTimes, {"times": True}, "--t-inference 'True' is no time"),
        (Execution, {"timeout": "soon"}, "--timeout 'soon' is no time"),
        (Execution, {"jobs": "many"}, "--jobs 'many': write a whole number"),
        (Execution, {"jobs": 1.5}, r"--jobs 1\.5: write a whole number"),
        (Execution, {"jobs": None}, "--jobs None: write a whole number"),
        (Execution, {"fresh": "no"}, "--fresh 'no': write True or False"),
        (Execution, {"work_dir": 5}, "--work-dir 5: write text or a path"),
        (Execution, {"memory": [1]}, r"--memory \[1\]: write"),
        (Execution, {"progress": None}, "progress None: give a function"),
        (TrainingOptions, {"learning_rate": True}, "--lr True: write a number"),
        (GoalOptions, {"max_latency": "3%"}, "--max-latency '3%': write a number, in s"),
        (TrainingOptions, {"loss": 5}, "--loss 5: write text"),
        (Data, {"data": None, "metric": len}, r"--metric of type builtin.*: write .* data=lhc\.Task\(.* lhc\.Metric\("),
        (Selection, {"include": 5}, r"--include \(5,\): write text"),
        (Shapes, {"shapes": {"x": "1,3"}}, "--shape .*: write"),
        (GivenPlacement, {"placement": 5}, "placement 5: give"),
    ],
)
def test_a_value_of_another_type_is_refused_by_the_name_of_its_option(
    kind: Callable[..., object], given: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        kind(**given)


def test_an_unknown_keyword_names_the_one_that_is_meant() -> None:
    with pytest.raises(UsageError, match=r"run\(\) has no keyword 't_inference'; here it is times"):
        lhc.evaluate("digits", t_inference=1)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match=r"RunOptions\(\) has no keyword 'sampels'; nearest: samples"):
        RunOptions("digits", sampels=1)  # type: ignore[call-arg]


def test_functions_refuse_what_they_cannot_read() -> None:
    with pytest.raises(UsageError, match=r"two machines or more .*; none is given"):
        lhc.compare("digits")
    with pytest.raises(UsageError, match=r"hardware` 5 \(of type int\) is no hardware"):
        lhc.compare("digits", hardware=[5])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="takes the options of a command as one object"):
        lhc.estimate("digits")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="5: no such file"):
        lhc.partition("digits", samples=30, plan=5)  # type: ignore[arg-type]


def test_options_that_an_estimate_takes_are_public() -> None:
    taken = get_args(inspect.signature(lhc.estimate).parameters["options"].annotation)
    assert RunOptions in taken
    assert all(getattr(lhc, kind.__name__) is kind for kind in taken)


@pytest.mark.parametrize("name", ["auto", "fast", "aihwkit"])
def test_an_engine_is_known_by_its_name(name: str) -> None:
    assert engine_of(name) == name
