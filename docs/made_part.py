"""A part of a page that a script makes from the code: between two comments, so that the rest is written by hand."""

import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MadePart"]


@dataclass(frozen=True)
class MadePart:
    """Where it is.

    Attributes:
        page: file in the folder of pages.
        name: of the comments, ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``.
        script: what makes it.
    """

    page: str
    name: str
    script: str

    def main(self, made: str) -> None:
        """With ``--write`` write it anew; else exit with 1 where the page has another one."""
        path = Path(__file__).parent / self.page
        begin, end = (f"<!-- {self.name}: {where} -->" for where in ("begin", "end"))
        text = path.read_text(encoding="utf-8")
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        wanted = f"{before}{begin}\n\n{made}\n\n{end}{after}"
        if "--write" in sys.argv[1:]:
            path.write_text(wanted, encoding="utf-8")
        elif text != wanted:
            sys.exit(f"docs/{self.page} differs from the code; run python docs/{self.script} --write")
