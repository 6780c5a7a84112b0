"""Tables: one set of rows, as text, CSV, Markdown, LaTeX or HTML."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from lhc.errors import UsageError

__all__ = ["FORMATS", "Table"]


@dataclass(frozen=True)
class Table:
    """Rows of cells.

    Attributes:
        headers: column titles.
        rows: cells, as many as headers each.
        right: columns that are aligned to the right.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[int] = ()

    def render(self, form: str = "table") -> str:
        """The table in one of the `FORMATS`.

        Raises:
            UsageError: there is no such format.
        """
        if form not in FORMATS:
            raise UsageError(f"unknown format {form!r}; choose one of {', '.join(FORMATS)}")
        return FORMATS[form](self)

    def html(self) -> str:
        """For notebooks."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.headers)
        body = "".join(
            "<tr>" + "".join(self._html_cell(i, cell) for i, cell in enumerate(row)) + "</tr>" for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _html_cell(self, column: int, cell: str) -> str:
        align = "right" if column in self.right else "left"
        return f'<td style="text-align:{align}">{escape(cell)}</td>'


def _text(table: Table) -> str:
    lines = [list(table.headers), *[list(row) for row in table.rows]]
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
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([table.headers, *table.rows])
    return text.getvalue().rstrip("\n")


def _markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return (
            "| "
            + " | ".join(cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ") for cell in cells)
            + " |"
        )

    rule = "|" + "|".join("---:" if column in table.right else "---" for column in range(len(table.headers))) + "|"
    return "\n".join([line(table.headers), rule, *map(line, table.rows)])


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def _latex(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join("".join(_LATEX.get(c, c) for c in cell) for cell in cells) + r" \\"

    columns = "".join("r" if column in table.right else "l" for column in range(len(table.headers)))
    body = "\n".join(map(line, table.rows))
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\hline\n{line(table.headers)}\n\\hline\n{body}\n\\hline\n\\end{{tabular}}"
    )


FORMATS: Mapping[str, Callable[[Table], str]] = {
    "table": _text,
    "csv": _csv,
    "markdown": _markdown,
    "latex": _latex,
}
