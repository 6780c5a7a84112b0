"""Sphinx: a link of its own for every row of the reference tables, ``command-line.html#max-drop`` for example."""

from collections.abc import Iterator
from itertools import count

from docutils import nodes
from sphinx.application import Sphinx

__all__ = ["link_rows", "setup"]

PAGES = {"command-line": " options", "hardware-fields": ""}
"""Pages, and how the headings over their tables end."""


def link_rows(doctree: nodes.document, ending: str) -> None:
    """Let the code that a table's row begins with link to the row.

    The anchor is the first word of the code, ``max-drop`` for ``--max-drop X``; the second row of a word is
    ``max-drop-2``.
    """
    for row in list(doctree.findall(nodes.row)):
        cell = row.next_node(nodes.entry)
        code = None if cell is None else cell.next_node(nodes.literal)
        if code is None or not cell.astext().startswith(code.astext()) or not _heading(row).endswith(ending):
            continue
        word = nodes.make_id(code.astext().split("/")[0].split()[0])
        anchor = next(name for name in _numbered(word or "row") if name not in doctree.ids)
        row["ids"].append(anchor)
        doctree.ids[anchor] = row
        code.replace_self(nodes.reference("", "", code.deepcopy(), refid=anchor, internal=True))


def _numbered(word: str) -> Iterator[str]:
    yield word
    yield from (f"{word}-{number}" for number in count(2))


def _heading(row: nodes.row) -> str:
    """Title of the section that a row stands in."""
    parent = row.parent
    while not isinstance(parent, nodes.section):
        parent = parent.parent
    title = parent.next_node(nodes.title)
    return "" if title is None else str(title.astext())


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""

    def read(app: Sphinx, doctree: nodes.document) -> None:
        if app.env.docname in PAGES:
            link_rows(doctree, PAGES[app.env.docname])

    app.connect("doctree-read", read)
    return {"parallel_read_safe": True}
