"""Passes and strategies as text, and what is wrong with one is said."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pytest

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.passes import Pass, PassResult, Strategy, pass_of, strategy_class
from lhc.passes.strategies.milp import Milp
from lhc.plan import Plan

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass(frozen=True)
class Marking(Pass):
    """Has options of many types."""

    share: float = 0.1
    most: int = 3
    both: bool = False
    side: Literal["first", "last"] = "first"
    layers: tuple[str, ...] = ()
    file: Path | None = None
    name: ClassVar[str] = "marking"

    def __post_init__(self) -> None:
        if self.most < 0:
            raise ValueError("most must be at least 0")

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        return PassResult(plan)


@dataclass(frozen=True)
class Needing(Marking):
    """One option has no default, another one no type that text can give."""

    call: Any = None
    exact: "Decimal | None" = None


@dataclass(frozen=True)
class Stepping(Strategy):
    """A strategy with an option."""

    step: int = 1
    name: ClassVar[str] = "stepping"

    @classmethod
    def judgements(cls, groups: int) -> int:
        return groups // cls.step

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        return PassResult(plan)


INSTANCE = Marking(most=7)
HERE = "marking_passes"
NAME = f"{HERE}:Marking"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])


@pytest.mark.parametrize(
    ("text", "made"),
    [
        (NAME, Marking()),
        (f"{NAME}{{}}", Marking()),
        (f"{NAME}{{share=0.02}}", Marking(share=0.02)),
        (f"{NAME} {{ share = 2, most = 4 }}", Marking(share=2.0, most=4)),
        (f"{NAME}{{both=true, side='last'}}", Marking(both=True, side="last")),
        (f'{NAME}{{layers=["a, b}}", "c"], file="x/y.txt"}}', Marking(layers=("a, b}", "c"), file=Path("x/y.txt"))),
        (f"{HERE}:INSTANCE", Marking(most=7)),
        (Marking, Marking()),
        (INSTANCE, INSTANCE),
    ],
)
def test_a_pass_is_made_of_its_text(text: object, made: Marking) -> None:
    assert pass_of(text) == made


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{shares=0.1}", "no option 'shares'; nearest: share"),
        ("{xyz=0.1}", "no option 'xyz'; it has share, most, both, side, layers, file"),
        ("{name='other'}", "no option 'name'"),
        ("{share='much'}", 'share = "much": input should be a valid number'),
        ("{share=true}", "share = true: input should be a valid number"),
        ("{most=1.5}", "most = 1.5: input should be a valid integer"),
        ("{both=1}", "both = 1: input should be a valid boolean"),
        ("{side='middle'}", "side = \"middle\": input should be 'first' or 'last'"),
        ("{layers='a'}", 'layers = "a": input should be a valid'),
        ("{share=0.1, share=0.2}", "an option is given twice"),
        ("{share=0.1", "cannot be read"),
        ("{share=much}", "cannot be read"),
        ("{share=0.1} {most=2}", "cannot be read"),
        ("{share=0.1}\nmore=2", "nothing may come behind the options"),
        ("{most=-1}", "cannot be made with these options: most must be at least 0"),
    ],
)
def test_a_wrong_option_is_refused_by_name(written: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        pass_of(NAME + written)
    assert str(refused.value).startswith(f"--pass {NAME}{written}: ")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keep-small", "--pass keep-small: no package offers a pass of that name; write module:Class"),
        (f"{HERE}:Stepping", "not a pass"),
        (f"{HERE}:INSTANCE{{most=2}}", "not a pass"),
        (f"{HERE}:Needing{{exact=1.0}}", "exact is of no type that text can give"),
        (
            "lhc.passes.decide.eligibility:ParityGate",
            "errors, tolerance must be given: write NAME{errors=…, tolerance=…}",
        ),
        ("nowhere:Pass{a=1}", "--pass nowhere:Pass: cannot be imported"),
    ],
)
def test_what_is_no_pass_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        pass_of(text)
    assert message in str(refused.value)


def test_a_strategy_with_options_is_a_class_with_other_defaults() -> None:
    assert strategy_class("milp") is Milp
    assert strategy_class(f"{HERE}:Stepping") is Stepping
    kind = strategy_class(f"{HERE}:Stepping{{step=4}}")
    assert issubclass(kind, Stepping)
    assert (kind.name, kind.__doc__, kind.judgements(12)) == ("stepping", "A strategy with an option.", 3)
    assert strategy_class("milp{most=4}").judgements(100) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("milp{mots=4}", "--strategy milp{mots=4}: no option 'mots'; nearest: most"),
        ("milp{judge=4}", "no option 'judge'"),
        ("lion{a=1}", "unknown strategy 'lion'; choose one of sensitivity"),
        (NAME, "not a strategy"),
    ],
)
def test_a_wrong_strategy_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        strategy_class(text)
    assert message in str(refused.value)
