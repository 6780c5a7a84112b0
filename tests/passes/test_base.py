from dataclasses import dataclass

import pytest

from lhc.errors import UsageError
from lhc.passes.base import Pipeline


@dataclass(frozen=True)
class Add:
    """Adds to a number."""

    number: int
    name: str = "add"
    requires: frozenset[str] = frozenset({"number"})
    ensures: frozenset[str] = frozenset({"sum"})

    def apply(self, state: int) -> int:
        return state + self.number


@dataclass(frozen=True)
class Show:
    """Needs a sum, changes nothing."""

    name: str = "show"
    requires: frozenset[str] = frozenset({"sum"})
    ensures: frozenset[str] = frozenset()

    def apply(self, state: int) -> int:
        return state


@dataclass(frozen=True)
class Fail(Show):
    """Always fails."""

    name: str = "fail"

    def apply(self, state: int) -> int:
        raise UsageError("no")


GIVEN = frozenset({"number"})


def test_steps_run_in_their_order_and_pipelines_nest() -> None:
    inner = Pipeline[int, int]("inner", (Add(2), Show()))
    outer = Pipeline[int, int]("outer", (Add(1), inner), GIVEN).checked()
    assert outer.apply(0) == 3
    assert outer.ensures == {"number", "sum"}
    assert inner.requires == {"number"}


def test_what_no_step_ensures_is_told_before_anything_runs() -> None:
    with pytest.raises(UsageError, match="'p': step 'show' requires sum, which no step before it ensures"):
        Pipeline("p", (Show(), Add(1)), GIVEN).checked()


def test_an_error_carries_the_names_of_its_steps() -> None:
    pipeline = Pipeline[int, int]("outer", (Add(1), Pipeline("inner", (Fail(),))), GIVEN)
    with pytest.raises(UsageError, match="no") as caught:
        pipeline.apply(0)
    assert caught.value.__notes__ == [
        "in step 'fail' of pipeline 'inner'",
        "in step 'inner' of pipeline 'outer'",
    ]


def test_timings_say_which_step_changed_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="lhc"):
        Pipeline[int, int]("p", (Add(1), Show()), GIVEN).apply(0)
    add, show = caplog.messages
    assert add.startswith("p: add took")
    assert not add.endswith("nothing changed")
    assert show.endswith("nothing changed")


def test_a_pipeline_is_printed_one_line_a_step() -> None:
    text = str(Pipeline("outer", (Add(1), Pipeline("inner", (Show(),))), GIVEN))
    assert text.splitlines() == ["outer", "  add  requires number  ensures sum", "  inner", "    show  requires sum"]
