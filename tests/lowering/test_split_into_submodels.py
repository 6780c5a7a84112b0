"""Sub-models for other back ends: run one after the other they are the network, and the index says what tiles hold."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import lhc
from lhc.errors import ModelError
from lhc.hardware import DigitalCores, Faults, Hardware, Pcm, Tiles
from tests.conftest import Cli

pytestmark = pytest.mark.analog

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
network (float[N, 4, 6, 6] image) => (float[N, 4] logits) {
  [stem] c = Conv <pads = [1, 1, 1, 1]> (image, w, b)
  [act] r = Relu (c)
  [grouped] g = Conv <group = 2> (r, k)
  [sum] s = ReduceMean <axes = [2, 3], keepdims = 0> (g)
  [head] h = Gemm (s, v, a)
  [end] logits = Softmax (h)
}"""


@pytest.fixture
def network() -> onnx.ModelProto:
    model = onnx.parser.parse_model(TEXT)
    rng = np.random.default_rng(0)
    shapes = {"w": (8, 4, 3, 3), "b": (8,), "k": (6, 4, 3, 3), "v": (6, 4), "a": (4,)}
    for name, shape in shapes.items():
        model.graph.initializer.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    return model


SMALL = Hardware.load("lionheart").model_copy(update={"tiles": Tiles(rows=20, cols=5)})
IMAGES = np.random.default_rng(2).normal(size=(3, 4, 6, 6)).astype(np.float32)


def _run(path: Path, tensors: dict[str, Any], part: dict[str, Any]) -> None:
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    results = session.run(part["outputs"], {name: tensors[name] for name in part["inputs"]})
    tensors.update(zip(part["outputs"], results, strict=True))


def test_parts_in_their_order_are_the_network(network: onnx.ModelProto, tmp_path: Path) -> None:
    lhc.split(network, folder=tmp_path / "parts", placement=["grouped", "head"], hardware=SMALL)
    index = json.loads((tmp_path / "parts" / "index.json").read_text())
    tensors: dict[str, Any] = {"image": IMAGES}
    for stage in index["stages"]:
        for part in ([stage["digital"]] if stage["digital"] else []) + stage["analog"]:
            _run(tmp_path / "parts" / part["file"], tensors, part)
    assert [layer["name"] for stage in index["stages"] for layer in stage["analog"]] == ["grouped", "head"]
    whole = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(tensors["logits"], whole.run(None, {"image": IMAGES})[0], rtol=1e-5, atol=1e-6)


def test_tiles_hold_the_weights(network: onnx.ModelProto, tmp_path: Path) -> None:
    """Targets times scales, tile by tile, are the matrix; the programmed ones are near it, as the compiled file's."""
    lhc.split(
        network, folder=tmp_path / "parts", all_analog=True, hardware=SMALL.with_drift_compensation_alone(), seed=3
    )
    index = json.loads((tmp_path / "parts" / "index.json").read_text())
    arrays = np.load(tmp_path / "parts" / "conductances.npz")
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in network.graph.initializer}
    matrices = {"stem": weights["w"].reshape(8, -1), "grouped": weights["k"].reshape(6, -1), "head": weights["v"].T}
    layers = [layer for stage in index["stages"] for layer in stage["analog"]]
    assert [(layer["name"], layer["groups"], len(layer["tiles"])) for layer in layers] == [
        ("stem", 1, 4),
        ("grouped", 2, 4),
        ("head", 1, 1),
    ]
    for layer in layers:
        matrix = matrices[layer["name"]]
        for tile in layer["tiles"]:
            wanted = matrix[slice(*tile["outputs"]), slice(*tile["inputs"])]
            key = tile["arrays"]
            target, scales = arrays[f"{key}/target"], arrays[f"{key}/scales"]
            np.testing.assert_allclose(target * scales[:, None], wanted, rtol=1e-5, atol=1e-6)
            assert tile["scale"] == pytest.approx(float(scales.max()))
            pair = arrays[f"{key}/g_plus_us"] - arrays[f"{key}/g_minus_us"]
            np.testing.assert_allclose(pair, tile["g_max_us"] * target, rtol=1e-6, atol=1e-6)
            error = arrays[f"{key}/programmed"] * arrays[f"{key}/compensation"][:, None] - target
            assert 0 < np.abs(error).mean() < 0.1


