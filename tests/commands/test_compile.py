"""``lhc compile`` and `lhc.compile`: from a plain or a placed model to files."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

import lhc
from lhc.cli.framework.app import app
from lhc.errors import UsageError
from lhc.hardware import DigitalCores, Hardware
from lhc.hardware.description.digital import Precision
from lhc.lowering import Noise
from lhc.onnx_io import load_model, read_plan
from lhc.plan import Conformance
from tests.networks import drawn, parsed

pytestmark = pytest.mark.analog

LIONHEART = Hardware.load("lionheart")
TEXT = """<ir_version: 8, opset_import: ["" : 17]>
small (float[N, 2, 6, 6] image) => (float[N, 4] logits) {
  [stem] c = Conv <pads = [1, 1, 1, 1]> (image, w, b)
  [act] r = Relu (c)
  [pool] p = GlobalAveragePool (r)
  [flat] f = Flatten (p)
  [head] logits = Gemm (f, v, a)
}"""


def small_network() -> onnx.ModelProto:
    return parsed(TEXT, drawn({"w": (8, 2, 3, 3), "b": (8,), "v": (8, 4), "a": (4,)}))


@pytest.fixture
def network() -> onnx.ModelProto:
    return small_network()


@pytest.fixture
def model_file(network: onnx.ModelProto, tmp_path: Path) -> Path:
    onnx.save_model(network, str(tmp_path / "small.onnx"))
    return tmp_path / "small.onnx"


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    images = rng.normal(size=(40, 2, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "data.npz", image=images, labels=rng.integers(0, 4, 40))
    return tmp_path / "data.npz"


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The network, both products on tiles, as `lhc partition` writes it."""
    out = tmp_path_factory.mktemp("placed") / "small.lhc.onnx"
    rng = np.random.default_rng(1)
    data: dict[str, np.ndarray] = {
        "image": rng.normal(size=(40, 2, 6, 6)).astype(np.float32),
        "labels": rng.integers(0, 4, 40),
    }
    lhc.partition(small_network(), data, objective="macs", max_drop=0.9, draws=3).save(out)
    return out.read_bytes()


@pytest.fixture
def placed(annotated: bytes, model_file: Path) -> Path:
    """It, beside the network's file."""
    path = model_file.with_name("small.lhc.onnx")
    path.write_bytes(annotated)
    return path


IMAGES = {"image": np.random.default_rng(2).normal(size=(5, 2, 6, 6)).astype(np.float32)}


def test_a_plain_model_with_data_is_partitioned_first(model_file: Path, data_file: Path) -> None:
    command = ("compile", model_file, "--data", data_file, "--max-drop", 0.9, "--noise", "off")
    code, out, told = run(*command)
    assert code == 0
    assert out.startswith("analog 0/2 layers")
    assert "no layer pays on this machine" in told
    code, out, _ = run(*command, "--objective", "macs", "--force")
    assert code == 0
    layers, chip, calibrated, emulation = out.splitlines()
    assert layers == "analog 2/2 layers, 1 day after the first read, output noise left out"
    assert chip == "chip 0 of seed 0"
    assert calibrated.startswith("calibrated on ")
    assert emulation.startswith("emulation checked against aihwkit: 2 layers, ")
    compiled = onnx.load(str(model_file.with_name("small.sim.onnx")))
    onnx.checker.check_model(compiled, full_check=True)
    assert {n.domain for n in compiled.graph.node if n.name in ("stem", "head")} == {"lhc.analog"}
    keys = {entry.key: entry.value for entry in compiled.metadata_props}
    assert json.loads(keys["lhc.compiled"]) == {"noise": "off", "seed": 0, "draw": 0, "t_s": 86400.0}
    assert keys["lhc.source"] == load_model(model_file).source
    plan = read_plan(load_model(compiled))
    assert plan is not None
    assert plan.outcome is not None
    assert plan.analog == {"stem", "head"}
    assert plan.conformance is not None
    assert {layer.name for layer in plan.conformance.layers} == plan.analog


