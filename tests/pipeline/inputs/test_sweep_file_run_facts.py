"""What a row is kept by: settings and the content of files, wherever these lie and however the run is carried out."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from lhc.options.by_command import PartitionOptions
from lhc.pipeline.inputs.sweep_file import outside_files, run_facts
from lhc.store import fingerprint
from tests.networks import drawn, parsed

TEXT = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 4] x) => (float[N, 4] y) { y = MatMul (x, w) }"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model whose weights lie beside it, samples, a machine and a metric."""
    monkeypatch.chdir(tmp_path)
    model = parsed(TEXT, drawn({"w": (4, 4)}))
    onnx.save_model(model, "m.onnx", save_as_external_data=True, location="m.weights", size_threshold=0)
    np.savez("data.npz", x=np.zeros((4, 4), np.float32))
    Path("machine.yaml").write_text("extends: lionheart\n")
    Path("mine.py").write_text("def score(outputs, targets):\n    return 0.0\n")
    return tmp_path


def key(**options: object) -> str:
    given = {"model": "m.onnx", "data": "data.npz", "hardware": "machine.yaml", "metric": "mine:score"} | options
    return fingerprint(run_facts(PartitionOptions(**given), outside_files()))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["m.weights", "data.npz", "machine.yaml", "mine.py"])
def test_another_content_is_another_run(folder: Path, name: str) -> None:
    before = key()

    path = folder / name
    path.write_bytes(path.read_bytes() + b"\n")

    assert key() != before


def test_devices_that_a_machine_names_count_by_their_code(folder: Path) -> None:
    Path("machine.yaml").write_text("extends: lionheart\ndevices: {noise_model: 'mynoise:Mine'}\n")
    Path("mynoise.py").write_text("class Mine:\n    scale = 1\n")
    before = key()

    Path("mynoise.py").write_text("class Mine:\n    scale = 2\n")

    assert key() != before


def test_where_files_lie_and_how_it_is_carried_out_does_not_count(folder: Path) -> None:
    before = key()

    (folder / "data.npz").rename(folder / "renamed.npz")

    assert key(data=folder / "renamed.npz", jobs=2, memory="1GiB", work_dir=folder, fresh=True) == before


@pytest.mark.parametrize(
    "changed",
    [{"seed": 1}, {"max_drop": "2%"}, {"t_inference": "1y"}, {"exclude": ["y"]}, {"timeout": 60}, {"retrain": True}],
    ids=["seed", "budget", "time", "layers", "timeout", "training"],
)
def test_another_setting_is_another_run(folder: Path, changed: dict[str, object]) -> None:
    assert key(**changed) != key()


def test_a_folder_counts_by_its_files(folder: Path) -> None:
    (folder / "shards").mkdir()
    np.save(folder / "shards" / "x.npy", np.zeros((4, 4), np.float32))
    before = key(data="shards")
    np.save(folder / "shards" / "x.npy", np.ones((4, 4), np.float32))

    assert key(data="shards") != before


def test_what_cannot_be_read_has_a_key_too(folder: Path) -> None:
    (folder / "broken.onnx").write_bytes(b"no network")

    assert len({key(model="broken.onnx"), key(model="nowhere.onnx"), key(model="digits")}) == 3


def test_a_network_of_the_zoo_counts_by_what_lies_outside_the_package(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LHC_DATA", str(folder))
    before = key(model="resnet20", data=None)

    Path("weights.npz").write_bytes(b"other weights")

    assert key(model="resnet20", data=None) != before