def test_conductances_do_not_depend_on_omega(network: onnx.ModelProto, tmp_path: Path) -> None:
    found = []
    for omega in (1.0, 0.5):
        machine = SMALL.model_copy(update={"mapping": SMALL.mapping.model_copy(update={"omega": omega})})
        lhc.split(network, folder=tmp_path / str(omega), all_analog=True, hardware=machine, seed=3)
        with np.load(tmp_path / str(omega) / "conductances.npz") as arrays:
            found.append({name: arrays[name] for name in arrays if name.endswith(("g_plus_us", "g_minus_us"))})
    assert found[0].keys() == found[1].keys()
    for name, cells in found[0].items():
        np.testing.assert_allclose(found[1][name], cells, rtol=1e-5, atol=1e-5)


def test_a_reference_column_is_told_once(network: onnx.ModelProto, tmp_path: Path) -> None:
    referred = SMALL.model_copy(update={"devices": Pcm(pair="reference-column", g_min_us=5.0)})
    lhc.split(network, folder=tmp_path / "parts", all_analog=True, hardware=referred, seed=3)
    index = json.loads((tmp_path / "parts" / "index.json").read_text())
    arrays = np.load(tmp_path / "parts" / "conductances.npz")
    for tile in (tile for stage in index["stages"] for layer in stage["analog"] for tile in layer["tiles"]):
        key = tile["arrays"]
        reference, target = arrays[f"{key}/g_reference_us"], arrays[f"{key}/target"]
        np.testing.assert_array_equal(reference, np.full((1, target.shape[1]), 15.0, np.float32))
        np.testing.assert_allclose(arrays[f"{key}/g_plus_us"] - reference, 10 * target, atol=1e-5)
        assert f"{key}/g_minus_us" not in arrays


def test_a_digital_offset_is_told_beside_what_devices_hold(network: onnx.ModelProto, tmp_path: Path) -> None:
    fields = {"devices": {"model": "pcm", "pair": "digital-offset"}, "compensation": {"drift": "global"}, "costs": None}
    adc = SMALL.adc.model_copy(update={"bound": 60.0, "bound_management": "none"})
    offset = SMALL.with_fields({**fields, "adc": adc.model_dump()})
    lhc.split(network, folder=tmp_path / "parts", all_analog=True, hardware=offset, seed=3)
    index = json.loads((tmp_path / "parts" / "index.json").read_text())
    arrays = np.load(tmp_path / "parts" / "conductances.npz")
    for tile in (tile for stage in index["stages"] for layer in stage["analog"] for tile in layer["tiles"]):
        key = tile["arrays"]
        target, base = arrays[f"{key}/target"], arrays[f"{key}/base"]
        found = arrays[f"{key}/programmed"] * arrays[f"{key}/compensation"][:, None] - base
        assert np.corrcoef(found.ravel(), target.ravel())[0, 1] > 0.95
        np.testing.assert_allclose(arrays[f"{key}/g_plus_us"], 12.5 * (target + 1), atol=1e-4)
        assert f"{key}/g_minus_us" not in arrays


def test_weights_mapped_around_faults_are_refused(network: onnx.ModelProto, tmp_path: Path) -> None:
    faulty = SMALL.model_copy(update={"faults": Faults(stuck_low=0.1, remap=True)})
    with pytest.raises(ModelError, match=r"faults\.remap.*remap: false"):
        lhc.split(network, folder=tmp_path / "parts", all_analog=True, hardware=faulty)
    still = faulty.model_copy(update={"faults": Faults(stuck_low=0.1)})
    assert lhc.split(network, folder=tmp_path / "parts", all_analog=True, hardware=still)


