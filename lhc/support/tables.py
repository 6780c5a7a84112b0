"""Tables: one set of rows, as text, CSV, Markdown, LaTeX or HTML."""

import csv
import io
import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lhc.errors import UsageError
from lhc.support.text_escaping import csv_cell, html_text, latex_text, markdown_text, one_line


def terminal_width() -> float:
    """Characters that a line of stdout has room for: as many as it likes where that is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else math.inf


@dataclass(frozen=True)
class Table:
    """Rows of cells.

    Attributes:
        rows: cells, as many as headers each.
        right: columns that are aligned to the right.
        spare: columns that a narrow terminal does without, the least important first.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[int] = ()
    spare: Sequence[int] = ()

    def fitted(self, width: float, complete: str = "--format csv") -> "tuple[Table, str]":
        """The table without as many of its spare columns as make it fit, and a line that names these.

        Args:
            width: in characters.
            complete: the option that shows all columns.
        """
        left_out: list[int] = []
        widths = [max(len(one_line(line[i])) for line in (self.headers, *self.rows)) for i in range(len(self.headers))]
        for column in self.spare:
            kept = [i for i in range(len(widths)) if i not in left_out]
            if sum(widths[i] for i in kept) + 2 * (len(kept) - 1) <= width:
                break
            left_out.append(column)
        kept = [i for i in range(len(self.headers)) if i not in left_out]
        right = [at for at, i in enumerate(kept) if i in self.right]
        narrow = Table([self.headers[i] for i in kept], [[row[i] for i in kept] for row in self.rows], right)
        names = ", ".join(self.headers[i] for i in sorted(left_out))
        return narrow, f"not shown for lack of room: {names} ({complete} has all)" if left_out else ""

    def render(self, form: str = "table") -> str:
        """The table in one of the `FORMATS`.

        Raises:
            UsageError: there is no such format.
        """
        if form not in FORMATS:
            raise UsageError(f"unknown format {form!r}; choose one of {', '.join(FORMATS)}")
        return FORMATS[form](self)

    def html(self) -> str:
        """The table as HTML, for notebooks."""
        head = "".join(f"<th>{html_text(cell)}</th>" for cell in self.headers)
        body = "".join(
            "<tr>" + "".join(self._html_cell(i, cell) for i, cell in enumerate(row)) + "</tr>" for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _html_cell(self, column: int, cell: str) -> str:
        align = "right" if column in self.right else "left"
        return f'<td style="text-align:{align}">{html_text(cell)}</td>'


def _text(table: Table) -> str:
    lines = [list(map(one_line, cells)) for cells in (table.headers, *table.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.headers))]

    def render(line: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if column in table.right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([render(lines[0]), rule, *map(render, lines[1:])])


def _csv(table: Table) -> str:
    """For programs: numbers without separators, a share as its hundredths with % in the header, no dash for nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    shares = {i for i in table.right if any(row[i].endswith(" %") for row in table.rows)}
    headers = [csv_cell(f"{header} (%)" if i in shares else header) for i, header in enumerate(table.headers)]
    numbers = set(table.right)
    rows = [[_csv_cell(cell, i in numbers) for i, cell in enumerate(row)] for row in table.rows]
    writer.writerows([headers, *rows])
    return text.getvalue().rstrip("\n")


def _csv_cell(cell: str, number: bool) -> str:
    if number and cell == "-":
        return ""
    plain = cell.removesuffix(" %").replace(",", "") if number else cell
    return csv_cell(plain if _is_number(plain) else cell)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(markdown_text(cell).replace("\\", "\\\\").replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "|".join("---:" if column in table.right else "---" for column in range(len(table.headers))) + "|"
    return "\n".join([line(table.headers), rule, *map(line, table.rows)])


def _latex(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(latex_text, cells)) + r" \\"

    columns = "".join("r" if column in table.right else "l" for column in range(len(table.headers)))
    body = "\n".join(map(line, table.rows))
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\hline\n{line(table.headers)}\n\\hline\n{body}\n\\hline\n\\end{{tabular}}"
    )


FORMATS: Mapping[str, Callable[[Table], str]] = {"table": _text, "csv": _csv, "markdown": _markdown, "latex": _latex}
