"""A report as Markdown, to be pasted into an issue, a wiki or a mail."""

from collections.abc import Iterator

from lhc.report.document.page_content import PageSection, PageTable, layer_table
from lhc.report.document.report import Report
from lhc.report.html.sections import sections
from lhc.report.wording.placement import decision, statements, verdict
from lhc.support.tables import Table
from lhc.support.text_escaping import markdown_text, plain


def markdown(report: Report) -> str:
    """The report's words and tables; charts are left out, their numbers are in the tables."""
    return "\n\n".join(filter(None, _parts(report))) + "\n"


def _parts(report: Report) -> Iterator[str]:
    yield from heading_parts(report)
    if report.plan.layers:
        yield "## Layers"
        yield _table(layer_table(report))
    for section in sections(report):
        yield from markdown_section(section)


def heading_parts(report: Report) -> Iterator[str]:
    """Paragraphs of the first screen: verdict, decision, statements, warnings; some may be empty."""
    yield f"# {markdown_text(report.model)} on {markdown_text(report.plan.hardware.name)}: {verdict(report.plan)[0]}"
    yield f"**{markdown_text(decision(report))}**"
    yield "\n".join(f"- **{markdown_text(name)}**: {markdown_text(text)}" for name, text in statements(report))
    yield "\n".join(f"> {markdown_text(warning)}" for warning in report.warnings)


def markdown_section(section: PageSection) -> Iterator[str]:
    """Paragraphs of a section; some may be empty."""
    yield f"## {markdown_text(section.name)}"
    yield from map(markdown_text, section.text)
    for table in section.tables:
        yield markdown_text(table.caption)
        yield _table(table)
    yield "\n".join(f"- {markdown_text(item)}" for item in section.items)
    yield "\n".join(f"- {markdown_text(name)}: {markdown_text(text)}" for name, text in section.facts)
    yield from (f"```\n{plain(command).replace('```', '')}\n```" for command in section.commands)


def _table(table: PageTable) -> str:
    headers = [name for name, _ in table.columns]
    numeric = [column for column, (_, numbers) in enumerate(table.columns) if numbers]
    return Table(headers, [[cell.text for cell in row] for row in table.rows], numeric).render("markdown")
