"""Text from files as it is printed: what steers a terminal, or changes the order of letters, is shown and not sent.

Names of layers, summaries and paths come from models that anyone may have made. An escape sequence among them would set
the window's title or the clipboard; a carriage return would forge the line that it returns to.
"""

import re

__all__ = ["formula_free", "markdown_text", "one_line", "plain"]

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]")
_MARKUP = re.compile(r"[*`~]|(?<!\w)_|_(?!\w)")
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = r"[-+]?[0-9][0-9.,]*(?:[eE][-+]?[0-9]+)?(?: ?%)?"
_NUMBERS = re.compile(rf"{_NUMBER}(?: to {_NUMBER})?")
_BREAKS = re.compile(r"[\n\t]")


def plain(text: str) -> str:
    r"""A text of several lines; new lines and tabs stay.

    >>> plain("a\x1b]0;title\x07b"), plain("two\nlines")
    ('a\\x1b]0;title\\x07b', 'two\nlines')
    """
    return _CONTROLS.sub(_written, text)


def one_line(text: str) -> str:
    r"""A cell or a name; new lines too are shown.

    >>> one_line("name\nerror: forged")
    'name\\nerror: forged'
    """
    return _BREAKS.sub(_written, plain(text))


def markdown_text(text: str) -> str:
    """Text that means nothing in Markdown or HTML; underscores within words mean nothing anyway.

    >>> markdown_text("a<b>*c*d_e")
    'a&lt;b>&#42;c&#42;d_e'
    """
    escaped = one_line(text.replace("\n", " ")).replace("&", "&amp;").replace("<", "&lt;").replace("](", "]&#40;")
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", escaped)


def formula_free(cell: str) -> str:
    """A cell of CSV that no spreadsheet takes for a formula; numbers, and intervals of two, stay as they are.

    >>> formula_free("=1+1"), formula_free("-0.5"), formula_free("-0.5 to 1.2"), formula_free("conv1")
    ("'=1+1", '-0.5', '-0.5 to 1.2', 'conv1')
    """
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBERS.fullmatch(cell) else cell


def _written(found: "re.Match[str]") -> str:
    return found[0].encode("unicode_escape").decode()
