"""PaddleOCR's text detector: boxes around the lines of text in a picture (PP-OCRv4, 2023; DB, M. Liao et al., 2020).

1.2 million weights, ``ch_PP-OCRv4_det``, in the Python package ``rapidocr-onnxruntime`` (Apache-2.0, as is PaddleOCR).
The network gives every pixel the probability that it is of a line's core; boxes are what PaddleOCR makes of them:
connected pixels above 0.3, with a mean of at least 0.5, grown by 1.6 times area over perimeter.

Samples are pieces of scikit-image's photographs (licences in its ``data/README.txt``), 192 x 192 pixels, with one to
four words drawn on plates that hide 60 % of what is behind. **The words are drawn, so boxes are known exactly.** A box
is found where one overlaps it by half or more (intersection over union); the metric is F1 of a picture's boxes, its
mean over pictures: 82 %. The authors state an Hmean of 77 % for printed English, of their own pictures.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from lhc.models.installed_files import InstalledFile, PackageEntry, folded, package_folder
from lhc.models.rendered_text import FONTS, draw_text, random_text
from lhc.models.zoo_entry import require
from lhc.samples.metrics import Array, Metric, Scores
from lhc.samples.task import Task

if TYPE_CHECKING:
    import onnx

SIDE, PICTURES, LINES = 192, 200, 4
BACKGROUNDS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "moon")
PIXEL, BOX, GROWTH, LEAST = 0.3, 0.5, 1.6, 3
"""Thresholds of pixels and boxes, growth of boxes, and the least side of one, of PaddleOCR's post-processing."""
OVERLAP = 0.5
PLATE = 0.6
"""How much of a picture the plate hides that a line stands on."""
Boxes = npt.NDArray[np.float64]
"""First row and column, and those behind the last, ``(n, 4)``."""


class PpocrDet(PackageEntry):
    """Boxes of text: 62 convolutions, a third of them a channel at a time, and two transposed ones."""

    name: ClassVar[str] = "ppocr-det"
    description: ClassVar[str] = "PP-OCRv4, boxes of text drawn into photographs, F1; needs lhc[zoo]"
    max_drop: ClassVar[float] = 0.01
    weights: ClassVar[InstalledFile] = InstalledFile(
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime",
        "models/ch_PP-OCRv4_det_infer.onnx",
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    )

    def built(self, path: Path) -> "onnx.ModelProto":
        """The network for pictures of 192 x 192 pixels, its batch-norms folded."""
        return folded(path, {"x": ("batch", 3, SIDE, SIDE)})

    def task(self) -> Task:
        """200 pictures, judged by F1 of their boxes."""
        rng = np.random.default_rng(0)
        photographs = [_photograph(self.name, name) for name in BACKGROUNDS]
        pictures = np.empty((PICTURES, 3, SIDE, SIDE), np.float32)
        boxes = np.zeros((PICTURES, LINES, 4))
        for row in range(PICTURES):
            picture, found = _picture(self.name, photographs[row % len(photographs)], rng)
            pictures[row] = (picture - 0.5) / 0.5
            boxes[row, : len(found)] = found
        order = rng.permutation(PICTURES)
        return Task({"x": pictures[order]}, boxes[order], BOX_F1)


def box_f1(outputs: Array, targets: Boxes) -> Scores:
    """F1 of the boxes of each picture.

    Args:
        outputs: probabilities of pixels, ``(n, 1, height, width)``.
        targets: boxes, ``(n, most, 4)``; those without area do not count.
    """
    return np.array([_f1(boxes_of(map_), wanted) for map_, wanted in zip(outputs[:, 0], targets, strict=True)])


BOX_F1 = Metric("box-f1", True, True, box_f1, percent=True, classes=False)


def boxes_of(probabilities: npt.NDArray[Any]) -> Boxes:
    """Upright boxes of a picture's probabilities ``(height, width)``, as PaddleOCR finds them."""
    from scipy import ndimage

    dilated = ndimage.binary_dilation(probabilities > PIXEL, np.ones((2, 2), bool))
    labels, _ = ndimage.label(dilated, np.ones((3, 3)))
    found = []
    for rows, columns in ndimage.find_objects(labels):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if min(height, width) < LEAST or probabilities[rows, columns].mean() < BOX:
            continue
        grown = height * width * GROWTH / (2 * (height + width))
        found.append([rows.start - grown, columns.start - grown, rows.stop + grown, columns.stop + grown])
    return np.clip(np.array(found).reshape(-1, 4), 0, np.tile(probabilities.shape, 2))


def _f1(found: Boxes, targets: Boxes) -> float:
    wanted = targets[targets[:, 2] > targets[:, 0]]
    if not len(found):
        return 0.0
    low = np.maximum(found[:, None, :2], wanted[None, :, :2])
    high = np.minimum(found[:, None, 2:], wanted[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (found, wanted)]
    overlap = shared / (areas[0][:, None] + areas[1][None] - shared)
    # Above a half, no box overlaps two that do not overlap each other.
    hits = int((overlap >= OVERLAP).any(0).sum())
    return 2 * hits / (len(found) + len(wanted))


def _photograph(what: str, name: str) -> npt.NDArray[np.float32]:
    """A photograph of scikit-image, 0..1, ``(height, width, 3)``."""
    require(f"the pictures of {what}", "PIL", extra="zoo")
    from PIL import Image

    path = package_folder(what, "scikit-image", "skimage") / "data" / f"{name}.png"
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float32) / np.float32(255)


def _picture(
    what: str, photograph: npt.NDArray[np.float32], rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], list[tuple[int, int, int, int]]]:
    """A piece of a photograph with lines of text in rows of their own: ``(3, side, side)``, and their boxes."""
    top, left = (int(rng.integers(size - SIDE + 1)) for size in photograph.shape[:2])
    piece = photograph[top : top + SIDE, left : left + SIDE].copy()
    boxes = []
    row = int(rng.integers(4, 30))
    for _ in range(int(rng.integers(1, LINES + 1))):
        font = FONTS[int(rng.integers(len(FONTS)))]
        ink = draw_text(what, random_text(what, rng, 1), font, int(rng.integers(20, 36)))
        ink = ink[:, : SIDE - 8]
        height, width = ink.shape
        if row + height > SIDE - 4:
            break
        column = int(rng.integers(4, SIDE - 3 - width))
        colour, plate = (rng.uniform(low, low + 0.3, 3).astype(np.float32) for low in rng.permutation((0.0, 0.7)))
        sign = piece[row - 4 : row + height + 4, column - 4 : column + width + 4]
        sign[:] = (1 - PLATE) * sign + PLATE * plate
        place = piece[row : row + height, column : column + width]
        place[:] = place * (1 - ink[..., None]) + colour * ink[..., None]
        boxes.append((row, column, row + height, column + width))
        row += height + int(rng.integers(8, 40))
    return piece.transpose(2, 0, 1), boxes
