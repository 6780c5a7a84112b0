"""The programs of docs/compiled-models.md in other languages, compiled and run as they stand there.

C++ needs ``g++`` and onnxruntime's headers (``ONNXRUNTIME_CPP`` names their folder), Node the npm package
onnxruntime-web where Node finds it (``NODE_PATH``); skipped otherwise.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

import lhc

pytestmark = [pytest.mark.analog, pytest.mark.slow]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compiled-models.md"


def program(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return str(text)


def printed(*command: object, folder: Path) -> npt.NDArray[np.float64]:
    """The numbers that a program prints."""
    process = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert process.returncode == 0, process.stderr
    return np.array(process.stdout.split(), float)


@pytest.fixture(scope="module")
def headers() -> str:
    folder = os.environ.get("ONNXRUNTIME_CPP")
    if not folder or shutil.which("g++") is None:
        pytest.skip("ONNXRUNTIME_CPP names no folder with onnxruntime's C++ headers, or there is no g++")
    assert (Path(folder) / "onnxruntime_cxx_api.h").is_file(), "ONNXRUNTIME_CPP is not the folder of the headers"
    return folder


@pytest.fixture(scope="module")
def node() -> str:
    find = ["node", "-e", 'require.resolve("onnxruntime-web")']
    if shutil.which("node") is None or subprocess.run(find, capture_output=True, check=False).returncode:
        pytest.skip("node with the npm package onnxruntime-web is not installed (NODE_PATH)")
    return "node"


@pytest.fixture
def digits(tmp_path: Path) -> tuple[Path, npt.NDArray[np.float64]]:
    """A folder with ``digits.sim.onnx``, and its logits of an empty image."""
    compiled = lhc.compile("digits-narrow", all_analog=True, noise="off")
    compiled.save(tmp_path / "digits.sim.onnx")
    (logits,) = compiled.run(None, {"x": np.zeros((1, 1, 8, 8), np.float32)})
    return tmp_path, logits[0].astype(float)


def test_the_cpp_program(headers: str, digits: tuple[Path, npt.NDArray[np.float64]]) -> None:
    folder, expected = digits
    (folder / "digits.cpp").write_text(program("cpp"), "utf-8")
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    (folder / "libonnxruntime.so.1").symlink_to(library)  # the name that programs linked with it look for
    options = ["-std=c++17", "-I", headers, "digits.cpp", "libonnxruntime.so.1", f"-Wl,-rpath,{folder}"]
    printed("g++", *options, "-o", "digits-narrow", folder=folder)
    assert printed("./digits", folder=folder) == pytest.approx(expected, rel=1e-5)  # six digits are printed


def test_the_node_program(node: str, digits: tuple[Path, npt.NDArray[np.float64]]) -> None:
    folder, expected = digits
    (folder / "digits.js").write_text(program("js"), "utf-8")
    found = printed(node, "digits.js", folder=folder)
    assert found.argmax() == expected.argmax()
    # WebAssembly sums in another order, and may move codes of a converter.
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
