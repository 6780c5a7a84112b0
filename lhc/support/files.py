"""Write files without ever leaving half of one, also where the machine stops; where lhc keeps its own."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lhc.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

Write = Callable[[IO[bytes]], object]
"""Writes what a file holds into it."""


def default_work_dir() -> Path:
    """``$LHC_CACHE``, else ``lhc`` in the user's cache folder (on Linux ``$XDG_CACHE_HOME`` or ``~/.cache``)."""
    value = os.environ.get("LHC_CACHE")
    if value:
        return Path(value).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("lhc", appauthor=False)


def check_writable(path: Path) -> None:
    """Refuse a file that `write_file` could not write, before any work is done.

    Raises:
        UsageError: as `write_file` does.
    """
    import tempfile

    try:
        path = path.resolve()
        _mode(path)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path}: cannot be written: {error.strerror or error}; choose another place")


def write_file(path: Path, write: Write) -> None:
    """Write under a temporary name in the same folder, bring it to the disk, and move it into place.

    Args:
        path: where the file goes. An existing one is replaced and its permissions stay; of a symbolic link, the file
            that it leads to is replaced.

    Raises:
        UsageError: the place cannot be written, or is a device, a pipe or another thing that is no file.
    """
    write_files([(path, write)])


def write_files(files: Sequence[tuple[Path, Write]]) -> None:
    """Write files that belong together, as `write_file`: none is moved into place before all are on the disk."""
    with ExitStack() as cleanup:
        written: list[tuple[Path, Path]] = []
        for path, write in files:
            with _named(path):
                place = path.resolve()
                written.append((_written(place, write, cleanup), place))
        for temporary, place in written:
            with _named(place):
                temporary.replace(place)
                _sync_folder(place.parent)


def _written(path: Path, write: Write, cleanup: ExitStack) -> Path:
    """A temporary file beside ``path``, on the disk; ``cleanup`` removes it where it was not moved."""
    import tempfile

    mode = _mode(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    temporary = Path(name)
    cleanup.callback(temporary.unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    temporary.chmod(mode)
    return temporary


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of the system name the file."""
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error) from error


def _mode(path: Path) -> int:
    """Permissions that a file has, or that a new one gets here."""
    try:
        found = path.stat().st_mode
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask
    if not stat.S_ISREG(found):
        raise UsageError(f"{path}: is no file, and would be replaced by one; choose another name")
    return stat.S_IMODE(found)


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk, where the system can (POSIX)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """No other command that asks for it writes into a folder meanwhile: files that belong together are of one command.

    Where the system or the disk has no locks, it may.
    """
    with ExitStack() as stack:
        with suppress(ImportError, OSError):
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write_npz(path: Path, arrays: "Mapping[str, np.ndarray]") -> None:
    """Write arrays as npz; strings as text, since objects would be pickled."""
    import zipfile

    import numpy as np

    def write(file: IO[bytes]) -> None:
        # numpy.savez takes no array that is called "file".
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                plain = np.asarray(array.astype(str) if array.dtype.hasobject else array)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, plain, allow_pickle=False)

    write_file(path, write)
