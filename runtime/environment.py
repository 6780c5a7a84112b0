"""What numbers depend on beside the inputs: code, versions, instruction set. The same ones give the same bytes."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from lhc import support
from lhc.support.installed import version_of
from lhc.support.version import VERSION

__all__ = ["code_digest", "environment"]

_LIBRARIES = ("aihwkit", "numba", "numpy", "onnx", "onnxruntime", "scipy", "torch")
_ROOT = Path(support.__path__[0]).parent
_COMPUTING = (_ROOT, _ROOT / "hardware", _ROOT / "measure", _ROOT / "onnx_io", Path(__file__).parent)
"""Folders of the modules that numbers come from. A version alone does not tell two checkouts apart."""


@cache
def environment() -> dict[str, str]:
    """Names and versions, of lhc and of all libraries that compute, and the processor's instruction set."""
    found = {"lhc": f"{VERSION} (code {code_digest(_COMPUTING)})"}
    found |= {name: version_of(name) for name in _LIBRARIES}
    found["instructions"] = _instruction_set()
    return found


def code_digest(folders: Iterable[Path]) -> str:
    """Digest of the modules in some folders, by name and content."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.glob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def _instruction_set() -> str:
    try:
        import torch
    except ImportError:
        return "unknown"
    return torch.backends.cpu.get_cpu_capability()
