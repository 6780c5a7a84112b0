"""lhc talks to this machine alone: no connection leaves it, and onnxruntime leaves no telemetry to be sent later."""

import os
import re
import shutil
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CALLS = "connect,sendto,sendmsg,sendmmsg"
ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
ONNXRUNTIME = re.compile(r"^\s*(?:import|from) onnxruntime\b", re.MULTILINE)
COMMANDS = (
    ("export", "digits-narrow", "-o", "model.onnx", "--data-out", "samples.npz"),
    ("analyze", "model.onnx"),
    ("partition", "model.onnx", "--data", "samples.npz", "--samples", "60", "--draws", "2", "--jobs", "2"),
    ("compile", "model.lhc.onnx", "-o", "model.sim.onnx"),
)
SESSION = f"""
from typer.testing import CliRunner
from lhc.cli.framework.app import app

for arguments in {COMMANDS}:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code in (0, 1), done.output  # 1: too few samples to show that the budget is met
"""
"""All commands in one process: what is watched is the same, and only once are the libraries loaded."""


def environment(home: Path) -> dict[str, str]:
    """That of a user who has set nothing, with caches below ``home``."""
    unset = ("ORT_DISABLE_TELEMETRY", "LHC_CACHE", "XDG_CACHE_HOME", "CI")
    return {k: v for k, v in os.environ.items() if k not in unset} | {"HOME": str(home), "PYTHONPATH": str(ROOT)}


def traced(command: list[str], folder: Path) -> list[str]:
    """Run a command, its children too, by strace where there is one; calls of `CALLS`, a line each."""
    log = folder / "calls.txt"
    log.unlink(missing_ok=True)
    tracer = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", f"trace={CALLS}", "-o", str(log)] if tracing() else []
    done = subprocess.run(
        [*tracer, *command], cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return log.read_text("utf-8", "replace").splitlines() if tracing() else []


def tracing() -> bool:
    """Whether there is a strace, and it may look at processes."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False).returncode == 0


def leaving(calls: list[str]) -> list[str]:
    """Calls to an address of another machine."""
    addresses = ((call, next(filter(None, found.groups()))) for call in calls for found in ADDRESS.finditer(call))
    return [call for call, address in addresses if not ip_address(address).is_loopback]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Folder and calls of a session: from a network to a compiled model, with worker processes."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".cache" / "lhc").mkdir(parents=True)
    (folder / ".cache" / "lhc" / "compiled").symlink_to(Path(os.environ["LHC_CACHE"]) / "compiled")
    return folder, traced([sys.executable, "-c", SESSION], folder)


@pytest.mark.slow
@pytest.mark.analog
def test_no_command_connects_to_another_machine(run: tuple[Path, list[str]]) -> None:
    if not tracing():
        pytest.skip("strace is not installed, or may not trace")
    assert leaving(run[1]) == []


@pytest.mark.slow
@pytest.mark.analog
def test_nothing_is_kept_to_be_sent_later(run: tuple[Path, list[str]]) -> None:
    folder, _ = run
    assert (folder / "model.sim.onnx").is_file()
    assert [path.name for path in (folder / ".cache").iterdir()] == ["lhc"]


def test_a_connection_is_seen(tmp_path: Path) -> None:
    if not tracing():
        pytest.skip("strace is not installed, or may not trace")
    code = "import socket; [socket.socket(f, socket.SOCK_DGRAM).connect_ex((a, 9)) for f, a in {}]"
    near = "[(socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')]"
    far = "[(socket.AF_INET, '192.0.2.1'), (socket.AF_INET6, '2001:db8::1')]"  # addresses of documentation
    assert leaving(traced([sys.executable, "-c", code.format(near)], tmp_path)) == []
    assert len(leaving(traced([sys.executable, "-c", code.format(far)], tmp_path))) == 2


def test_what_onnxruntime_keeps_by_default_is_seen(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", "import onnxruntime"], env=environment(tmp_path), check=True)
    if not (tmp_path / ".cache").exists():
        pytest.skip("this onnxruntime keeps nothing to send")
    assert {path.name for path in (tmp_path / ".cache").iterdir()} == {"Microsoft"}


def test_telemetry_is_off_for_this_process_and_its_children(tmp_path: Path) -> None:
    code = "import os, lhc.runtime.onnxruntime.library; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    command = [sys.executable, "-c", code]
    environ = environment(tmp_path) | {"ORT_DISABLE_TELEMETRY": "0"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert not (tmp_path / ".cache" / "Microsoft").exists()


def test_onnxruntime_is_loaded_where_telemetry_is_switched_off() -> None:
    """Once, in the process that opens a model first, and for the sounds of a zoo entry, which do so themselves."""
    folders = [ROOT / name for name in ("lhc", "passes", "runtime", "models")]
    sources = {path.name: path.read_text("utf-8") for folder in folders for path in folder.rglob("*.py")}
    loading = {name: text for name, text in sources.items() if ONNXRUNTIME.search(text)}
    assert loading.keys() == {"library.py", "sandboxed_open.py", "swift_f0.py"}
    assert all("ORT_DISABLE_TELEMETRY" in text or "TELEMETRY_OFF" in text for text in loading.values())
