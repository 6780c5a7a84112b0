"""What an entry of the zoo offers, and where data outside the package is found."""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import onnx

    from lhc.task import Task

__all__ = ["DATA_VARIABLE", "ZooEntry", "data_folder"]

DATA_VARIABLE = "LHC_DATA"
"""Environment variable that names the folder of data sets and weights outside the package."""


class ZooEntry(ABC):
    """A network with the samples and the metric it is judged on."""

    name: ClassVar[str]
    """As written on the command line."""
    description: ClassVar[str]
    """One line for people."""
    max_drop: ClassVar[float]
    """Default budget: absolute, in the unit of the task's metric (0.01 is one point of accuracy)."""

    @abstractmethod
    def model(self, weights: Path | None = None) -> "onnx.ModelProto":
        """The network as ONNX, its batch axis dynamic and its batch-norms folded.

        Args:
            weights: file of weights; None takes the entry's own.

        Raises:
            UsageError: there are no weights to take, or the entry takes none.
            ModelError: the weights cannot be read or do not fit.
        """

    @abstractmethod
    def task(self) -> "Task":
        """Samples that the network was never trained on, with targets and metric.

        Raises:
            DataError: they are not where they are looked for.
        """


def data_folder() -> Path | None:
    """The folder that the environment variable ``LHC_DATA`` names; None where it is not set."""
    value = os.environ.get(DATA_VARIABLE, "")
    return Path(value) if value else None
