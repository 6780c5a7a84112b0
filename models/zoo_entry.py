"""Zoo entries: their interface, and where data outside the package is found."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lhc.errors import DataError, MissingDependencyError, UsageError

if TYPE_CHECKING:
    import onnx
    from tokenizers import Tokenizer

    from lhc.samples.task import Task

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
            weights: file (or, for some, folder) of weights; None takes the entry's own.

        Raises:
            UsageError: there are no weights to take, or the entry takes none.
            ModelError: the weights cannot be read, or their names or shapes are others.
            MissingDependencyError: a package that builds the network is not installed.
        """

    def network(self, weights: Path | None = None) -> "onnx.ModelProto | Path":
        """The network as `lhc.onnx_io.load_model` takes it: `model`, or a file where its weights are large.

        Arguments and errors as those of `model`.
        """
        return self.model(weights)

    @abstractmethod
    def task(self) -> "Task":
        """Samples with targets and metric; where the network was trained on some of them, its module says so.

        Raises:
            DataError: they are not where they are looked for.
            MissingDependencyError: a package that reads them is not installed.
        """

    def tokenizer(self) -> "Tokenizer":
        """Tokenizer of the network.

        Raises:
            UsageError: the entry has none.
        """
        raise UsageError(f"{self.name} takes no text")

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of inputs that costs are counted for where nobody gives any; empty where the model fixes them.

        One sample as long as the longest of the task's.
        """
        return {}


def data_file(what: str, *choices: str) -> Path:
    """The first of these files that is there.

    Args:
        choices: paths below the folder that ``LHC_DATA`` names.

    Raises:
        DataError: none is there, or the variable is not set.
    """
    folder = data_folder()
    if folder is None:
        raise DataError(f"{what} is not part of the package; set {DATA_VARIABLE} to a folder that holds {choices[0]}")
    for choice in choices:
        if (folder / choice).is_file():
            return folder / choice
    raise DataError(f"no {what} in {folder}: expected {' or '.join(choices)}")


def data_folder() -> Path | None:
    """The folder that the environment variable ``LHC_DATA`` names; None where it is not set."""
    value = os.environ.get(DATA_VARIABLE, "")
    return Path(value) if value else None


def require(what: str, *packages: str, extra: str | None = None) -> None:
    """Import packages that not everybody has.

    Raises:
        MissingDependencyError: one is not installed.
    """
    try:
        for package in packages:
            import_module(package)
    except ImportError as error:
        install = "" if extra is None else f"; in a checkout of lhc: pip install '.[{extra}]'"
        raise MissingDependencyError(f"{what}: {error}{install}") from error
