"""Environment of a result: code, versions of libraries, instruction set. The same environment gives the same bytes."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from lhc import support
from lhc.support.installed_packages import version_of
from lhc.support.version import VERSION

_LIBRARIES = ("aihwkit", "numba", "numpy", "onnx", "onnxruntime", "scipy", "torch")
_ROOT = Path(support.__path__[0]).parent
_COMPUTE = ("canonical", "hardware", "measure", "onnx_io", "plan", "samples")
_PACKAGES = (Path(__file__).parent, *(_ROOT / name for name in _COMPUTE))
_COMPUTING = (_ROOT, *sorted({path.parent for package in _PACKAGES for path in package.rglob("*.py")}))
"""Folders of the modules that numbers come from. A version alone does not tell two checkouts apart."""
_KNOWN: dict[str, str] = {}


def environment() -> dict[str, str]:
    """Names and versions, of lhc and of all libraries that compute, and the processor's instruction set."""
    if not _KNOWN:
        code = {"lhc": f"{VERSION} (code {code_digest(_COMPUTING)})"}
        learn(code | {name: version_of(name) for name in _LIBRARIES} | {"instructions": _instruction_set()})
    return dict(_KNOWN)


@cache
def program() -> str:
    """Digest of all of lhc: what also decides and prices, which `environment` says nothing of."""
    packages = [_ROOT, *(_ROOT / name for name in ("models", "passes", "runtime"))]  # in a checkout, these are links
    return code_digest(sorted({path.parent for package in packages for path in package.rglob("*.py")}))


def is_known() -> bool:
    """Whether `environment` has nothing left to find out."""
    return bool(_KNOWN)


def learn(found: Mapping[str, str]) -> None:
    """Know the environment from a process that was started here; to find it out, PyTorch is loaded."""
    _KNOWN.update(found)


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
    from lhc.runtime.onnxruntime.sessions import integer_products_are_exact

    exact = integer_products_are_exact()  # which PyTorch's word for a processor does not tell: it takes VNNI
    return torch.backends.cpu.get_cpu_capability() + ("" if exact else ", products of bytes saturate")
