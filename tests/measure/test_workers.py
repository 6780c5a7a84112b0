"""Workers end with their parent, whatever ends it, and leave no folder behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.analog, pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")]

SECONDS = 60
PARENT = """
import time
from lhc.measure.workers import ProcessWorkers

if __name__ == "__main__":
    workers = ProcessWorkers(2)
    print(*[workers._pool.submit(pow, 2, 2).result() for _ in range(4)], flush=True)
    print(*workers._pool._processes, flush=True)
    time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked at in /proc")
def test_workers_and_their_folder_go_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary)}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "4 4 4 4\n"
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert children
    assert all(map(alive, children))
    assert list(temporary.glob("lhc-*"))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + SECONDS
    while any(map(alive, children)) or list(temporary.glob("lhc-*")):
        assert time.monotonic() < end, "workers outlive their parent"
        time.sleep(0.1)