def test_samples_say_what_calibrates_a_given_placement(model_file: Path, data_file: Path, tmp_path: Path) -> None:
    with np.load(data_file) as data:
        np.savez(tmp_path / "part.npz", **{name: array[4:16] for name, array in data.items()})
    command = ("compile", model_file, "--all-analog", "-o", tmp_path / "chip.sim.onnx", "--force")
    made = []
    for options in (("--data", data_file, "--skip", 4, "--samples", 12), ("--data", tmp_path / "part.npz")):
        code, out, told = run(*command, *options)
        assert code == 0, told
        made.append((out.splitlines()[2], (tmp_path / "chip.sim.onnx").read_bytes()))
    told = "calibrated on 12 samples, drawn from samples {} of the data; the hardware asks for 256"
    assert [line for line, _ in made] == [told.format("4 to 15"), told.format("0 to 11")]
    assert made[0][1] == made[1][1]


def test_an_annotated_model_needs_no_data(placed: Path, tmp_path: Path) -> None:
    assert run("compile", placed, "-o", tmp_path / "x.sim.onnx")[0] == 0
    code, _, told = run("compile", placed, "--t-inference", 0, "--seed", 4)
    assert (code, "replaced" in told) == (0, False)
    assert "replaced" not in run("compile", placed, "--t-inference", 0, "--seed", 4)[2]
    told = run("compile", placed, "-o", tmp_path / "x.sim.onnx", "--t-inference", 0, "--seed", 4)[2]
    assert "; replaced: a compiled model (noise on, seed 0, draw 0, t_s 86400.0) of the network" in told
    again = json.loads(run("compile", placed, "-o", tmp_path / "x.sim.onnx", "--json")[1])["files"][0]["replaced"]
    assert again.startswith("a compiled model (noise on, seed 4, draw 0, t_s 0.0) of the network")
    new = json.loads(run("compile", placed, "-o", tmp_path / "z.sim.onnx", "--json")[1])["files"][0]
    assert new["replaced"] is None
    code, _, told = run("compile", placed, "--samples", 5, "-o", tmp_path / "y.sim.onnx")
    assert code == 2
    assert "--samples: without samples it means nothing; give these with --data FILE.npz" in told
    assert not (tmp_path / "y.sim.onnx").exists()
    about = {e.key: e.value for e in onnx.load(str(tmp_path / "small.sim.onnx")).metadata_props}["lhc.compiled"]
    assert json.loads(about) == {"noise": "on", "seed": 4, "draw": 0, "t_s": 0.0}


def _stored_conformance(path: Path) -> Conformance | None:
    plan = read_plan(load_model(path))
    assert plan is not None
    return plan.conformance


def test_the_emulation_of_a_given_placement_is_checked_where_there_are_samples(
    model_file: Path, data_file: Path, tmp_path: Path
) -> None:
    command = ("compile", model_file, "--all-analog", "-o", tmp_path / "chip.sim.onnx", "--force")
    code, out, _ = run(*command)
    assert code == 0
    assert out.splitlines()[-1] == "emulation not compared with aihwkit: no samples are given (--data)"
    assert _stored_conformance(tmp_path / "chip.sim.onnx") is None
    code, out, _ = run(*command, "--data", data_file)
    assert code == 0
    assert out.splitlines()[-1].startswith("emulation checked against aihwkit: 2 layers, ")
    found = _stored_conformance(tmp_path / "chip.sim.onnx")
    assert found is not None
    assert found.wrong == ()
    document = json.loads(run(*command, "--data", data_file, "--json")[1])
    assert (document["engine"], document["engine_reason"]) == ("fast", None)
    assert (document["conformance"]["outputs"], document["conformance"]["conforms"]) == (found.outputs, True)


def test_a_machine_that_needs_the_engine_aihwkit_is_not_compared_with_it(model_file: Path, tmp_path: Path) -> None:
    adc = LIONHEART.adc.model_copy(update={"kind": "sar", "capacitor_mismatch": 0.01})
    (tmp_path / "sar.yaml").write_text(LIONHEART.with_fields({"adc": adc}).to_yaml())
    command = ("compile", model_file, "--all-analog", "--hardware", tmp_path / "sar.yaml", "--force")
    why = (
        "since the machine has ADCs whose capacitors differ (adc.capacitor_mismatch), which the engine fast leaves out"
    )
    assert run(*command)[1].splitlines()[-1] == f"emulation not compared with aihwkit: {why}"
    document = json.loads(run(*command, "--json")[1])
    assert (document["engine"], document["engine_reason"], document["conformance"]) == ("aihwkit", why, None)


