"""Notebooks: progress, and results as data frames where pandas is installed."""

import io
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lhc.errors import MissingDependencyError
from lhc.support.progress_eta import TimeLeft, progress_text
from lhc.support.text_escaping import html_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lhc.support.tables import Table


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    if ipython is None or "ipykernel" not in sys.modules:
        return False
    return ipython.get_ipython() is not None


def notebook_progress() -> Callable[[str, int, int], None]:
    """A line under the cell that is written anew as work proceeds."""
    shown: Any = None
    time_left = TimeLeft()

    def report(what: str, done: int, total: int) -> None:
        nonlocal shown
        display: Any = import_module("IPython.display")
        text = display.Pretty(progress_text(what, done, total, time_left(what, done, total)))
        if shown is None:
            shown = display.display(text, display_id=True)
        else:
            shown.update(text)

    return report


class Tabled(ABC):
    """A result that is a table."""

    @abstractmethod
    def as_table(self) -> "Table":
        """Its rows."""

    @property
    def summary(self) -> str:
        """Text below the table; may be empty."""
        return ""

    def table(self, form: str = "table") -> str:
        """The table as text, csv, markdown or latex."""
        return self.as_table().render(form)

    def to_pandas(self) -> Any:  # noqa: ANN401 - pandas is not a dependency
        """The table as a data frame, where pandas is installed."""
        return data_frame(self.as_table())

    def _repr_html_(self) -> str:
        return self.as_table().html() + "".join(f"<p>{html_text(line)}</p>" for line in self.summary.splitlines())


def data_frame(table: "Table") -> Any:  # noqa: ANN401 - pandas is not a dependency
    """A table as a pandas data frame, numbers as numbers.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    return _needed("pandas").read_csv(io.StringIO(table.render("csv")))


def axes_or_new(axes: "Axes | None", figsize: tuple[float, float] | None = None) -> "Axes":
    """Axes to draw on: those that are given, else of a new figure, which a notebook shows; ``figsize`` in inches."""
    if axes is not None:
        return axes
    from matplotlib import pyplot as plt

    found: Axes = plt.subplots(figsize=figsize)[1]
    return found


def _needed(module: str) -> Any:  # noqa: ANN401
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingDependencyError(f"this needs {package}: pip install {package}") from error
