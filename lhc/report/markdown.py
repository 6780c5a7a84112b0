"""A report as Markdown, to be pasted into an issue, a wiki or a mail."""

import re
from collections.abc import Iterator

from lhc.report.content import PageTable, layer_table
from lhc.report.document import Report
from lhc.report.page_sections import sections
from lhc.report.statements import decision, statements, verdict
from lhc.support.tables import Table

__all__ = ["markdown"]

_MARKUP = re.compile(r"[*`~]|(?<!\w)_|_(?!\w)")


def markdown(report: Report) -> str:
    """The report's words and tables; charts are left out, their numbers are in the tables."""
    return "\n\n".join(filter(None, _parts(report))) + "\n"


def _parts(report: Report) -> Iterator[str]:
    yield f"# {_plain(report.model)} on {_plain(report.plan.hardware.name)}: {verdict(report.plan)[0]}"
    yield f"**{decision(report)}**"
    yield "\n".join(f"- **{name}**: {_plain(text)}" for name, text in statements(report))
    yield "\n".join(f"> {_plain(warning)}" for warning in report.warnings)
    if report.plan.layers:
        yield "## Layers"
        yield _table(layer_table(report))
    for section in sections(report):
        yield f"## {section.name}"
        yield from map(_plain, section.text)
        for table in section.tables:
            yield _plain(table.caption)
            yield _table(table)
        yield "\n".join(f"- {_plain(item)}" for item in section.items)
        yield "\n".join(f"- {name}: {_plain(text)}" for name, text in section.facts)
        yield from (f"```\n{command.replace('```', '')}\n```" for command in section.commands)


def _table(table: PageTable) -> str:
    headers = [name for name, _ in table.columns]
    numeric = [column for column, (_, numbers) in enumerate(table.columns) if numbers]
    return Table(headers, [[_plain(cell.text) for cell in row] for row in table.rows], numeric).render("markdown")


def _plain(text: str) -> str:
    """Text that means nothing in Markdown or HTML; underscores within words mean nothing anyway."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ").replace("](", "]&#40;")
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", escaped)
