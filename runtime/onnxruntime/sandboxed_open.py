"""Open a model file in a process of its own first: what kills that process is an error here, with a message.

A model from outside goes through native code (onnx's checker and shape inference, onnxruntime), which may crash, hang
or ask for all memory on a file made for it. The child does with the file what lhc is about to do, and ends. Only its
death counts, or that it had too little memory: other errors are found again, and told, by whoever reads the file next.
A file is probed once per process and folder; a content that was opened, and refers to no other files, once for all of
the user's processes with these versions of onnx and onnxruntime, wherever it lies: a file in ``opened`` of lhc's cache
folder says so, and whether onnx's checker had nothing against it. Run as a script (``python sandboxed_open.py MODEL``)
this module is the child; it then imports onnx and onnxruntime only.

Limits: address space `MEMORY` + 8 · size and `SECONDS` + size / (16 MiB/s) of processor time, where size is that of the
file and the data files it names. Where a platform has no such limits, time is limited from outside.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from hashlib import sha256
from mmap import ACCESS_READ, mmap
from pathlib import Path

MEMORY = 4 * 2**30
"""Address space that a model of no size may take, in bytes."""
SECONDS = 20
"""Processor time that a model of no size may take."""
TELEMETRY_OFF = {"ORT_DISABLE_TELEMETRY": "1"}
"""Environment in which onnxruntime records and sends nothing, see `lhc.runtime.onnxruntime.library`."""
_PER_SECOND = 16 * 2**20
_PIECE = 2**24
_LARGE = 2**20
"""Bytes of a tensor whose values are no sizes of others."""
_OUT_OF_MEMORY = 125
"""Status of a child that was refused memory."""

_REFERS = 2
"""Status of a child that opened a model which refers to other files: what these hold may change."""

_COMPLAINT = 3
"""Status of a child whose onnxruntime opened what onnx's checker refuses."""
_CHECKED = "checked"

_probed: dict[tuple[Path, str], bool] = {}
"""Whether onnx's checker had nothing against a file, by its folder (it may refer to others there) and its content."""


def probe(path: Path) -> bool:
    """Open a file in a child process, unless a file of the same content was before.

    Returns:
        Whether onnx's checker is known to have nothing against it.

    What cannot be read at all, and what the child says of the file, is left to the reader.

    Raises:
        ModelError: the child died.
    """
    digest = _digest(path)
    if digest is None:
        return False
    known = path.absolute().parent, digest
    if known in _probed:
        return _probed[known]
    opened = _folder() / digest
    if not opened.exists():
        status = _status(path)
        problem = status if isinstance(status, str) else cause_of_death(status)
        if problem is not None:
            from lhc.errors import ModelError

            raise ModelError(f"{path}: opening it {problem}; the file is damaged or was made to do harm")
        if status in (0, _COMPLAINT):
            with suppress(OSError):  # asked again next time
                opened.parent.mkdir(parents=True, exist_ok=True)
                opened.write_text(_CHECKED if status == 0 else "", "utf-8")
    try:
        _probed[known] = opened.read_text("utf-8") == _CHECKED
    except (OSError, UnicodeDecodeError):
        _probed[known] = False
    return _probed[known]


def _folder() -> Path:
    from lhc.support.files import default_work_dir
    from lhc.support.installed_packages import version_of

    return default_work_dir() / "opened" / f"onnx-{version_of('onnx')}-onnxruntime-{version_of('onnxruntime')}"


def _digest(path: Path) -> str | None:
    state = sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                state.update(piece)
    except (OSError, ValueError):
        return None
    return state.hexdigest()


def _status(path: Path) -> int | str:
    """Exit status of the child, that of an error where it could not be started; in words, what it took too long."""
    if not sys.executable or getattr(sys, "frozen", False):
        return 1  # no Python to start
    # -P: nothing is imported from the folder that the user happens to be in.
    command = [sys.executable, "-P", __file__, str(path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    # Each of numpy's threads, one a core, takes some 40 MB of the address space that the child is limited to.
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    limit = 4 * _seconds(path.stat().st_size)
    try:
        ended = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return f"takes more than {limit} s"
    except OSError:
        return 1
    return ended.returncode


def cause_of_death(status: int) -> str | None:
    """Cause of death by exit status: negative after a signal, a large number after a crash on Windows."""
    if status == _OUT_OF_MEMORY:
        return "takes more memory than its size allows"
    if 0 <= status < _OUT_OF_MEMORY:
        return None
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"status {status}"
    if name in ("SIGXCPU", "SIGKILL"):
        return f"takes too much time or memory ({name})"
    return f"crashes onnx or onnxruntime ({name})"


def _seconds(size: int) -> int:
    return SECONDS + size // _PER_SECOND


def child(path: str) -> int:
    """Read, check, infer shapes, make a session, within the limits; returns the exit status."""
    try:
        return _open(path)
    except MemoryError:
        return _OUT_OF_MEMORY
    except Exception as error:  # onnx and onnxruntime raise what they like
        return _OUT_OF_MEMORY if "alloc" in str(error) else 1


def _open(path: str) -> int:
    """0, `_REFERS` or `_COMPLAINT`."""
    os.environ.update(TELEMETRY_OFF)
    import onnx
    import onnxruntime

    model = onnx.load_model(path, format="protobuf", load_external_data=False)
    size = Path(path).stat().st_size + sum(_data_sizes(model, Path(path).parent))
    _limit(size)
    status = 0
    try:
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError:
        status = _COMPLAINT  # onnxruntime may run it nevertheless
    for tensor in model.graph.initializer:
        if tensor.ByteSize() > _LARGE:
            tensor.ClearField("raw_data")  # its values say nothing of shapes; inference copies the model three times
    onnx.shape_inference.infer_shapes(model, data_prop=True)
    if model.functions:
        from onnx import inliner

        inliner.inline_local_functions(model)
    del model
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    with Path(path).open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        # The key of every reference, or a word that is nothing of the kind.
        return _REFERS if content.find(b"location") >= 0 else status


def _data_sizes(model: "onnx.ModelProto", folder: Path) -> list[int]:  # type: ignore[name-defined]  # noqa: F821
    entries = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    names = {entry.value for entry in entries if entry.key == "location"}
    return [(folder / name).stat().st_size for name in names if "\0" not in name and (folder / name).is_file()]


def _limit(size: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    for kind, most in ((resource.RLIMIT_AS, MEMORY + 8 * size), (resource.RLIMIT_CPU, _seconds(size))):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


if __name__ == "__main__":
    sys.exit(child(sys.argv[1]))