def test_rows_of_tiles_hold_every_copy_of_the_weights(network: onnx.ModelProto, tmp_path: Path) -> None:
    """What the rows of an input hold, over all copies and tiles, adds up to its weights; no pair is beyond g_max."""
    copied = SMALL.model_copy(update={"compensation": SMALL.compensation.model_copy(update={"copies": True})})
    lhc.split(network, folder=tmp_path / "parts", all_analog=True, hardware=copied, seed=3)
    index = json.loads((tmp_path / "parts" / "index.json").read_text())
    arrays = np.load(tmp_path / "parts" / "conductances.npz")
    layers = {layer["name"]: layer for stage in index["stages"] for layer in stage["analog"]}
    assert {name: layer["copies"] for name, layer in layers.items()} == {"stem": 1, "grouped": 1, "head": 3}
    wanted = numpy_helper.to_array(next(t for t in network.graph.initializer if t.name == "v")).T
    found = np.zeros_like(wanted)
    (tile,) = layers["head"]["tiles"]
    key = tile["arrays"]
    rows, target = arrays[f"{key}/rows"], arrays[f"{key}/target"]
    assert rows.tolist() == [*range(6), *range(6), *range(6)]
    np.add.at(found.T, rows, (target * arrays[f"{key}/scales"][:, None]).T)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert arrays[f"{key}/g_plus_us"].max() <= tile["g_max_us"] * (1 + 1e-6)
    assert arrays[f"{key}/programmed"].shape == wanted.shape


def test_corrections_of_outputs_are_those_of_the_compiled_chip(network: onnx.ModelProto, tmp_path: Path) -> None:
    """And what they bring outputs to, before the bias, is what the digital network has on the calibration samples."""
    images = np.random.default_rng(4).normal(size=(40, 4, 6, 6)).astype(np.float32)
    samples: dict[str, Any] = {
        "data": {"image": images},
        "hardware": SMALL,
        "placement": ["grouped", "head"],
        "seed": 3,
    }
    lhc.split(network, folder=tmp_path / "parts", **samples)
    index = json.loads((tmp_path / "parts" / "index.json").read_text())
    arrays = np.load(tmp_path / "parts" / "conductances.npz")
    assert {k: v for k, v in index["calibration"].items() if k not in ("data", "procedure")} == {
        "samples": 40,
        "reads": 4,
        "t_s": SMALL.t_inference_s,
        "greatest_gain": 2.0,
    }
    compiled = {t.name: numpy_helper.to_array(t) for t in lhc.compile(network, **samples).proto.graph.initializer}
    read = next(node.input[0] for node in network.graph.node if node.output[0] == "h")
    for value in ("h", read):
        network.graph.output.append(onnx.ValueInfoProto(name=value))
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    head, vectors = session.run(["h", read], {"image": images})
    products = head - next(numpy_helper.to_array(t) for t in network.graph.initializer if t.name == "a")
    peaks = np.abs(vectors).max(1)
    calls = np.split(peaks, [10, 20, 30])  # four reads take turns, so a call has ten samples at most
    weights = np.concatenate([1 / (own**2 + own.mean() ** 2) for own in calls])
    mean = np.average(products, axis=0, weights=weights)
    deviation = np.sqrt(np.average(np.square(products - mean), axis=0, weights=weights))
    layers = {layer["name"]: layer for stage in index["stages"] for layer in stage["analog"]}
    np.testing.assert_allclose(arrays[f"{layers['head']['correction']}/mean"], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(arrays[f"{layers['head']['correction']}/deviation"], deviation, rtol=1e-4)
    for name in ("grouped", "head"):
        key = layers[name]["correction"]
        np.testing.assert_array_equal(arrays[f"{key}/offset"], compiled[f"{name}.offset"].reshape(-1))
        assert ((arrays[f"{key}/gain"] >= 0.5) & (arrays[f"{key}/gain"] <= 2)).all()
        assert not (arrays[f"{key}/gain"] == 1).any()


@dataclass(frozen=True)
class _Files:
    """A chip as somebody without lhc has it: what `lhc split` wrote, on a machine whose converters are ideal."""

    folder: Path

    @cached_property
    def index(self) -> dict[str, Any]:
        return json.loads((self.folder / "index.json").read_text())  # type: ignore[no-any-return]

    @cached_property
    def arrays(self) -> dict[str, Any]:
        return dict(np.load(self.folder / "conductances.npz"))

    def layer(self, name: str) -> dict[str, Any]:
        return next(one for stage in self.index["stages"] for one in stage["analog"] if one["name"] == name)

    def weights(self, layer: dict[str, Any]) -> npt.NDArray[np.float64]:
        """What the tiles of a layer multiply by, ``(outputs, inputs)``."""
        ends = [max(tile[side][1] for tile in layer["tiles"]) for side in ("outputs", "inputs")]
        found = np.zeros(ends)
        for tile in layer["tiles"]:
            of = {name: self.arrays[f"{tile['arrays']}/{name}"] for name in ("programmed", "scales", "compensation")}
            part = of["programmed"] * (of["scales"] * of["compensation"])[:, None]
            found[slice(*tile["outputs"]), slice(*tile["inputs"])] += part
        return found

    def product(self, layer: dict[str, Any], tensors: dict[str, Any]) -> tuple[Any, Any]:
        """What the chip puts out before the bias, outputs last, and the bias."""
        part = onnx.load(self.folder / layer["file"])
        (node,) = part.graph.node
        stored = {tensor.name: tensor for tensor in part.graph.initializer}
        old = numpy_helper.to_array(stored[node.input[1]])
        matrix = self.weights(layer)
        new = matrix.T if node.op_type == "Gemm" else matrix
        stored[node.input[1]].CopyFrom(
            numpy_helper.from_array(new.reshape(old.shape).astype(np.float32), node.input[1])
        )
        session = onnxruntime.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])
        (output,) = session.run(layer["outputs"], {name: tensors[name] for name in layer["inputs"]})
        bias = numpy_helper.to_array(stored[node.input[2]]) if len(node.input) > 2 else np.zeros(len(matrix))
        return np.moveaxis(output, 1, -1) - bias, bias

    def run(self, images: npt.NDArray[np.float32]) -> dict[str, Any]:
        """All tensors of the network, every layer corrected as the files say."""
        tensors: dict[str, Any] = {"image": images}
        for stage in self.index["stages"]:
            if stage["digital"]:
                _run(self.folder / stage["digital"]["file"], tensors, stage["digital"])
            for layer in stage["analog"]:
                output, bias = self.product(layer, tensors)
                own = {name: self.arrays[f"{layer['correction']}/{name}"] for name in ("gain", "offset")}
                corrected = own["gain"] * output + own["offset"] + bias
                tensors[layer["outputs"][0]] = np.moveaxis(corrected, -1, 1).astype(np.float32)
        return tensors


