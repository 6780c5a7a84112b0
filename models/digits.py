"""The embedded default, a network for handwritten digits with its samples, and a narrow one; both in the package."""

from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx

from lhc.errors import UsageError
from lhc.models.zoo_entry import ZooEntry
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task


class Digits(ZooEntry):
    """A million weights, 24 candidate layers, 240 channels inside the blocks; needs no file and no PyTorch.

    Trained by ``lhc.models.train_digits`` on 1,000 of scikit-learn's 1,797 digits; the task holds the other 797, of
    which the digital network gets 98.6 % right. The budget is one point of accuracy. On the hardware ``lionheart``, a
    day after programming, all layers analog cost 2 to 4 points (means of ten chips, five seeds); the wide products
    alone cost a few tenths, and take a fifth of the energy and time of a placement without tiles.
    """

    name: ClassVar[str] = "digits"
    description: ClassVar[str] = "CNN for scikit-learn's 8x8 digits, 797 held-out samples; in the package"
    max_drop: ClassVar[float] = 0.01

    def model(self, weights: Path | None = None) -> onnx.ModelProto:
        """The network that ships with the package.

        Raises:
            UsageError: ``weights`` is given.
        """
        if weights is not None:
            raise UsageError(f"the zoo's {self.name} come with their weights; leave --weights out")
        return onnx.load_model_from_string(_read(f"{self.name}.onnx"))

    def task(self) -> Task:
        """The 797 samples that took no part in training: ``x`` in 0..1, ``(797, 1, 8, 8)``."""
        with np.load(BytesIO(_read("digits.npz")), allow_pickle=False) as arrays:
            return Task({"x": arrays["x"]}, arrays["labels"], get_metric("accuracy"))


class DigitsNarrow(Digits):
    """Residual network of 8 channels, 14 candidate layers, for the same samples; tiles save nothing on it.

    For whoever wants to see all of lhc in seconds, not what tiles are good for. 98.1 % digital accuracy; the budget is
    two points. On the hardware ``lionheart``, a day after programming, all layers analog cost 5 to 8 points (means of
    ten draws, five seeds, aihwkit alone); with ``conv1``, ``linear`` and three of the first stage digital it is about
    one.
    """

    name: ClassVar[str] = "digits-narrow"
    description: ClassVar[str] = "residual CNN of 8 channels for the same digits: quick, too narrow for tiles to pay"
    max_drop: ClassVar[float] = 0.02


def _read(name: str) -> bytes:
    return resources.files("lhc.models").joinpath("data", name).read_bytes()
