"""The tables of options in command-line.md, made from the options themselves.

python docs/option_tables.py          say whether the page is what the options say; exit code 1 if not
python docs/option_tables.py --write  write it anew
"""

from made_part import MadePart

from lhc.cli.framework.command_builder import classes
from lhc.cli.framework.help import HEADINGS, NAMES
from lhc.options.declaration.option_fields import Option, options_of


def tables() -> str:
    """A heading and a table for every panel of the help; an option stands once for all commands that say it alike."""
    commands: dict[tuple[str, str], list[str]] = {}
    for command in NAMES:
        for one in (one for kind in classes()[command] for one in options_of(kind)):
            commands.setdefault((one.panel, _row(one)), []).append(command)
    found = []
    for panel in sorted({panel for panel, _ in commands}, key=HEADINGS.index):
        rows = [f"{row} {', '.join(taken)} |" for (under, row), taken in commands.items() if under == panel]
        found.append("\n".join([f"### {panel} options", "", "| option | default | | of |", "|---|---|---|---|", *rows]))
    return "\n\n".join(found)


def _row(one: Option) -> str:
    return f"| {_name(one)} | {_default(one)} | {_help(one)} |"


def _name(one: Option) -> str:
    if one.instead is not None:
        return f"`{one.name}=` in Python"
    if one.flag is None:
        return f"`{one.metavar or one.name.upper()}`".replace("|", "\\|")
    flag = one.flag if one.off is None else f"{one.flag}/{one.off}"
    short = f", {one.short}" if one.short else ""
    keyword = "" if one.result is not None or one.key.replace("-", "_") == one.name else f", in Python `{one.name}=`"
    return f"`{flag}{short}{f' {one.metavar}' if one.metavar else ''}`{keyword}".replace("|", "\\|")


def _default(one: Option) -> str:
    if one.required:
        return "required"
    empty = one.default is None or one.default == () or callable(one.default)
    return "" if empty else f"`{str(one.default).lower() if isinstance(one.default, bool) else one.default}`"


def _help(one: Option) -> str:
    told = one.unit == "s" and "seconds" in one.text
    unit = f" In {one.unit}." if one.unit and not told else ""
    return f"{one.text}{unit}".replace("|", "\\|")


if __name__ == "__main__":
    MadePart("command-line.md", "options", "option_tables.py").main(tables())