IDEAL = SMALL.model_copy(
    update={
        "dac": SMALL.dac.model_copy(update={"bits": None, "bound": None}),
        "adc": SMALL.adc.model_copy(update={"bits": None, "bound": None, "noise": 0.0}),
        "digital": DigitalCores(precision="as-file"),
    }
)
CALIBRATION = {"image": np.random.default_rng(4).normal(size=(40, 4, 6, 6)).astype(np.float32)}


def test_the_files_alone_give_what_a_calibrated_session_does(network: onnx.ModelProto, tmp_path: Path) -> None:
    """Programmed weights, compensation, gains and offsets; their columns in another order do not."""
    compensation = IDEAL.compensation.model_copy(update={"drift": "per-column"})
    chip: dict[str, Any] = {
        "hardware": IDEAL.model_copy(update={"compensation": compensation}),
        "placement": ["grouped", "head"],
        "seed": 3,
    }
    lhc.split(network, folder=tmp_path / "parts", data=CALIBRATION, **chip)
    session = lhc.HybridSession(network, **chip)
    (uncalibrated,) = session.run(None, {"image": IMAGES})
    session.drift_to(IDEAL.t_inference_s)
    session.calibrate(CALIBRATION)
    (wanted,) = session.run(None, {"image": IMAGES})
    files = _Files(tmp_path / "parts")
    np.testing.assert_allclose(files.run(IMAGES)["logits"], wanted, rtol=1e-4, atol=1e-6)  # sums in another order
    assert not np.allclose(uncalibrated, wanted, 1e-4, 1e-6)
    for name in ("grouped", "head"):
        for what in ("gain", "offset"):
            wrong = _Files(tmp_path / "parts")
            key = f"{wrong.layer(name)['correction']}/{what}"
            wrong.arrays[key] = np.roll(wrong.arrays[key], 1)
            assert not np.allclose(wrong.run(IMAGES)["logits"], wanted, 1e-4, 1e-6), (name, what)


