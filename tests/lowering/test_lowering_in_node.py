"""The compiled digits network in onnxruntime-web, as a browser runs it (WebAssembly), under Node.

Needs `node` and the npm package onnxruntime-web where Node finds it (NODE_PATH); skipped otherwise.
"""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import lhc
from lhc.models import zoo_entry

pytestmark = [pytest.mark.analog, pytest.mark.slow]

SCRIPT = """
const ort = require("onnxruntime-web"), fs = require("fs");
ort.env.wasm.numThreads = 1;
const [model, input, output, ...shape] = process.argv.slice(1);
(async () => {
  const session = await ort.InferenceSession.create(new Uint8Array(fs.readFileSync(model)));
  const values = new Float32Array(new Uint8Array(fs.readFileSync(input)).buffer);
  const results = await session.run({ x: new ort.Tensor("float32", values, shape.map(Number)) });
  fs.writeFileSync(output, Buffer.from(results[session.outputNames[0]].data.buffer));
})().catch(error => { console.error(error); process.exit(1); });
"""


def node(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["node", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module", autouse=True)
def onnxruntime_web() -> None:
    if shutil.which("node") is None or node("-e", 'require.resolve("onnxruntime-web")').returncode:
        pytest.skip("node with the npm package onnxruntime-web is not installed (NODE_PATH)")


@pytest.mark.parametrize("hardware", ["lionheart", "static-range"])
def test_digits_give_the_same_result_as_here(hardware: str, tmp_path: Path) -> None:
    images = np.asarray(zoo_entry("digits-narrow").task().inputs["x"][:200], np.float32)
    compiled = lhc.compile("digits-narrow", all_analog=True, hardware=hardware, noise="off")
    path = compiled.save(tmp_path / "digits.sim.onnx")
    (tmp_path / "x.bin").write_bytes(images.tobytes())
    process = node("-e", SCRIPT, path, tmp_path / "x.bin", tmp_path / "y.bin", *images.shape)
    assert process.returncode == 0, process.stderr
    logits = np.frombuffer((tmp_path / "y.bin").read_bytes(), np.float32).reshape(len(images), -1)
    (expected,) = compiled.run(None, {"x": images})
    flips = int((logits.argmax(axis=1) != expected.argmax(axis=1)).sum())
    assert flips <= 1, "one of 200 may lie on a rounding edge"
    near = np.abs(logits - expected).max(axis=1) <= 1e-4 * np.abs(expected).max()
    assert near.mean() >= 0.9, "the others differ by what one code of a converter makes"


def test_noise_is_drawn_there_too(tmp_path: Path) -> None:
    images = np.asarray(zoo_entry("digits-narrow").task().inputs["x"][:50], np.float32)
    path = lhc.compile("digits-narrow", all_analog=True).save(tmp_path / "digits.sim.onnx")
    (tmp_path / "x.bin").write_bytes(images.tobytes())
    process = node("-e", SCRIPT, path, tmp_path / "x.bin", tmp_path / "y.bin", *images.shape)
    assert process.returncode == 0, process.stderr
    assert np.isfinite(np.frombuffer((tmp_path / "y.bin").read_bytes(), np.float32)).all()
