"""Look at the built site: every page of ``docs/`` is in it, under its own heading, and in the table of contents.

Sphinx keeps some names for itself (``search``, ``genindex``): a page of such a name is overwritten without a word, and
links to it lead to another page. So headings are compared, not names.

Usage: ``python docs/check_site.py build/docs``
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

PAGES = Path(__file__).parent


class _Page(HTMLParser):
    """First heading of a built page, and what its tables of contents lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.heading = ""
        self.links: set[str] = set()
        self._first = self._inside = self._entry = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "li":
            self._entry = found.get("class", "").startswith("toctree-")
        elif tag == "a" and self._entry:
            self.links.add(found.get("href", ""))
            self._entry = False
        elif tag == "a" and "headerlink" in found.get("class", ""):
            self._inside = False
        elif tag == "h1" and not self._first:
            self._first = self._inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "h1":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.heading += data


def problems(pages: Path, site: Path) -> list[str]:
    """What is missing of the pages (Markdown) in the site, a sentence each."""
    index = site / "index.html"
    if not index.is_file():
        return [f"{index} does not exist"]
    links = _Page(index.read_text("utf-8")).links
    found = []
    for page in sorted(pages.glob("*.md")):
        built = site / f"{page.stem}.html"
        if not built.is_file():
            found.append(f"{page.name} is not in the site")
            continue
        wanted = _heading(page.read_text("utf-8"))
        heading = _Page(built.read_text("utf-8")).heading.strip()
        if heading != wanted:
            found.append(f"{page.name} begins with {wanted!r}, {built.name} with {heading!r}: rename the page")
        if built.name not in links and built != index:
            found.append(f"{page.name} is in no table of contents of index.md")
    return found


def _heading(markdown: str) -> str:
    match = re.search(r"^# (.+)$", markdown, re.MULTILINE)
    return re.sub(r"[`*]", "", match[1]).strip() if match else ""


if __name__ == "__main__":
    if messages := problems(PAGES, Path(sys.argv[1])):
        sys.exit("\n".join(messages))
