"""Passes and strategies as text: ``NAME{field=value, …}``, the options written as a TOML inline table.

NAME is ``module:Class``, or an entry point that an installed package has in the group ``lhc.passes`` or
``lhc.strategies``. Options are the fields of the frozen dataclass, each of its declared type, such as
``keep-small-digital{least=0.02}`` or ``mylab.passes:Keep{layers=["conv1", "conv2"], both=true}``.
"""

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from lhc.errors import UsageError
from lhc.options.declaration.option_fields import nearest
from lhc.passes.base import Pass
from lhc.passes.strategies.base import Strategy
from lhc.passes.strategies.registry import STRATEGIES, strategy_of
from lhc.support.installed_packages import installed, installed_names
from lhc.support.load_by_name import load_object

_GIVEN_BY_THE_SEARCH = frozenset(field.name for field in dataclasses.fields(Strategy))


def pass_of(given: object) -> Pass:
    """The pass that a text describes; a class is taken with its defaults, a pass as it is.

    Raises:
        UsageError: there is none of that name, or an option is unknown, missing, given twice or of another type.
    """
    where = f"--pass {given}"
    found, written = _named(given, "lhc.passes", "--pass") if isinstance(given, str) else (given, "")
    if isinstance(found, Pass) and not written:
        return found
    if not (isinstance(found, type) and issubclass(found, Pass)) or issubclass(found, Strategy):
        raise UsageError(f"{where}: not a pass; derive it from lhc.passes.Pass")
    values = _values(found, written, where)
    try:
        return found(**values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: cannot be made with these options: {error}") from error


def strategy_class(given: object) -> type[Strategy]:
    """The strategy that a text names; with options, a class of it that has them as defaults.

    Raises:
        UsageError: as of `pass_of`.
    """
    where = f"--strategy {given}"
    found, written = _named(given, "lhc.strategies", "--strategy") if isinstance(given, str) else (given, "")
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise UsageError(f"{where}: not a strategy; derive a class from lhc.passes.Strategy")
    values = _values(found, written, where, _GIVEN_BY_THE_SEARCH)
    if not values:
        return found
    fields = [(name, Any, dataclasses.field(default=value)) for name, value in values.items()]
    told = {"__module__": found.__module__, "__doc__": found.__doc__}
    return dataclasses.make_dataclass(found.__name__, fields, bases=(found,), namespace=told, frozen=True)


def _named(text: str, group: str, flag: str) -> tuple[object, str]:
    """The class that a text names, and its options as written."""
    name, brace, rest = text.partition("{")
    name = name.strip()
    if ":" in name:
        return load_object(name, flag), brace + rest
    if group == "lhc.strategies" and name in STRATEGIES:
        return STRATEGIES[name], brace + rest
    entry = installed(group, name)
    if entry is not None:
        return load_object(entry.value, flag), brace + rest
    if group == "lhc.strategies":
        return strategy_of(name), ""  # it refuses, and lists those that there are
    offered = f"; installed: {', '.join(installed_names(group))}" if installed_names(group) else ""
    raise UsageError(f"{flag} {name}: no package offers a pass of that name; write module:Class{offered}")


def _values(kind: type, written: str, where: str, elsewhere: frozenset[str] = frozenset()) -> dict[str, object]:
    """Options by field, of their declared types.

    Args:
        written: ``{field=value, …}``, or empty.
        elsewhere: fields that are no options.
    """
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    options = {field.name: field for field in fields if field.init and field.name not in elsewhere}
    found = _table(written, where) if written else {}
    for name in found.keys() - options:
        near = nearest(name, set(options)) or f"; it has {', '.join(options) or 'none'}"
        raise UsageError(f"{where}: no option {name!r}{near}")
    no_default = (dataclasses.MISSING, dataclasses.MISSING)
    missing = [name for name, one in options.items() if (one.default, one.default_factory) == no_default]
    missing = [name for name in missing if name not in found]
    if missing:
        wanted = ", ".join(f"{name}=…" for name in missing)
        raise UsageError(f"{where}: {', '.join(missing)} must be given: write NAME{{{wanted}}}, in quotes")
    return {name: _typed(kind, name, value, where) for name, value in found.items()}


def _table(written: str, where: str) -> Mapping[str, Any]:
    try:
        found = tomllib.loads(f"options = {written}")
    except tomllib.TOMLDecodeError as error:
        twice = str(error).startswith("Duplicate")
        wrong = "an option is given twice" if twice else f"cannot be read ({error})"
        raise UsageError(
            f'{where}: {wrong}; write NAME{{field=0.02, other="text"}}, in quotes for the shell'
        ) from error
    if set(found) != {"options"}:
        raise UsageError(f"{where}: nothing may come behind the options; repeat the flag for another one")
    table: Mapping[str, Any] = found["options"]
    return table


def _typed(kind: type, name: str, value: object, where: str) -> object:
    """A value of the field's declared type; as in JSON, a list is a tuple, and a text a path where one is wanted."""
    try:
        return TypeAdapter(get_type_hints(kind)[name]).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        wrong = error.errors()[0]["msg"]
        raise UsageError(
            f"{where}: {name} = {json.dumps(value, default=str)}: {wrong[0].lower()}{wrong[1:]}"
        ) from error
    except (NameError, PydanticSchemaGenerationError) as error:
        raise UsageError(f"{where}: {name} is of no type that text can give; make the pass in Python") from error
