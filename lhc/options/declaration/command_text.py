"""Options as text: the command that says the same, and the table of the documentation."""

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lhc.options.declaration.option_fields import Option, options_of, values_of
from lhc.options.shared import Execution
from lhc.options.training import Checkpointing

__all__ = ["command_line", "flags_of", "made_by"]

_NOT_TEXT = "…"
_FILES = ("MODEL", "DATA", "H", "F.yaml")
"""Metavars of options whose value may be the path of a file."""


def command_line(command: str, chosen: object) -> str:
    """The shell command with these options; defaults are left out, and objects that are no text are shown as ``…``."""
    words = ["lhc", command, *flags_of(chosen)]
    return shlex.join(words).replace(shlex.quote(_NOT_TEXT), _NOT_TEXT)


def made_by(command: str, chosen: object, cut_short: bool = False) -> str:
    """The command that a result names: the same from every folder, whatever carried out the work.

    Args:
        chosen: its options; of files, only their names are told.
        cut_short: its ``--timeout`` left something undone, so that it belongs to what made the result.
    """
    beside = {one.name for kind in (Execution, Checkpointing) for one in options_of(kind)}
    beside -= {"timeout"} if cut_short else set()
    files = {
        option.name: Path(value).name
        for option, value in values_of(chosen)
        if isinstance(value, Path)
        or (isinstance(value, str) and (option.metavar in _FILES or Path(value).is_absolute()))
    }
    defaults = {option.name: option.default for option, _ in values_of(chosen) if option.name in beside}
    return command_line(command, replace(chosen, **(files | defaults)))  # type: ignore[type-var]  # of a dataclass


def flags_of(chosen: object, *kinds: type) -> Iterator[str]:
    """The words of a command line for options that are not at their defaults.

    Args:
        kinds: only the options of these classes; all where there are none.
    """
    wanted = {one.name for kind in kinds for one in options_of(kind)}
    for option, value in values_of(chosen):
        if (
            option.instead is None
            and (option.required or value != option.default)
            and (not kinds or option.name in wanted)
        ):
            yield from _words(option, value)


def _words(option: Option, value: object) -> Iterator[str]:
    values = value if option.repeats and isinstance(value, list | tuple) else [value]
    for one in values:
        if option.flag is None:
            yield _text(one)
        elif isinstance(one, bool):
            yield option.flag if one else option.off or f"--no-{option.key}"
        else:
            yield from (option.flag, _text(one))


def _text(value: object) -> str:
    if isinstance(value, int | float):
        return f"{value:.15g}" if isinstance(value, float) else str(value)
    if isinstance(value, list) and value:
        return ",".join(map(_text, value))  # times
    return str(value) if isinstance(value, str | Path) else _NOT_TEXT
