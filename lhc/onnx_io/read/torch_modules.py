"""PyTorch module that a node was exported from.

torch's dynamo exporter writes the scopes into node metadata (``pkg.torch.onnx.name_scopes``: a list of paths from the
root to the operator); its older exporter writes them into the node's name (``/layer1/layer1.0/conv1/Conv``). A
convolution that took in the BatchNormalization behind it has the scopes of that; its weight is called as its own
module's (``conv1.weight``, and what a form of it in memory adds: ``conv1.weight/turned``, ``conv1.weight.lhc_tiles``).
"""

import ast
import re

import onnx

__all__ = ["module_path"]

_SCOPES = "pkg.torch.onnx.name_scopes"
_WEIGHT = re.compile(r"(.+)\.weight(/turned|\.lhc_[a-z_]+)*")
_LIMIT = 10_000


def module_path(node: onnx.NodeProto) -> str | None:
    """Dotted path of the module; None where the file does not tell or the name already is the path."""
    text = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "")
    path = _from_scopes(text) or _from_name(node.name)
    if "batch_norm" in text and len(node.input) > 1 and (own := _WEIGHT.fullmatch(node.input[1])):
        path = own[1]
    return path if path and path != node.name else None


def _from_scopes(text: str) -> str | None:
    if not text or len(text) > _LIMIT:
        return None
    try:
        scopes = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        return None
    modules = [scope for scope in scopes[:-1] if scope]
    return modules[-1] if modules else None


def _from_name(name: str) -> str | None:
    if not name.startswith("/") or name.count("/") < 2:
        return None
    path: list[str] = []
    for part in name.split("/")[1:-1]:
        # "/layer1/layer1.0/conv1": a scope may repeat the one that holds it.
        if path and part.startswith(f"{path[-1]}."):
            path.pop()
        path.append(part)
    return ".".join(path) or None
