"""What numbers depend on beside the inputs: versions and the instruction set. The same ones give the same bytes."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from lhc import __version__

__all__ = ["environment"]

NUMERICS = 2
"""Raised whenever the emulation gives other numbers for the same inputs."""
_LIBRARIES = ("aihwkit", "numpy", "onnx", "onnxruntime", "torch")


@cache
def environment() -> dict[str, str]:
    """Names and versions, of lhc and of all libraries that compute, and the processor's instruction set."""
    found = {"lhc": f"{__version__} (numerics {NUMERICS})"}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    found["instructions"] = _instruction_set()
    return found


def _instruction_set() -> str:
    try:
        import torch
    except ImportError:
        return "unknown"
    return torch.backends.cpu.get_cpu_capability()
