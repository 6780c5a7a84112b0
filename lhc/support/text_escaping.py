"""Text from files as it is shown: what steers a terminal, changes the order of letters or is not seen is spelt out.

Names of layers, metrics and paths come from models that anyone may have made. An escape sequence among them would set
the window's title or the clipboard; a carriage return would forge the line that it returns to; marks of direction and
characters without a picture make a name look like another one. All outputs show text by `plain`, and by what their
format needs besides.
"""

import re
from html import escape
from unicodedata import normalize

_UNSEEN = re.compile(
    "["
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls of ASCII and of Latin-1, without new lines and tabs
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction of letters
    r"\xad\u034f\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\ufe00-\ufe0f\ufeff"  # nothing to be seen
    r"\u115f\u1160\u17b4\u17b5\u3164\uffa0\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # fillers, shorthand, music
    r"\U000e0000-\U000e0fff"  # tags and further selectors of variants
    r"\u2028\u2029\ud800-\udfff\ufff0-\ufffb\ufffe\uffff"  # ends of lines; what is no character
    "]"
)
_BREAKS = re.compile(r"[\n\t]")
_MARKUP = re.compile(
    r"[*`~&<]|(?<!\w)_|_(?!\w)"
    r"|(?<=\])[(\[:]"  # links and what they refer to
    r"|\\(?=[!-/:-@\[-`{-~])"
    r"|^[>=]|^[-+](?=\s|$)|^-(?=[-\s]+$)"  # quotations, lists and lines below headings
    r"|^#(?=#*(?:\s|$))|^\d(?=\d*[.)](?:\s|$))"  # headings and numbered lists
)
_NUMBER = r"[-+]?[0-9][0-9.,]*(?:[eE][-+]?[0-9]+)?(?: ?%)?"
_NUMBERS = re.compile(rf"{_NUMBER}(?: to {_NUMBER})?")
_FORMULAS = ("=", "+", "-", "@", "\u2212")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "{": r"\textbraceleft{}",  # BibTeX counts braces behind a backslash too
    "}": r"\textbraceright{}",
    **{character: f"\\{character}" for character in "&%$#_"},
}


def plain(text: str) -> str:
    r"""A text of several lines; new lines and tabs stay.

    >>> plain("a\x1b]0;title\x07b"), plain("two\nlines")
    ('a\\x1b]0;title\\x07b', 'two\nlines')
    """
    return _UNSEEN.sub(_written, text)


def one_line(text: str) -> str:
    r"""A cell or a name; new lines too are shown.

    >>> one_line("name\nerror: forged")
    'name\\nerror: forged'
    """
    return _BREAKS.sub(_written, plain(text))


def markdown_text(text: str) -> str:
    """A paragraph, item or cell that means nothing in Markdown or HTML; underscores within words mean nothing anyway.

    >>> markdown_text("a<b>*c*d_e")
    'a&lt;b>&#42;c&#42;d_e'
    """
    return _MARKUP.sub(_entity, one_line(text.replace("\n", " ")).lstrip())


def html_text(text: str) -> str:
    r"""Text within an element or an attribute of HTML or SVG.

    >>> html_text('<b title="\x1b">')
    '&lt;b title=&quot;\\x1b&quot;&gt;'
    """
    return escape(plain(text))


def latex_text(text: str) -> str:
    r"""A cell of LaTeX, or within the braces of a field of BibTeX.

    >>> print(latex_text("50 % of x_1 {"))
    50 \% of x\_1 \textbraceleft{}
    """
    return "".join(_LATEX.get(character, character) for character in one_line(text))


def json_text(document: str) -> str:
    r"""A JSON document with the same values, of which a terminal or an editor shows every character.

    >>> json_text('{"name": "a\u202e\U000e0041"}')
    '{"name": "a\\u202e\\udb40\\udc41"}'
    """
    return _UNSEEN.sub(_json_written, document)


def csv_cell(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; numbers, and intervals of two, stay as they are.

    >>> csv_cell("=1+1"), csv_cell("-0.5"), csv_cell("-0.5 to 1.2"), csv_cell("conv1")
    ("'=1+1", '-0.5', '-0.5 to 1.2', 'conv1')
    """
    shown = one_line(cell)
    begins = normalize("NFKC", shown).lstrip()[:1]  # full-width signs are signs
    return f"'{shown}" if begins in _FORMULAS and not _NUMBERS.fullmatch(shown.strip()) else shown


def _written(found: "re.Match[str]") -> str:
    return found[0].encode("unicode_escape").decode()


def _entity(found: "re.Match[str]") -> str:
    return {"&": "&amp;", "<": "&lt;"}.get(found[0], f"&#{ord(found[0])};")


def _json_written(found: "re.Match[str]") -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
