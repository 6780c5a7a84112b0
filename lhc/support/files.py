"""Write files without ever leaving half of one."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from lhc.errors import UsageError

__all__ = ["write_file"]


def write_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write under a temporary name in the same folder and move into place.

    Args:
        path: where the file goes; an existing one is replaced.
        write: given the open file.

    Raises:
        UsageError: the place cannot be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.absolute().parent)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
            umask = os.umask(0)
            os.umask(umask)
            Path(temporary).chmod(0o666 & ~umask)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}; choose another place (-o)") from error
