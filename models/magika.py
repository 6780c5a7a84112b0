"""Magika: which of 214 kinds a file is, from 1,024 bytes at either end (Fratantonio et al., ICSE 2025; Apache-2.0).

The network is ``standard_v3_3`` of the Python package ``magika``, 784,519 weights: bytes as one-hot vectors, an
embedding, a convolution over groups of four, a maximum, and two dense layers.

Samples are files of the Python packages that lhc and its extra ``zoo`` bring, at most 10 of a suffix and package.
**Their labels are what their suffixes say**, which is not always the truth: a table in a ``.txt`` file, called ``csv``
by the network, counts as wrong. Which files there are depends on the versions that are installed; 92 % of 584 were
right. The authors state about 99 % on their own test set.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from lhc.models.installed_files import InstalledFile, PackageEntry, package_folder
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

if TYPE_CHECKING:
    import onnx

BLOCK, ENDS, PADDING = 4096, 1024, 256
"""Bytes read at either end, bytes of these that the network sees, and the number that stands for no byte."""
EACH = 10
PACKAGES = {
    "matplotlib": "matplotlib", "netron": "netron", "networkx": "networkx", "numpy": "numpy", "onnx": "onnx",
    "scikit-image": "skimage", "scipy": "scipy", "statsmodels": "statsmodels", "sympy": "sympy", "torch": "torch",
}  # fmt: skip
KINDS = {
    ".bz2": "bzip", ".c": "c", ".cc": "cpp", ".cmake": "cmake", ".cpp": "cpp", ".css": "css", ".csv": "csv",
    ".exe": "pebin", ".f": "fortran", ".f90": "fortran", ".gif": "gif", ".gz": "gzip", ".hpp": "cpp", ".html": "html",
    ".ico": "ico", ".ini": "ini", ".jinja": "jinja", ".jpg": "jpeg", ".js": "javascript", ".json": "json",
    ".lua": "lua", ".m": "matlab", ".md": "markdown", ".npy": "npy", ".npz": "npz", ".onnx": "onnx", ".pdf": "pdf",
    ".pkl": "pickle", ".png": "png", ".proto": "proto", ".py": "python", ".pyi": "python", ".R": "r", ".rst": "rst",
    ".so": "elf", ".svg": "svg", ".tif": "tiff", ".toml": "toml", ".ttf": "ttf", ".txt": "txt", ".wav": "wav",
    ".xls": "xls", ".xml": "xml", ".yaml": "yaml",
}  # fmt: skip
"""What Magika calls files of these suffixes."""


class Magika(PackageEntry):
    """Kinds of files: 3 candidate layers, of which the convolution has most of the work."""

    name: ClassVar[str] = "magika"
    description: ClassVar[str] = "Magika, 214 kinds of files; files of installed packages; needs lhc[zoo]"
    max_drop: ClassVar[float] = 0.01
    weights: ClassVar[InstalledFile] = InstalledFile(
        "magika==1.0.3",
        "magika",
        "models/standard_v3_3/model.onnx",
        "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
    )

    def built(self, path: Path) -> "onnx.ModelProto":
        """The network as the package has it."""
        import onnx

        return onnx.load(path)

    def task(self) -> Task:
        """Files of the installed packages, judged by whether the kind is that of their suffix."""
        config = self.weights.find(self.name).with_name("config.min.json")
        labels = json.loads(config.read_text(encoding="utf-8"))["target_labels_space"]
        files = [file for package, module in PACKAGES.items() for file in _chosen(package, module)]
        inputs = np.stack([features(file) for file in files])
        targets = np.array([labels.index(KINDS[file.suffix]) for file in files])
        order = np.random.default_rng(0).permutation(len(files))  # every part of them has all kinds
        return Task({"bytes": inputs[order]}, targets[order], get_metric("accuracy"))


def features(path: Path) -> npt.NDArray[np.int32]:
    """First and last bytes of a file, white space around them left out, as by the package; ``(2048,)``."""
    content = path.read_bytes()
    first = list(content[:BLOCK].lstrip()[:ENDS])
    last = list(content[-BLOCK:].rstrip()[-ENDS:])
    filled = [*first, *[PADDING] * (ENDS - len(first)), *[PADDING] * (ENDS - len(last)), *last]
    return np.array(filled, np.int32)


def _chosen(package: str, module: str) -> Iterator[Path]:
    """Files of known kinds, evenly over the sorted names of each suffix; of 8 bytes or more, as the tool demands."""
    folder = package_folder("magika", package, module)
    found = (file for file in folder.rglob("*") if file.suffix in KINDS and file.is_file())
    files = [file for file in found if file.stat().st_size >= 8]
    order = sorted(files, key=lambda file: (file.suffix, file.relative_to(folder).as_posix()))
    for _, group in groupby(order, key=lambda file: file.suffix):
        alike = list(group)
        yield from (alike[index * len(alike) // EACH] for index in range(EACH)) if len(alike) > EACH else alike
