"""The files of a sweep: its table as CSV, Markdown and JSON, and plots, in a folder of their own."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from lhc.errors import UsageError
from lhc.report.charts.sweep_charts import sweep_svg
from lhc.support.files import check_writable, write_file

if TYPE_CHECKING:
    from lhc.report.tables.sweep_table import SweepResult

_FILES = ("sweep.csv", "sweep.md", "sweep.json", "sweep.svg")
_SCHEMA = {"schema_version": 1}


def check_sweep_folder(folder: Path, name: str, force: bool) -> None:
    """Refuse a folder whose files a sweep of this name did not write, before any run.

    Raises:
        UsageError: so it is (unless ``force``), or it cannot be written.
    """
    held = [file for file in _FILES if (folder / file).exists()]
    if held and not force and _sweep_in(folder) != name:
        raise UsageError(
            f"{folder / held[0]}: was not written by a sweep named {name!r}; choose another folder (-o), or replace it"
            " by --force"
        )
    place = folder if folder.exists() else folder.absolute().parent
    if not place.is_dir():
        raise UsageError(f"{folder}: is no folder in an existing one; choose another (-o)")
    for file in _FILES:
        check_writable(place / file)


def save_sweep(result: "SweepResult", folder: Path, force: bool = False) -> tuple[Path, ...]:
    """Write the table as ``sweep.csv``, ``sweep.md`` and ``sweep.json``, and plots as ``sweep.svg`` if there are any.

    Args:
        folder: is made where there is none.
        force: replace files that are not of a sweep of this name.

    Raises:
        UsageError: as `check_sweep_folder` does.
    """
    check_sweep_folder(folder, result.name, force)
    folder.mkdir(exist_ok=True)
    table = result.as_table()
    texts = {
        "sweep.csv": table.render("csv"),
        "sweep.md": f"{table.render('markdown')}\n\n{result.summary}",
        "sweep.json": json.dumps({**_SCHEMA, **result.document()}, indent=1, allow_nan=False),
        "sweep.svg": sweep_svg(result),
    }
    written = []
    for file, text in texts.items():
        if text:
            data = f"{text.rstrip()}\n".encode()
            write_file(folder / file, lambda opened, data=data: opened.write(data))  # type: ignore[misc]
            written.append(folder / file)
        else:
            (folder / file).unlink(missing_ok=True)  # of an earlier state of the same sweep
    return tuple(written)


def _sweep_in(folder: Path) -> str | None:
    """Name of the sweep that wrote a folder."""
    try:
        found = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
        name = found["sweep"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None
