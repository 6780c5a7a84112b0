"""A network that lhc rewrote for the tiles of a machine: an ordinary one, for every other command."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path

from lhc.hardware import Hardware
from lhc.onnx_io import check_output, save_model
from lhc.onnx_io.write import Store, WeightFile, in_memory
from lhc.onnx_model import OnnxModel
from lhc.support.files import default_work_dir
from lhc.support.notebook import Tabled


def data_file(model: OnnxModel) -> WeightFile | None:
    """File for new weights until they are saved, where those of the model are in files; None: memory."""
    return WeightFile(default_work_dir()) if model.external else None


def store_in(data: WeightFile | None) -> Store:
    """Function that makes initializers whose values go into a file."""
    return in_memory if data is None else data.put


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class RewrittenModel(Tabled):
    """A network that computes what another one does.

    Attributes:
        hardware: whose tiles it was made for.
        data: where weights are that are in no file of the user's; it goes with this object.
    """

    model: OnnxModel
    source: OnnxModel
    hardware: Hardware
    data: WeightFile | None = None

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write the network; weights in a file beside it where those of the source are.

        Raises:
            UsageError: writing would lose something, or the place cannot be written.
        """
        where = Path(path)
        check_output(where, self.source, force, "copy")
        save_model(self.model.proto, where, "copy")
        return where

    @property
    @abstractmethod
    def summary(self) -> str:
        """Summary in one line."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.summary}>"