def test_the_procedure_finds_the_corrections_of_the_files(network: onnx.ModelProto, tmp_path: Path) -> None:
    """Done by hand as the index says, on a machine whose reads are all alike."""
    assert IDEAL.devices is not None
    machine = IDEAL.model_copy(update={"devices": IDEAL.devices.model_copy(update={"read_noise_scale": 0.0})})
    placed: dict[str, Any] = {"placement": ["grouped", "head"], "hardware": machine, "seed": 3}
    lhc.split(network, folder=tmp_path / "parts", data=CALIBRATION, **placed)
    files = _Files(tmp_path / "parts")
    tensors = files.run(CALIBRATION["image"])  # every layer is given what the corrected ones put out
    layer = files.layer("head")
    outputs, _ = files.product(layer, tensors)
    peaks = np.abs(tensors[layer["inputs"][0]]).max(1)
    calls = np.split(peaks, [10, 20, 30])  # four reads take turns, so a call has ten samples at most
    weights = np.concatenate([1 / (own**2 + own.mean() ** 2) for own in calls])
    mean = np.average(outputs, axis=0, weights=weights)
    deviation = np.sqrt(np.average(np.square(outputs - mean), axis=0, weights=weights))
    digital = {name: files.arrays[f"{layer['correction']}/{name}"] for name in ("mean", "deviation")}
    most = files.index["calibration"]["greatest_gain"]
    gain = np.clip(digital["deviation"] / deviation, 1 / most, most)
    np.testing.assert_allclose(files.arrays[f"{layer['correction']}/gain"], gain, rtol=1e-4)
    offset = digital["mean"] - gain * mean
    np.testing.assert_allclose(files.arrays[f"{layer['correction']}/offset"], offset, rtol=1e-3, atol=1e-5)


def test_without_samples_or_corrections_none_are_written(network: onnx.ModelProto, tmp_path: Path) -> None:
    images = np.random.default_rng(4).normal(size=(40, 4, 6, 6)).astype(np.float32)
    plain = SMALL.with_drift_compensation_alone()
    cases: dict[str, dict[str, Any]] = {
        "no-samples": {"hardware": SMALL},
        "none": {"hardware": plain, "data": {"image": images}},
    }
    for folder, given in cases.items():
        index = lhc.split(network, folder=tmp_path / folder, placement=["head"], **given)
        assert index["calibration"] is None
        assert '"correction": null' in (tmp_path / folder / "index.json").read_text()
        assert not [name for name in np.load(tmp_path / folder / "conductances.npz") if "correction" in name]


def test_a_folder_that_holds_something_is_left_alone(cli: Cli, network: onnx.ModelProto, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "mine.txt").write_text("mine")
    onnx.save_model(network, str(tmp_path / "m.onnx"))
    command = ["split", str(tmp_path / "m.onnx"), "--all-analog", "-o"]
    result = cli(*command, tmp_path / "parts")
    assert result.exit_code == 2
    assert "exists and is not an empty folder" in result.stderr
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["mine.txt"]
    result = cli(*command, tmp_path / "other")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "3 digital and 3 analog sub-models, index.json, conductances.npz\n"
    assert not list(tmp_path.glob(".*"))


def test_the_working_folder_is_refused_before_the_work(
    cli: Cli, network: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save_model(network, str(tmp_path / "m.onnx"))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    result = cli("split", tmp_path / "m.onnx", "--all-analog", "-o", ".")
    assert result.exit_code == 2
    assert ".: is the working folder; choose another name" in result.stderr


def test_limits_that_no_placement_keeps_to_are_said(cli: Cli, network: onnx.ModelProto, tmp_path: Path) -> None:
    """Parts are written all the same, as files of compile are, and the exit code is 1."""
    onnx.save_model(network, str(tmp_path / "m.onnx"))
    np.savez(tmp_path / "samples.npz", image=np.tile(IMAGES, (8, 1, 1, 1)))
    options = ["--data", tmp_path / "samples.npz", "--max-latency", "1e-12"]
    result = cli("split", tmp_path / "m.onnx", *options, "-o", tmp_path / "parts")
    assert (tmp_path / "parts" / "index.json").is_file()
    assert result.exit_code == 1
    assert "no placement keeps to all limits (--max-latency); the parts were written all the same" in result.stderr
