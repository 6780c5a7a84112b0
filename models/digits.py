"""The embedded default: a small residual network for handwritten digits, with its samples, in the package."""

from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx

from lhc.errors import UsageError
from lhc.metrics import get_metric
from lhc.models.entry import ZooEntry
from lhc.task import Task

__all__ = ["Digits"]


class Digits(ZooEntry):
    """Residual network of 8 channels, 14 candidate layers; needs no file and no PyTorch.

    Trained by ``lhc.models.train_digits`` on 1,000 of scikit-learn's 1,797 digits; the task holds the other 797, of
    which the digital network gets 98.1 % right. The budget is two points of accuracy. On the hardware ``lionheart``,
    a day after programming, all layers analog cost 5 to 8 points (means of ten draws, five seeds, aihwkit alone);
    with ``conv1``, ``linear`` and three of the first stage digital it is about one.
    """

    name: ClassVar[str] = "digits"
    description: ClassVar[str] = "residual CNN for scikit-learn's 8x8 digits, 797 held-out samples; in the package"
    max_drop: ClassVar[float] = 0.02

    def model(self, weights: Path | None = None) -> onnx.ModelProto:
        """The network that ships with the package.

        Raises:
            UsageError: ``weights`` is given.
        """
        if weights is not None:
            raise UsageError("the zoo's digits come with their weights; leave --weights out")
        return onnx.load_model_from_string(_read("digits.onnx"))

    def task(self) -> Task:
        """The 797 samples that took no part in training: ``x`` in 0..1, ``(797, 1, 8, 8)``."""
        with np.load(BytesIO(_read("digits.npz")), allow_pickle=False) as arrays:
            return Task({"x": arrays["x"]}, arrays["labels"], get_metric("accuracy"))


def _read(name: str) -> bytes:
    return resources.files("lhc.models").joinpath("data", name).read_bytes()
