"""aihwkit's CSV for the Fusion chip: its own bytes, written and read; and devices fitted to what a chip gives back."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import lhc
from lhc.errors import DataError, ModelError, UsageError
from lhc.hardware import Hardware
from lhc.hardware.aihwkit_config.fusion_csv_format import FusionLayer, fusion_conductances, fusion_text, read_fusion
from lhc.hardware.devices.measurement_csv import with_measured_devices
from lhc.onnx_io import load_model, read_graph, read_plan
from lhc.onnx_io.annotate.plan_as_fusion_csv import fusion_csv
from tests.conftest import Cli

RNG = np.random.default_rng(11)
CONV = RNG.normal(size=(6, 3, 3, 3)).astype(np.float32)
LINEAR = RNG.normal(size=(300, 600)).astype(np.float32)
CONV[2] = 0
"""A column without weights."""
NETWORK = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 3, 12, 12] x) => (float[N, 300] y) {
  [conv] c = Conv (x, w0)
  f = Flatten (c)
  [fc] y = Gemm <transB = 1> (f, w1)
}"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What aihwkit writes of the network on tiles of 512 x 256."""
    import torch
    from aihwkit.nn import AnalogConv2d, AnalogLinear, AnalogSequential
    from aihwkit.simulator.tiles.inference_torch import TorchInferenceTile
    from aihwkit.utils import export

    config = Hardware.load("standard-pcm-torch").to_rpu_config()
    config.mapping.max_output_size = 256
    conv, linear = AnalogConv2d(3, 6, 3, bias=False, rpu_config=config), AnalogLinear(600, 300, False, config)
    conv.set_weights(torch.from_numpy(CONV))
    linear.set_weights(torch.from_numpy(LINEAR))
    path = tmp_path_factory.mktemp("fusion") / "aihwkit.csv"
    with pytest.MonkeyPatch.context() as patch:
        # It asks for the compiled tile, whose weights the torch tile has too.
        patch.setattr(export, "InferenceTile", TorchInferenceTile)
        export.fusion_export(AnalogSequential(conv, torch.nn.Flatten(), linear), file_name=str(path))
    return path


def network() -> onnx.ModelProto:
    model = onnx.parser.parse_model(NETWORK)
    for name, values in (("w0", CONV), ("w1", LINEAR)):
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    return model


@pytest.mark.analog
def test_a_file_of_aihwkits_is_read_and_written_with_the_same_bytes(exported: Path) -> None:
    layers = read_fusion(exported)
    assert [(one.kind, one.height, one.width) for one in layers] == [
        ("AnalogConv2d", 6, 27),
        ("AnalogLinear", 300, 600),
    ]
    assert fusion_text(layers).encode() == exported.read_bytes()


@pytest.mark.analog
def test_the_same_weights_make_the_same_file(exported: Path) -> None:
    """Tile after tile, with the bytes of aihwkit's arithmetic; numbers and names of modules are those of PyTorch."""
    theirs = read_fusion(exported)
    ours = [fusion_conductances(matrix, 512, 256) for matrix in (CONV.reshape(6, 27), LINEAR)]
    assert (np.array(ours[0]).reshape(6, 27)[2] == 0).all()
    made = [
        FusionLayer(one.name, one.number, one.kind, one.height, one.width, values)
        for one, values in zip(theirs, ours, strict=True)
    ]
    assert fusion_text(made).encode() == exported.read_bytes()


@pytest.mark.analog
def test_aihwkit_reads_what_is_written(tmp_path: Path) -> None:
    from aihwkit.utils.export import _fusion_load_csv

    layers = [FusionLayer("a,b", 3, "AnalogLinear", 1, 2, (0.1, 40.0)), FusionLayer("c", 4, "AnalogConv2d", 1, 1, (5,))]
    path = tmp_path / "f.csv"
    path.write_bytes(fusion_text(layers).encode())
    header = "3,4\nAnalogLinear,AnalogConv2d\n2,1\n1,1\n2,1\n"
    assert _fusion_load_csv(str(path), header) == OrderedDict({"a,b": [0.1, 40.0], "c": [5.0]})
    assert read_fusion(path) == tuple(layers)


