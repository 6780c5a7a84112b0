"""PaddleOCR's text direction classifier: whether a line of text stands on its head (PP-OCR, Y. Du et al., 2020).

A MobileNetV3 of 135,000 weights, ``ch_ppocr_mobile_v2.0_cls``, in the Python package ``rapidocr-onnxruntime``
(Apache-2.0, as is PaddleOCR).

Samples are words of CMU's dictionary, drawn by eleven fonts, every second one turned by 180 degrees, in noise and with
little contrast. **They are drawn, not photographed**; 90 % of them are told right. No figure of the authors for these
weights is known to us.
"""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lhc.models.installed_files import InstalledFile, PackageEntry, folded
from lhc.models.rendered_text import FONTS, draw_text, random_text
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

if TYPE_CHECKING:
    import onnx

HEIGHT, WIDTH = 48, 192
LINES = 1000
CONTRAST, NOISE = (0.4, 0.9), (0.0, 0.06)
"""Of ink to paper, and the deviation of a pixel, both of the range 0..1 and drawn a line."""


class PpocrCls(PackageEntry):
    """Direction of lines of text: 53 convolutions, half of them a channel at a time, and a dense layer."""

    name: ClassVar[str] = "ppocr-cls"
    description: ClassVar[str] = "PP-OCR, direction of drawn lines of text; needs lhc[zoo]"
    max_drop: ClassVar[float] = 0.01
    weights: ClassVar[InstalledFile] = InstalledFile(
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime",
        "models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
    )

    def built(self, path: Path) -> "onnx.ModelProto":
        """The network for lines of 48 x 192 pixels, its batch-norms folded."""
        return folded(path, {"x": ("batch", 3, HEIGHT, WIDTH)})

    def task(self) -> Task:
        """1,000 drawn lines, judged by accuracy."""
        rng = np.random.default_rng(0)
        turned = np.arange(LINES) % 2
        lines = np.stack([_line(self.name, rng)[:: -1 if t else 1, :: -1 if t else 1] for t in turned])
        pixels = np.repeat(lines[:, None], 3, axis=1)
        order = rng.permutation(LINES)
        return Task({"x": ((pixels - 0.5) / 0.5).astype(np.float32)[order]}, turned[order], get_metric("accuracy"))


def _line(what: str, rng: np.random.Generator) -> np.ndarray:
    """Text on paper, grey, 0..1, ``(48, 192)``; longer lines are cut, as a crop would."""
    font = FONTS[int(rng.integers(len(FONTS)))]
    ink = draw_text(what, random_text(what, rng, int(rng.integers(1, 3))), font, int(rng.integers(22, 34)))
    field = np.zeros((HEIGHT, WIDTH), np.float32)
    ink = ink[:HEIGHT, :WIDTH]
    top = (HEIGHT - ink.shape[0]) // 2
    left = (WIDTH - ink.shape[1]) // 2
    field[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    contrast = rng.uniform(*CONTRAST) * rng.choice((-1, 1))
    paper = 0.5 + 0.5 * contrast
    noisy = paper - contrast * field + rng.standard_normal(field.shape) * rng.uniform(*NOISE)
    result: np.ndarray = np.clip(noisy, 0, 1).astype(np.float32)
    return result
