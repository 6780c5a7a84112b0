"""Commands of the terminal from classes of options (`lhc.options`)."""

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from lhc.cli.framework.help import HELP_ALL, NAMES, Helped
from lhc.cli.framework.output import say
from lhc.errors import LhcError, UsageError
from lhc.options.declaration.config_file import read_config
from lhc.options.declaration.option_fields import Option, options_of

__all__ = ["Command", "classes", "given", "options_by_key", "own_command", "terminal_command"]

Command = Callable[..., None]
"""Takes one object of every class of options that it was made with."""

_COMMANDS: dict[str, Mapping[str, Option]] = {}
_CLASSES: dict[str, tuple[type, ...]] = {}
"""Of the commands that are loaded."""
_CONTEXT: ContextVar[typer.Context] = ContextVar("context")
"""Of the running command."""


def classes() -> Mapping[str, tuple[type, ...]]:
    """The classes of options of every command."""
    for name in NAMES:
        own_command(name)
    return _CLASSES


def own_command(name: str) -> Callable[..., None]:
    """One of lhc's commands; its function takes an object of each of its classes of options."""
    run = getattr(import_module(f"lhc.cli.{name}"), name)
    return terminal_command(name, run, *(one.annotation for one in inspect.signature(run).parameters.values()))


def options_by_key(*classes: type) -> dict[str, Option]:
    """The options that the command line has, by their key in a configuration file."""
    return {one.key: one for kind in classes for one in options_of(kind) if one.instead is None}


def terminal_command(name: str, run: Command, *classes: type) -> Callable[..., None]:
    """Function that typer makes a command of; its parameters are the options of these classes.

    Args:
        run: is given one object of every class; its docstring is the help, with examples from the first ``$`` on.
    """
    _COMMANDS[name], _CLASSES[name] = options_by_key(*classes), classes
    parameters = [_parameter(one) for kind in classes for one in options_of(kind) if one.instead is None]
    parameters += [_config(name), _help_all()]
    parameters.append(_keyword("context", typer.Context))

    def called(context: typer.Context, **values: Any) -> None:  # noqa: ANN401 - what typer read
        _CONTEXT.set(context)
        if values.get("verbose"):
            logging.getLogger("lhc").setLevel(logging.INFO)
        made = [_made(kind, values) for kind in classes]
        _check_written(_COMMANDS[name].values(), values)
        run(*made)

    rare = frozenset(one.name for one in _COMMANDS[name].values() if one.rare)
    called.__doc__, mark, examples = (inspect.getdoc(run) or "").partition("\n$ ")
    called.kind = type("Command", (Helped,), {"examples": mark[1:] + examples, "rare": rare})  # type: ignore[attr-defined]
    called.__name__ = name
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called


def given(name: str) -> bool:
    """Whether the running command was given an option, on its command line or in a file."""
    source = _CONTEXT.get().get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _made(kind: type, values: Mapping[str, Any]) -> object:
    """An options object of what was read."""
    return kind(**{one.name: values[one.name] for one in options_of(kind) if one.instead is None})


def _check_written(declared: Iterable[Option], values: Mapping[str, Any]) -> None:
    """Refuse to write two files in one place, or one over what the command reads.

    Raises:
        UsageError: so it would.
    """
    written: dict[Path, str] = {}
    for one in declared:
        if one.writes and values[one.name] is not None:
            name, path = one.short or one.flag or one.name, Path(values[one.name])
            if (other := written.setdefault(path.resolve(), name)) != name:
                raise UsageError(f"{path}: {other} and {name} name the same file; give each one of its own")
    read = chain.from_iterable(_files(values[one.name]) for one in declared if not one.writes)
    for file in read:
        if file in written:
            raise UsageError(f"{file}: the output is the input; choose another name with {written[file]}")


def _files(value: object) -> Iterator[Path]:
    """The existing files that a value, or one of a list of values, names."""
    for one in value if isinstance(value, list) else (value,):
        with suppress(OSError, ValueError, RuntimeError):  # text that is no path
            if isinstance(one, str | Path) and (path := Path(one).resolve()).is_file():
                yield path


def _parameter(one: Option) -> inspect.Parameter:
    default = inspect.Parameter.empty if one.required else None if one.repeats else one.default
    # Numbers and closed sets are checked where the options object is made: closed sets in the words of Python.
    reads = str | None if one.choices or one.number is not None else one.reads
    reads = one.reads | None if one.repeats else reads
    return _keyword(one.name, Annotated[reads, _info(one)], default)


def _keyword(name: str, annotation: object, default: object = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _info(one: Option) -> Any:  # noqa: ANN401 - typer's own classes
    complete = _completion(one)
    if one.flag is None:
        return typer.Argument(metavar=one.metavar, help=one.help, autocompletion=complete)
    flags = [one.flag if one.off is None else f"{one.flag}/{one.off}", *([one.short] if one.short else [])]
    return typer.Option(*flags, metavar=one.metavar, help=one.text, rich_help_panel=one.panel, autocompletion=complete)


def _completion(one: Option) -> Callable[[], tuple[str, ...]] | None:
    """Completion of a value, beside files: a closed set, or names of models or presets."""
    if one.names is None:
        return (lambda: one.choices) if one.choices else None

    def names() -> tuple[str, ...]:
        from lhc.hardware import preset_names
        from lhc.models import zoo_names

        return preset_names() if one.names == "presets" else zoo_names()

    return names


def _help_all() -> inspect.Parameter:
    """``--help-all``: the help with the options that are rarely needed."""

    def show(context: typer.Context, wanted: bool) -> None:
        if wanted:
            context.command.all_shown = True  # type: ignore[attr-defined]  # of `Helped`
            say(context.get_help())
            raise typer.Exit

    info = typer.Option("--help-all", help="Show all options and exit.", is_eager=True, callback=show)
    return _keyword(HELP_ALL, Annotated[bool, info], False)


def _config(command: str) -> inspect.Parameter:
    """``--config``: read before all others, which it gives their defaults."""

    def read(context: typer.Context, path: Path | None) -> Path | None:
        if path is not None:
            classes()  # loads all commands
            try:
                values = read_config(path, _COMMANDS)[command]
            except LhcError as error:
                raise typer.BadParameter(str(error)) from error
            context.default_map = {**(context.default_map or {}), **values}
        return path

    text = "Take options from this file (lhc.toml, or [tool.lhc] of a pyproject.toml); the command line counts more."
    info = typer.Option("--config", metavar="F.toml", help=text, is_eager=True, callback=read, rich_help_panel="Output")
    return _keyword("config", Annotated[Path | None, info], None)
