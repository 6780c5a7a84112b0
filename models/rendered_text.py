"""English words drawn by the fonts that matplotlib brings: samples for networks that read pictures of text."""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lhc.models.g2p_en import DICTIONARY
from lhc.models.installed_files import package_folder
from lhc.models.zoo_entry import require

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif",
    "DejaVuSerif-Bold", "DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic",
)  # fmt: skip
Ink = npt.NDArray[np.float32]


def random_text(what: str, rng: np.random.Generator, words: int) -> str:
    """So many words of CMU's dictionary, in small or in capital letters, and now and then a number.

    Args:
        what: whom messages are about.
    """
    known = _words(what)
    chosen = [
        str(rng.integers(10_000)) if rng.random() < 0.15 else known[int(rng.integers(len(known)))] for _ in range(words)
    ]
    style = (str.lower, str.upper, str.title)[int(rng.integers(3))]
    return style(" ".join(chosen))


def draw_text(what: str, text: str, font: str, size: int) -> Ink:
    """How much ink a line of text has at each pixel, 0..1, ``(height, width)``, cut close around it.

    Args:
        what: whom messages are about.
        font: one of `FONTS`.
        size: of the letters, in pixels.
    """
    require(f"the pictures of {what}", "PIL", extra="zoo")
    from PIL import Image, ImageDraw

    face = _face(what, font, size)
    left, top, right, bottom = face.getbbox(text)
    image = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(image).text((2 - left, 2 - top), text, font=face, fill=255)
    ink = np.asarray(image, np.float32) / np.float32(255)
    rows, columns = (np.flatnonzero(ink.max(axis) > 0.05) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@cache
def _words(what: str) -> tuple[str, ...]:
    lines = DICTIONARY.find(what).read_text(encoding="utf-8").splitlines()
    return tuple(word for word in (line.split(" ", 1)[0] for line in lines) if word.isalpha() and 2 < len(word) < 11)


@cache
def _face(what: str, font: str, size: int) -> "FreeTypeFont":
    from PIL import ImageFont

    folder = package_folder(what, "matplotlib", "matplotlib")
    return ImageFont.truetype(str(folder / "mpl-data" / "fonts" / "ttf" / f"{font}.ttf"), size)
