"""What the result of a run depends on: its options, and in place of the files that they name their content."""

import re
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path

from lhc.onnx_io import data_files
from lhc.options.by_command import PartitionOptions
from lhc.options.declaration.option_fields import options_of, values_of
from lhc.options.shared import Execution
from lhc.options.training import Checkpointing
from lhc.store import Facts, JsonValue
from lhc.support.source_digest import module_digest

__all__ = ["run_facts"]

_MODULE = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*(?:\{.*\})?", re.DOTALL)
"""``module:name``, with options in braces."""


def run_facts(options: PartitionOptions) -> Facts:
    """Facts by which the row of a run is kept: options that are not at their defaults, by key.

    A file or folder counts by its bytes, weights beside an ONNX file and modules of the user's included; where it lies
    does not. How the run is carried out (`Execution`, but for ``--timeout``) does not count.
    """
    beside = {one.name for kind in (Execution, Checkpointing) for one in options_of(kind)} - {"timeout"}
    return {
        option.key: _content(value)
        for option, value in values_of(options)
        if option.instead is None and option.name not in beside and (option.required or value != option.default)
    }


def _content(value: object) -> JsonValue:
    if isinstance(value, list | tuple):
        return [_content(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _content(one) for name, one in value.items()}
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    path = Path(text)
    if path.is_file():
        return _file(path.absolute())
    if path.is_dir():
        files = sorted(one for one in path.rglob("*") if one.is_file())
        return {"folder": [[one.relative_to(path).as_posix(), _file(one.absolute())] for one in files], "name": text}
    named = _MODULE.fullmatch(text)
    return text if named is None else {"name": text, "code": module_digest(named[1])}


def _file(path: Path) -> JsonValue:
    """Digest of a file, and of those in which an ONNX file keeps weights."""
    beside = _weights(path, *_state(path)) if path.suffix == ".onnx" else ()
    found: dict[str, JsonValue] = {"file": _digest(path, *_state(path))}
    return found | ({"weights": [_digest(one, *_state(one)) for one in beside]} if beside else {})


def _state(path: Path) -> tuple[int, int]:
    """Whether a file is still the one that was read."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=4096)
def _digest(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=4096)
def _weights(path: Path, changed: int, size: int) -> tuple[Path, ...]:
    return data_files(path)