@pytest.mark.analog
def test_a_placed_network_is_written_by_inspect(cli: Cli, exported: Path, tmp_path: Path) -> None:
    placed, csv = tmp_path / "placed.onnx", tmp_path / "ours.csv"
    hardware = Hardware.load("standard-pcm-torch")
    machine = hardware.model_copy(update={"tiles": hardware.tiles.model_copy(update={"cols": 256})})
    data = {"x": RNG.normal(size=(8, 3, 12, 12)).astype(np.float32)}
    given: dict[str, Any] = {"strategy": "all-analog", "max_drop": 10.0, "draws": 2, "max_draws": 2, "explain": False}
    lhc.partition(network(), data=data, hardware=machine, metric="nmse", **given).save(placed)
    assert cli("inspect", placed, "--fusion", csv).exit_code == 0
    ours, theirs = read_fusion(csv), read_fusion(exported)
    assert [one.conductances_us for one in ours] == [one.conductances_us for one in theirs]
    assert [(one.name, one.number, one.kind) for one in ours] == [
        ("conv", 1, "AnalogConv2d"),
        ("fc", 2, "AnalogLinear"),
    ]
    assert cli("inspect", placed, "--fusion", csv).exit_code == 2, "the file is there"

    model = load_model(placed)
    plan = read_plan(model)
    assert plan is not None
    sliced = plan.hardware.model_copy(update={"mapping": plan.hardware.mapping.model_copy(update={"cell_bits": 4})})
    with pytest.raises(ModelError, match=r"layer 'conv' has weights in slices"):
        fusion_csv(model, read_graph(model), plan.model_copy(update={"hardware": sliced}))


def test_devices_are_fitted_to_what_the_chip_gives_back(cli: Cli, tmp_path: Path) -> None:
    targets = np.abs(RNG.normal(size=20_000)).clip(0, 2) * 20
    held = targets + (0.5 + 0.05 * targets) * RNG.standard_normal(20_000)
    paths = []
    for name, values in (("targets", targets), ("held", held)):
        paths.append(tmp_path / f"{name}.csv")
        layer = FusionLayer("fc", 1, "AnalogLinear", 100, 200, tuple(values.tolist()))
        paths[-1].write_bytes(fusion_text([layer]).encode())

    machine, found = with_measured_devices(Hardware.load("lionheart"), paths[1], paths[0])
    assert (found.measured, machine.t_inference_s) == (20_000, 0)
    at = np.array(found.devices.targets_us)
    assert np.array(found.devices.std_us[0])[5:25] == pytest.approx(0.5 + 0.05 * at[5:25], rel=0.15)
    assert np.array(found.devices.mean_us[0])[5:25] == pytest.approx(at[5:25], abs=0.4)
    printed = cli("hardware", "--measured", paths[1], "--fusion-targets", paths[0])
    assert printed.stdout == machine.to_yaml()
    assert "t_inference_s is 0: no device was measured later" in printed.stderr
    assert "give both" in cli("hardware", "--fusion-targets", paths[0]).stderr
    assert "name the machine whose cells these are" in cli("hardware", "--fault-map", paths[0]).stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\nAnalogLinear\n2\n1\n2\na\n", "a Fusion CSV of 1 layers has 5 lines"),
        ("1\nAnalogLinear\n2\n1\n2\na\n1.0,x\n", "numbers are wanted"),
        ("1\nAnalogLinear\n2\n1\n2\na\n1.0\n", "has 1 conductances, and its 1 x 2 weights"),
        ("1\nAnalogLinear\n2\n1\n2\na\n1.0,nan\n", "all finite"),
        ("", "a Fusion CSV of 0 layers"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "f.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_fusion(path)


def test_files_of_two_networks_and_conductances_that_the_chip_has_not_are_refused(tmp_path: Path) -> None:
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path, size in zip(paths, (1, 2), strict=True):
        path.write_bytes(fusion_text([FusionLayer("fc", 1, "AnalogLinear", 1, size, (1.0,) * size)]).encode())
    with pytest.raises(DataError, match="not those of"):
        with_measured_devices(Hardware.load("lionheart"), *paths)
    with pytest.raises(UsageError, match="10 to 40 µS"):
        fusion_conductances(LINEAR, 512, 512, g_max_us=50)
