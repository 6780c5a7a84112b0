"""Declaration of an option as a field of a frozen dataclass.

The field carries name, type, default, unit, help and panel. The command line (`lhc.cli.framework.command_builder`), the
signature and docstring of the Python function (`lhc.options.declaration.python_signature`), the configuration file
(`lhc.options.declaration.config_file`), the table of docs/command-line.md and the command that a report names all come
from it.

Loads no numeric library: types that need one are named in strings, with what the command line reads beside them.
"""

import dataclasses
import inspect
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import wraps
from numbers import Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypedDict, TypeVar, Union, Unpack, dataclass_transform, get_args, get_origin

from lhc.errors import UsageError
from lhc.support.number_bounds import GREATEST, SMALLEST, in_range

__all__ = [
    "REQUIRED",
    "Option",
    "argument",
    "flags_given",
    "nearest",
    "option",
    "options",
    "options_of",
    "part",
    "refuse_unknown",
    "taken_by",
    "values_of",
]

T = TypeVar("T")
C = TypeVar("C")

_KEY = "lhc"
REQUIRED: Any = dataclasses.MISSING
_WRITTEN = {bool: "True or False", int: "a whole number", float: "a number", str: "text", Path: "a path"}


@dataclass(frozen=True)
class Option:
    """Declaration of one option.

    Attributes:
        name: keyword of the Python function.
        default: `REQUIRED` where there is none.
        help: one sentence.
        flag: ``--max-drop``; None for an argument by position.
        off: flag that says no to a yes-or-no option whose default is yes or open.
        short: ``-o``.
        metavar: stands for the value in help.
        unit: of the value: s, J, samples.
        least, most: bounds of a number, which may be reached.
        above: bound of a number, which may not.
        panel: heading under which help lists it.
        rare: whether only ``--help-all`` lists it.
        reads: type that the command line reads.
        convert: makes the value of text, and leaves a value as it is; of several ones, a tuple by default. Its errors
            begin after the option's name.
        kinds: classes of its value in Python, of each where it repeats; empty where only what uses it can tell.
        instead: what stands for it on the command line, where it is an option of the Python function alone.
        result: what stands for it in Python, where it is an option of the command line alone.
        names: what a value may be by name, beside a file; shells complete them.
        writes: whether its value is a file that the command writes.
    """

    name: str
    default: Any
    help: str
    flag: str | None
    off: str | None = None
    short: str | None = None
    metavar: str | None = None
    unit: str | None = None
    least: int | None = None
    most: int | None = None
    above: int | None = None
    panel: str = ""
    rare: bool = False
    reads: Any = str
    convert: Callable[[Any], Any] | None = None
    kinds: tuple[type, ...] = ()
    instead: str | None = None
    result: str | None = None
    names: Literal["models", "presets"] | None = None
    writes: bool = False

    @property
    def key(self) -> str:
        """Its name in a configuration file: the flag without dashes."""
        return (self.flag or self.name).removeprefix("--")

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is REQUIRED

    @property
    def repeats(self) -> bool:
        """Whether it may be given several times."""
        return get_origin(self.reads) is list

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that a closed set allows; empty for open ones."""
        members = (self.reads, *get_args(self.reads))
        return next((get_args(member) for member in members if get_origin(member) is Literal), ())

    @property
    def number(self) -> type[int] | type[float] | None:
        """The kind of number that it is; None where it is none."""
        members = (self.reads, *get_args(self.reads))
        return next((kind for kind in (int, float) if kind in members), None)

    @property
    def text(self) -> str:
        """Its help, with the values of a closed set where the sentence does not name them all."""
        if all(choice in self.help for choice in self.choices):
            return self.help
        return f"{self.help} One of {', '.join(self.choices)}."

    def take(self, value: object) -> object:
        """The option's own value, of what the command line read or a Python function was given.

        Raises:
            UsageError: of another type, or a text that means none.
        """
        if value is self.default or self.instead is not None:
            return value
        if value is None and (self.repeats or self.default is None):
            return self.default
        if getattr(value, "shape", None) == () and hasattr(value, "item"):
            value = value.item()  # an array without axes is one value
        name, kind = self.flag or self.name, self.number
        if self.repeats and (isinstance(value, str) or not isinstance(value, Collection | Iterator)):
            value = (value,)
        if self.convert is not None:
            try:
                value = self.convert(value)
            except UsageError as error:
                raise UsageError(f"{name} {error}") from error
        elif kind is not None:
            try:
                value = _number(kind, value, self.unit is None)
            except (TypeError, ValueError, OverflowError) as error:
                unit = "" if self.unit is None else f", in {self.unit}"
                raise UsageError(f"{name} {value!r}: write {_WRITTEN[kind]}{unit}") from error
        elif isinstance(value, str) and Path in self.kinds and str not in self.kinds:
            value = Path(value)
        several = value if self.repeats and isinstance(value, tuple) else (value,)
        if self.kinds and not all(_is(one, self.kinds) for one in several):
            wanted = [text for kind, text in _WRITTEN.items() if kind in self.kinds]
            raise UsageError(f"{name} {value!r}: write {' or '.join(wanted)}")
        return value

    def check(self, value: object) -> None:
        """Refuse a value that is out of the closed set, the range of numbers, or the bounds.

        Raises:
            UsageError: so it is.
        """
        name, unit = self.flag or self.name, "" if self.unit is None else f" {self.unit}"
        if self.choices and value is not None and value not in self.choices:
            raise UsageError(f"{name} {value!r}: choose {', '.join(self.choices)}")
        for number in value if isinstance(value, list | tuple) else (value,):
            if not isinstance(number, int | float):
                continue
            if not in_range(number):
                raise UsageError(f"{name} {value}: a number is 0 or of a magnitude of {SMALLEST:g} to {GREATEST:g}")
            if self.least is not None and number < self.least:
                raise UsageError(f"{name} must be at least {self.least}{unit}, got {number}")
            if self.most is not None and number > self.most:
                raise UsageError(f"{name} must be at most {self.most:,}{unit}, got {number}")
            if self.above is not None and number <= self.above:
                raise UsageError(f"{name} must be above {self.above}{unit}, got {number}")


def _is(value: object, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) or (float in kinds and isinstance(value, Real))


def _number(kind: type[int] | type[float], value: Any, percent: bool) -> int | float:  # noqa: ANN401 - others are refused
    """A number of that kind; where it may be in percent, 90% is 0.9."""
    if isinstance(value, str):
        text = value.replace("_", "no digit")  # Python takes 1_0 for 10
        return float(text[:-1]) / 100 if kind is float and percent and text.endswith("%") else kind(text)
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value) if kind is int else float(value)


class Said(TypedDict, total=False):
    """Keywords of a declaration beside help and default; see `Option`."""

    flag: str | None
    off: str | None
    short: str | None
    metavar: str | None
    unit: str | None
    least: int | None
    most: int | None
    above: int | None
    rare: bool
    reads: object
    convert: Callable[[Any], Any] | None
    instead: str | None
    result: str | None
    names: Literal["models", "presets"] | None
    writes: bool


def option(help: str, *, default: T, kw_only: bool = True, **said: Unpack[Said]) -> T:
    """A field of an options class; ``help`` is one sentence.

    Args:
        default: its value where it is not given.
        kw_only: False: also an argument by position of the Python function.
        said: the rest of `Option`; by default the flag is the field's name with dashes, and the command line reads
            the field's own type.
    """
    metadata = {_KEY: {"help": help, "positional": False, **said}}
    field: T = dataclasses.field(default=default, kw_only=kw_only, metadata=metadata)
    return field


def argument(
    help: str,
    *,
    kw_only: Literal[False],
    default: Any = REQUIRED,  # noqa: ANN401 - of any type, as dataclasses.field has it
    **said: Unpack[Said],
) -> Any:  # noqa: ANN401
    """A field that both the command line and the Python function take by position.

    Args:
        kw_only: type checkers look for it here.
    """
    metadata = {_KEY: {"help": help, "positional": True, **said}}
    return dataclasses.field(default=default, kw_only=kw_only, metadata=metadata)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option, argument))
def options(cls: type[C]) -> type[C]:
    """Make a frozen dataclass of options; its attribute ``PANEL`` is the heading of those that it declares.

    Values are converted (`Option.take`) and checked when an object is made: closed sets, the bounds of numbers, then
    by ``__post_init__`` of every class that the class is made of.
    """
    own_check = cls.__dict__.get("__post_init__")
    if own_check is not None:
        _CHECKS[cls.__qualname__, cls.__module__] = own_check
    cls.__post_init__ = _check  # type: ignore[attr-defined]  # a dataclass calls it
    made = dataclass(frozen=True, kw_only=True)(cls)
    made.__init__ = _refusing(made, made.__init__)  # type: ignore[method-assign]  # each class has one of its own
    own = inspect.get_annotations(cls)
    for field in dataclasses.fields(made):  # type: ignore[arg-type]  # it is one now
        if field.name in own:
            _DECLARED[made, field.name] = _declared(made, field)
    return made


_CHECKS: dict[tuple[str, str], Callable[[Any], None]] = {}


def _refusing(cls: type, make: Callable[..., None]) -> Callable[..., None]:
    @wraps(make)
    def init(self: object, *args: object, **given: object) -> None:
        refuse_unknown(cls.__name__, cls, given)
        make(self, *args, **given)

    return init


def refuse_unknown(called: str, cls: type, given: Iterable[str]) -> None:
    """Refuse keywords that a class has no options for.

    Args:
        called: the class, or the function that takes its options.

    Raises:
        UsageError: there is one; the message names the option of that flag, else the nearest.
    """
    names = {one.name: one.key.replace("-", "_") for one in options_of(cls)}
    for word in given:
        if word not in names:
            same = [name for name, flag in names.items() if flag == word.replace("-", "_")]
            near = f"; here it is {same[0]}" if same else nearest(word, set(names))
            raise UsageError(f"{called}() has no keyword {word!r}{near}")


def nearest(key: str, known: set[str]) -> str:
    """The end of an error: the names that are nearest to an unknown one; empty where none is near."""
    near = get_close_matches(key, sorted(known), n=3, cutoff=0.5)
    return f"; nearest: {', '.join(near)}" if near else ""


def _check(made: object) -> None:
    for one in options_of(type(made)):
        value = one.take(getattr(made, one.name))
        object.__setattr__(made, one.name, value)
        one.check(value)
    for kind in reversed(type(made).__mro__):
        check = _CHECKS.get((kind.__qualname__, kind.__module__))
        if check is not None:
            check(made)


_DECLARED: dict[tuple[type, str], Option] = {}


def _declared(cls: type, field: "dataclasses.Field[Any]") -> Option:
    said = dict(field.metadata[_KEY])
    flag = None if said.pop("positional") else said.get("flag") or f"--{field.name.replace('_', '-')}"
    said.pop("flag", None)
    reads = said.pop("reads", None) or field.type
    if isinstance(reads, str) and said.get("instead") is None:
        raise TypeError(f"{cls.__name__}.{field.name}: say with reads= what the command line reads")
    if get_origin(reads) is list:
        said = {"convert": tuple} | said
    said = {"kinds": _kinds(field.type), "panel": getattr(cls, "PANEL", "")} | said
    return Option(name=field.name, default=field.default, flag=flag, reads=reads, **said)


def _kinds(declared: object) -> tuple[type, ...]:
    """The classes of a field's type; none where it names types of heavy libraries, or is no union of classes."""
    origin = get_origin(declared)
    members = get_args(declared) if origin in (Union, UnionType, Sequence, tuple) else (declared,)
    found = tuple(one for one in members if isinstance(one, type))
    whole = all(isinstance(one, type) or one is ... for one in members)
    return found if whole and found != (NoneType,) else ()


