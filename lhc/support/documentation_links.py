"""Links to pages of the documentation, as messages name them."""

import sysconfig
from pathlib import Path


def page(name: str) -> str:
    """A page as users can open it: in the checkout that lhc runs from, else where its wheel put it.

    Args:
        name: of the page, without its ending.
    """
    folders = Path(__file__).resolve().parents[2] / "docs", Path(sysconfig.get_path("data"), "share", "doc", "lhc")
    found = [path for folder in folders if (path := folder / f"{name}.md").is_file()]
    return str(found[0]) if found else f"page {name} of lhc's documentation"
