"""Options in a file: ``lhc.toml``, or the table ``[tool.lhc]`` of a ``pyproject.toml``.

Keys are flags without their dashes. What stands at the top counts for every command that has such an option, what
stands under a command's name for that command; the command line counts more than both.

    max-drop = "1%"

    [partition]
    strategy = "milp"
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lhc.errors import ConfigError, UsageError
from lhc.options.declaration.option_fields import Option, nearest

__all__ = ["checked_value", "read_config", "read_toml"]

Commands = Mapping[str, Mapping[str, Option]]
"""Command -> key in the file -> option."""


def read_config(path: Path, commands: Commands) -> dict[str, dict[str, Any]]:
    """Values by command and option's name.

    Raises:
        UsageError: no such file.
        ConfigError: not TOML, or a key that no command has; the message names the nearest.
    """
    if not path.is_file():
        raise UsageError(f"--config {path}: no such file")
    found = read_toml(path)
    if path.name == "pyproject.toml":
        found = found.get("tool", {}).get("lhc", {})
    values: dict[str, dict[str, Any]] = {command: {} for command in commands}
    known = {key for options in commands.values() for key in options}
    for key, value in found.items():
        if isinstance(value, dict):
            continue
        if key not in known:
            raise ConfigError(f"{path}: no command has an option {key!r}{nearest(key, known | set(commands))}")
        taking = {command: options[key] for command, options in commands.items() if key in options}
        several = isinstance(value, list)
        mixed = len({one.repeats for one in taking.values()}) > 1
        for command, one in taking.items():
            if mixed and several and not one.repeats:
                continue  # several values are for the commands that take several
            given = [value] if mixed and one.repeats and not several else value
            values[command][one.name] = checked_value(one, given, f"{path}: {key}")
    for command, table in found.items():
        if not isinstance(table, dict):
            continue
        if command not in commands:
            raise ConfigError(f"{path}: there is no command {command!r}{nearest(command, set(commands))}")
        for key, value in table.items():
            if key not in commands[command]:
                near = nearest(key, set(commands[command]))
                raise ConfigError(f"{path}: lhc {command} has no option {key!r}{near}")
            option = commands[command][key]
            values[command][option.name] = checked_value(option, value, f"{path}: {command}.{key}")
    return values


def read_toml(path: Path) -> dict[str, Any]:
    """The document of a file.

    Raises:
        ConfigError: it is not TOML.
    """
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error


def checked_value(option: Option, value: object, where: str) -> str | bool | list[str]:
    """The value as the command line would read it; yes-or-no options are true or false, repeated ones are lists.

    Raises:
        ConfigError: it is of another kind; the message begins with ``where``.
    """
    yes_or_no = option.reads is bool or option.reads == bool | None
    if option.repeats != isinstance(value, list) or yes_or_no != isinstance(value, bool) or isinstance(value, dict):
        wanted = "a list" if option.repeats else "true or false" if yes_or_no else "one text or number"
        raise ConfigError(f"{where}: write {wanted}, got {value!r}")
    if isinstance(value, list):
        return [str(item) for item in value]
    return value if isinstance(value, bool) else str(value)