def options_of(cls: type) -> Iterator[Option]:
    """The options of a class, in the order of its fields; the nearest declaration of a name counts."""
    for field in dataclasses.fields(cls):
        yield next(found for base in cls.__mro__ if (found := _DECLARED.get((base, field.name))) is not None)


def values_of(chosen: object) -> Iterator[tuple[Option, Any]]:
    """The options of an object with their values."""
    for one in options_of(type(chosen)):
        yield one, getattr(chosen, one.name)


def flags_given(chosen: object, names: Collection[str]) -> list[str]:
    """Flags of those of the named options that are not at their default."""
    return [str(one.flag) for one, value in values_of(chosen) if one.name in names and value != one.default]


def taken_by(function: Callable[..., object], chosen: object) -> dict[str, Any]:
    """The options that a function has keywords for, by name."""
    names = inspect.signature(function).parameters
    return {one.name: value for one, value in values_of(chosen) if one.name in names}


def part(chosen: object, kind: type[C], **instead: object) -> C:
    """The options of a class out of those of a command; what the command does not have keeps its default.

    Args:
        instead: values of options that the command has otherwise, such as several machines where the class takes one.
    """
    found = {one.name: getattr(chosen, one.name) for one in options_of(kind) if hasattr(chosen, one.name)}
    return kind(**(found | instead))