@pytest.mark.slow
def test_a_plan_that_carries_the_check_of_its_emulation_is_not_checked_again(
    model_file: Path, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placing = ("--objective", "macs", "--data", data_file, "--max-drop", 0.9, "--draws", 3)
    assert run("partition", model_file, *placing)[0] == 0
    placed = model_file.with_name("small.lhc.onnx")
    carried = _stored_conformance(placed)
    assert carried is not None
    code, out, _ = run("compile", placed, "-o", tmp_path / "chip.sim.onnx")
    assert code == 0
    assert out.splitlines()[-1].startswith("when it was placed: emulation checked against aihwkit: 2 layers, ")
    assert _stored_conformance(tmp_path / "chip.sim.onnx") == carried
    monkeypatch.setattr("lhc.pipeline.steps.verify.conformance_step.VERSION", "0.0.1")
    code, out, _ = run("compile", placed, "-o", tmp_path / "chip.sim.onnx", "--force")
    assert out.splitlines()[-1] == "emulation not compared with aihwkit: no samples are given (--data)", "of other code"
    assert _stored_conformance(tmp_path / "chip.sim.onnx") is None


def test_a_budget_that_is_not_met_is_exit_code_1_and_written(model_file: Path, data_file: Path) -> None:
    code, _, err = run("compile", model_file, "--data", data_file, "--max-drop", 0)
    path = model_file.with_name("small.sim.onnx")
    assert code in (0, 1)
    assert path.is_file()
    assert (code == 1) == ("the budget is not met" in err)


def test_draws_are_files_of_different_chips(model_file: Path, tmp_path: Path) -> None:
    code, out, _ = run("compile", model_file, "--all-analog", "--draws", 3, "-o", tmp_path / "o.sim.onnx", "--json")
    assert code == 0
    document = json.loads(out)
    paths = [tmp_path / f"o.{draw}.sim.onnx" for draw in range(3)]
    assert [f["path"] for f in document["files"]] == list(map(str, paths))
    assert (document["seed"], document["t_s"], document["analog"], document["noise"]) == (0, 86400.0, 2, "on")
    weights = [
        next(numpy_helper.to_array(t) for t in onnx.load(str(path)).graph.initializer if t.name == "v.weights")
        for path in paths
    ]
    assert not np.array_equal(weights[0], weights[1])
    alone = lhc.compile(model_file, all_analog=True, draw=2).proto
    same = next(numpy_helper.to_array(t) for t in alone.graph.initializer if t.name == "v.weights")
    np.testing.assert_array_equal(same, weights[2])


def test_draw_is_the_first_chip_that_is_written(model_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.sim.onnx"
    shared = ("compile", model_file, "--all-analog", "-o", out, "--json")
    alone = json.loads(run(*shared, "--draw", 3)[1])["files"]
    assert [(one["path"], one["draw"]) for one in alone] == [(str(out), 3)]
    two = json.loads(run(*shared, "--draw", 3, "--draws", 2)[1])["files"]
    for draws, chips in ((1, "chip 3"), (2, "chips 3 to 4")):
        told = run(*shared[:-1], "--draw", 3, "--draws", draws, "--force")[1]
        assert told.splitlines()[1] == f"{chips} of seed 0"
    assert [(Path(one["path"]).name, one["draw"]) for one in two] == [("o.3.sim.onnx", 3), ("o.4.sim.onnx", 4)]
    assert out.read_bytes() == (tmp_path / "o.3.sim.onnx").read_bytes()


def test_the_same_seed_gives_the_same_bytes(model_file: Path, tmp_path: Path) -> None:
    one, two, other = (
        lhc.compile(model_file, all_analog=True, seed=seed).save(tmp_path / f"{index}.sim.onnx").read_bytes()
        for index, seed in enumerate((1, 1, 2))
    )
    assert one == two != other


def test_python_returns_what_runs_and_saves(network: onnx.ModelProto, tmp_path: Path) -> None:
    compiled = lhc.compile(network, placement=["head"], noise="off", t_inference=3600)
    path = compiled.save(tmp_path / "head.sim.onnx")
    (y,) = compiled.run(None, IMAGES)
    assert y.shape == (5, 4)
    assert (compiled.chip.t_s, compiled.chip.draw) == (3600, 0)
    again = lhc.compile(network, placement=["head"], noise="off", t_inference=3600)
    np.testing.assert_array_equal(again.run(None, IMAGES)[0], y)
    again.save(path)  # replaces its own


def test_digital_layers_and_foreign_metadata_stay(network: onnx.ModelProto) -> None:
    network.metadata_props.add(key="author", value="somebody")
    network.graph.node[0].metadata_props.add(key="theirs", value="1")
    compiled = lhc.compile(network, placement=["head"]).proto
    stem = compiled.graph.node[0]
    assert (stem.op_type, stem.domain) == ("Conv", "")
    assert {e.key for e in stem.metadata_props} >= {"theirs", "lhc.placement"}
    assert ("author", "somebody") in {(e.key, e.value) for e in compiled.metadata_props}
    names = {t.name for t in compiled.graph.initializer}
    assert "v" not in names, "original weights of analog layers are gone"
    assert "w" in names


def test_static_ranges_are_calibrated_on_the_data(model_file: Path, data_file: Path) -> None:
    code, _, err = run("compile", model_file, "--all-analog", "--hardware", "static-range")
    assert code == 2
    assert "samples are needed" in err
    assert run("compile", model_file, "--all-analog", "--hardware", "static-range", "--data", data_file)[0] == 0


OPEN = """<ir_version: 8, opset_import: ["" : 17]>
open (float[N, 2, H, W] image) => (float[N, C, P, Q] y) {
  [stem] y = Conv <pads = [1, 1, 1, 1]> (image, w)
}"""


@pytest.fixture
def open_file(tmp_path: Path) -> Path:
    model = onnx.parser.parse_model(OPEN)
    weights = np.random.default_rng(0).normal(size=(8, 2, 3, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    onnx.save_model(model, str(tmp_path / "open.onnx"))
    return tmp_path / "open.onnx"


def test_open_dimensions_take_a_shape(open_file: Path) -> None:
    code, _, told = run("compile", open_file, "--all-analog")
    assert (code, "give the shape, e.g. --shape image=1,2,64,64" in told) == (3, True)
    assert run("compile", open_file, "--all-analog", "--shape", "image=1,2,6,6")[0] == 0
    compiled = onnx.load(open_file.with_name("open.sim.onnx"))
    onnx.checker.check_model(compiled, full_check=True)
    assert (
        run("split", open_file, "--all-analog", "--shape", "image=1,2,6,6", "-o", open_file.with_name("parts"))[0] == 0
    )


def test_static_ranges_of_an_only_layer(open_file: Path, data_file: Path) -> None:
    """Nothing but the network's input is observed."""
    assert run("compile", open_file, "--all-analog", "--hardware", "static-range", "--data", data_file)[0] == 0


def test_nothing_of_the_user_is_overwritten(model_file: Path, placed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.onnx"
    shutil.copy(model_file, copy)
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    for theirs in (copy, notes, placed):
        before = theirs.read_bytes()
        code, _, err = run("compile", model_file, "--all-analog", "-o", theirs)
        assert code == 2
        assert "exists and is not this network compiled; --force replaces it" in err
        assert theirs.read_bytes() == before
    code, _, err = run("compile", model_file, "--all-analog", "-o", model_file, "--force")
    assert (code, "the output is the input" in err) == (2, True)
    assert run("compile", model_file, "--all-analog", "-o", notes, "--force")[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--draws", "0"], "--draws must be at least 1"),
        (["--noise", "loud"], "--noise 'loud': choose on, off, input"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--t-inference", "-5"], "-5"),
        (["--hardware", "nothing"], "nothing"),
        (["-o", "/nowhere/x.onnx"], "the folder /nowhere does not exist"),
    ],
)
def test_usage_errors(model_file: Path, options: list[str], message: str) -> None:
    code, out, err = run("compile", model_file, "--all-analog", *options)
    assert (code, out) == (2, "")
    assert message in err
    assert not list(model_file.parent.glob("*.sim.onnx"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--all-analog", "--max-drop", "0.1"], "--max-drop: is for the search of a placement"),
        (["--all-analog", "--objective", "macs"], "--objective: is for the search of a placement"),
        (["--shape", "image=1,2,6,6"], "--shape goes with --all-analog"),
        (["--all-analog", "--samples", "5", "--skip", "2"], "--samples, --skip: without samples it means nothing"),
        (["--all-analog", "--shape", "image=1,x"], "write NAME=1,3,224,224"),
    ],
)
def test_options_that_do_nothing_are_refused(model_file: Path, options: list[str], message: str) -> None:
    code, _, told = run("compile", model_file, *options)
    assert code == 2
    assert message in told


@pytest.mark.parametrize("command", ["compile", "split"])
def test_shapes_are_refused_where_the_annotations_say_all(command: str, placed: Path, tmp_path: Path) -> None:
    code, _, told = run(command, placed, "--shape", "image=1,2,6,6", "-o", tmp_path / "out.sim.onnx")
    assert code == 2
    assert "--shape: not needed where the placement is that of a plan" in told


def test_a_plain_model_without_data(model_file: Path) -> None:
    code, _, err = run("compile", model_file)
    assert code == 2
    assert "samples are needed; give them with --data" in err


def test_compiled_files_are_told_from_networks(model_file: Path) -> None:
    assert run("compile", model_file, "--all-analog", "--noise", "off")[0] == 0
    path = model_file.with_name("small.sim.onnx")
    for command in (["compile", path, "--all-analog"], ["run", path], ["analyze", path]):
        code, _, err = run(*command)
        assert code == 3
        assert "is a compiled model" in err
    code, out, err = run("inspect", path)
    assert code == 0
    assert "a compiled model (noise off, seed 0, draw 0, t_s 86400.0)" in err
    assert "analog 2/2 layers" in out


def test_another_hardware_than_the_plans_is_refused(placed: Path) -> None:
    code, _, err = run("compile", placed, "--hardware", "hermes")
    assert code == 2
    assert "placed for hardware 'lionheart'; for another one partition it again" in err


def test_another_number_format_than_the_plans_is_refused(placed: Path) -> None:
    code, _, err = run("compile", placed, "--digital-precision", "fp16")
    assert code == 2
    assert "was placed with digital products in int8; leave it out, or place the model again" in err
    assert run("compile", placed, "--digital-precision", "int8", "--noise", "off")[0] == 0


WITHOUT_LHC = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("lhc", "torch", "aihwkit", "onnx", "onnxscript", "onnx_ir"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Missing())
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
arrays = numpy.load(sys.argv[2])
numpy.save(sys.argv[3], session.run(None, {name: arrays[name] for name in arrays.files})[0])
"""


@pytest.mark.parametrize("noise", ["on", "off"])
def test_stock_onnxruntime_runs_it_without_lhc(network: onnx.ModelProto, tmp_path: Path, noise: Noise) -> None:
    compiled = lhc.compile(network, all_analog=True, noise=noise)
    path, feeds, result = compiled.save(tmp_path / "m.sim.onnx"), tmp_path / "x.npz", tmp_path / "y.npy"
    np.savez(feeds, **IMAGES)  # type: ignore[arg-type]
    subprocess.run([sys.executable, "-c", WITHOUT_LHC, path, feeds, result], check=True)
    logits = np.load(result)
    if noise == "off":
        np.testing.assert_array_equal(logits, compiled.run(None, IMAGES)[0])
    else:
        assert logits.shape == (5, 4)
        assert np.isfinite(logits).all()


@pytest.mark.slow
def test_weights_in_other_files_make_a_compiled_file_with_such(tmp_path: Path) -> None:
    """It runs in stock onnxruntime from another folder, and gives what one file gives."""
    rng = np.random.default_rng(0)
    x = {"x": rng.normal(size=(5, 64)).astype(np.float32)}
    model = parsed(
        '<ir_version: 8, opset_import: ["" : 17]> net (float[N, 64] x) => (float[N, 32] y)'
        " { [p] h = MatMul (x, w) [d] y = MatMul (h, v) }",
        drawn({"w": (64, 48), "v": (48, 32)}, rng),
    )
    one = lhc.compile(model, placement=["p"], noise="off").run(None, x)[0]
    source, out = tmp_path / "m.onnx", tmp_path / "elsewhere" / "m.sim.onnx"
    out.parent.mkdir()
    onnx.save_model(model, str(source), save_as_external_data=True, location="m.data", size_threshold=0)
    compiled = lhc.compile(source, placement=["p"], noise="off")
    compiled.save(out)
    assert out.stat().st_size < 4 * (64 * 48 + 48 * 32) <= out.with_name("m.sim.onnx.data").stat().st_size
    assert (compiled.run(None, x)[0] == one).all()
    del compiled  # and with it what it kept in the cache
    assert (onnxruntime.InferenceSession(str(out)).run(None, x)[0] == one).all()
    lhc.compile(source, placement=["p"], noise="off").save(out)  # the same network compiled is replaced


def test_weights_beside_a_compiled_file_replace_nothing_of_the_users(tmp_path: Path) -> None:
    model = parsed(
        '<ir_version: 8, opset_import: ["" : 17]> net (float[N, 64] x) => (float[N, 48] y) { [p] y = MatMul (x, w) }',
        drawn({"w": (64, 48)}),
    )
    source, beside = tmp_path / "m.onnx", tmp_path / "chip.onnx.data"
    onnx.save_model(model, str(source), save_as_external_data=True, location="m.data", size_threshold=0)
    beside.write_text("precious")
    compiled = lhc.compile(source, placement="all-analog", noise="off")
    with pytest.raises(UsageError, match=r"its weights would replace .*chip\.onnx\.data; --force"):
        compiled.save(tmp_path / "chip.onnx")
    assert beside.read_text() == "precious"
    compiled.save(tmp_path / "chip.onnx", force=True)
    assert beside.read_bytes() != b"precious"


def _two_products(tmp_path: Path) -> tuple[Path, Path]:
    """A network of two products, and samples of it."""
    rng = np.random.default_rng(0)
    model = parsed(
        '<ir_version: 8, opset_import: ["" : 17]> net (float[N, 16] x) => (float[N, 4] y)'
        " { [p] h = MatMul (x, w)  r = Relu (h)  [d] y = MatMul (r, v) }",
        drawn({"w": (16, 8), "v": (8, 4)}, rng),
    )
    source, data = tmp_path / "m.onnx", tmp_path / "m.npz"
    onnx.save(model, source)
    np.savez(data, x=rng.normal(size=(64, 16)).astype(np.float32), labels=rng.integers(0, 4, 64))
    return source, data


def test_digital_products_beside_a_named_placement_are_in_the_machines_format(tmp_path: Path) -> None:
    source, data = _two_products(tmp_path)
    kinds = [node.op_type for node in lhc.compile(source, data, placement=["p"], noise="off").proto.graph.node]
    assert "QuantizeLinear" in kinds


def test_without_samples_the_format_of_digital_products_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, _ = _two_products(tmp_path)
    lhc.compile(source, placement=["p"], noise="off")
    assert "digital products compute as in the file, not in int8 as on hardware 'lionheart'" in caplog.text
    caplog.clear()
    lhc.compile(source, placement="all-analog", noise="off")
    assert "digital products" not in caplog.text


BRANCH = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 16] x) => (float[N, 4] y) <float low = {-1000.0}> {
    [greatest] m = ReduceMax <keepdims = 0> (x)
    [flag] flag = Greater (m, low)
    [branch] h = If (flag) <
        then_branch = taken () => (float[N, 16] t) {
            [on_tiles] a = MatMul (x, w1)
            [relu] r = Relu (a)
            [inner] b = MatMul (r, w2)
            t = Relu (b)
        },
        else_branch = other () => (float[N, 16] e) { e = Identity (x) }
    >
    [outer] y = MatMul (h, w3)
}
"""


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_branches_whose_products_are_in_formats_compute_as_a_session(precision: Precision, tmp_path: Path) -> None:
    """What rounds their tensors goes into the branch with them, and what rounds the outputs of the If stays outside."""
    rng = np.random.default_rng(0)
    model = parsed(BRANCH, drawn({"w1": (16, 16), "w2": (16, 16), "w3": (16, 4)}, rng))
    x = rng.normal(size=(64, 16)).astype(np.float32)
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "m.npz", x=x)
    named = lhc.analyze(tmp_path / "m.onnx", tmp_path / "m.npz").plan.eligible
    (on_tiles,) = (name for name in named if "on_tiles" in name)
    hardware = Hardware.load("ideal").model_copy(update={"digital": DigitalCores(precision=precision)})

    compiled = lhc.compile(
        tmp_path / "m.onnx", tmp_path / "m.npz", placement=[on_tiles], hardware=hardware, noise="off"
    )
    exact = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    found = compiled.run(None, {"x": x})[0]
    assert 0 < np.abs(found - exact).max() < 0.05 * np.abs(exact).max()
    other = compiled.run(None, {"x": x - 2000})[0]
    assert np.isfinite(other).all()
