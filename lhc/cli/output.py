"""Where text goes, and arrays that are written as npz."""

import json as json_module
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lhc.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["SCHEMA_VERSION", "check_npz", "emit", "hint", "write_npz"]

SCHEMA_VERSION = 1


def hint(text: str) -> None:
    """A line for the user on stderr."""
    print(text, file=sys.stderr, flush=True)


def emit(document: Mapping[str, object], text: str, as_json: bool) -> None:
    """The result on stdout, as text or as one JSON document."""
    if as_json:
        print(json_module.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2, allow_nan=False))
    else:
        print(text)


def check_npz(path: Path, force: bool) -> None:
    """Refuse to overwrite, before any work is done.

    Raises:
        UsageError: the file exists (unless ``force``), or its folder does not.
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: not a file name in an existing folder")
    if path.exists() and not force:
        raise UsageError(f"{path}: exists; --force replaces it")


def write_npz(path: Path, arrays: "Mapping[str, np.ndarray]") -> None:
    """Write arrays under a temporary name and move them into place.

    Raises:
        UsageError: the place cannot be written.
    """
    import numpy as np

    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error
