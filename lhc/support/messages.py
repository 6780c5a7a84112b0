"""Places of the documentation's pages that messages name, and the level of notes that are no warnings."""

import sysconfig
from pathlib import Path

__all__ = ["NOTE", "page"]


def page(name: str) -> str:
    """A page as users can open it: in the checkout that lhc runs from, else where its wheel put it.

    Args:
        name: of the page, without its ending.
    """
    folders = Path(__file__).resolve().parents[2] / "docs", Path(sysconfig.get_path("data"), "share", "doc", "lhc")
    found = [path for folder in folders if (path := folder / f"{name}.md").is_file()]
    return str(found[0]) if found else f"page {name} of lhc's documentation"


NOTE = 25
"""Between ``logging.INFO``, which ``-v`` shows, and ``logging.WARNING``."""
