"""aihwkit's own defaults and presets as machines: which are taken, what they mean, and how they are named."""

import inspect
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import pytest

import lhc
from lhc.errors import ConfigError, UsageError
from lhc.hardware import UNLIMITED, Hardware, Mapping, Tiles, preset_names
from tests.conftest import Cli
from tests.runtime.models_on_tiles import linear

pytestmark = pytest.mark.analog

IR_DROP: tuple[str, ...] = ("ir_drop_rs", "ir_drop_segments", "ir_drop_time_step_resolution_scale", "ir_drop_v_read")
IR_DROP += ("apply_xdep_pcm_read_noise", "xdep_pcm_read_noise_scale", "adc_quantization", "adc_frequency")
REFUSED: dict[str, tuple[str, ...]] = {
    "FloatingPointPreset": (),
    "InferenceRPUConfig": (),
    "OldWebComposerInferenceRPUConfig": ("mapping.digital_bias",),
    "QuantizedTorchInferenceRPUConfig": (),
    "StandardHWATrainingPreset": (),
    "TorchInferenceRPUConfig": (),
    "TorchInferenceRPUConfigIRDropT": (*(f"forward.{name}" for name in IR_DROP), "simulator_tile_class"),
    "WebComposerInferenceRPUConfig": (),
}
"""aihwkit's configurations for inference, and the settings of each that a description has no place for."""


def _kinds() -> dict[str, type]:
    """All configurations of aihwkit, those of other kinds of training too."""
    from aihwkit.simulator.configs import configs
    from aihwkit.simulator.presets import configs as pulsed
    from aihwkit.simulator.presets import inference, web

    modules: tuple[ModuleType, ...] = (configs, pulsed, inference, web)
    found = (value for module in modules for value in vars(module).values() if inspect.isclass(value))
    endings = ("Preset", "RPUConfig", "RPUConfigIRDropT")
    bases = ("IOManagedRPUConfig",)  # has no tiles
    return {kind.__name__: kind for kind in found if kind.__name__.endswith(endings) and kind.__name__ not in bases}


def test_every_configuration_of_aihwkit_is_taken_or_refused_by_field() -> None:
    from aihwkit.simulator.configs import InferenceRPUConfig

    seen = {}
    for name, kind in _kinds().items():
        if issubclass(kind, InferenceRPUConfig):
            try:
                Hardware.load(kind())
            except ConfigError as error:
                seen[name] = str(error)
            else:
                seen[name] = ""
        else:
            with pytest.raises(ConfigError, match=rf"InferenceRPUConfig\), not a {name}"):
                Hardware.load(kind())
    assert seen.keys() == REFUSED.keys()
    for name, fields in REFUSED.items():
        assert bool(seen[name]) == bool(fields), name
        assert all(f"{field} = " in seen[name] for field in fields), name


def test_defaults_mean_tiles_of_512_and_weights_that_are_not_scaled() -> None:
    from aihwkit.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig

    machine = Hardware.load(InferenceRPUConfig())
    assert (machine.tiles, machine.mapping) == (Tiles(rows=512, cols=512), Mapping(omega=0, columnwise=False))
    assert machine.name == "InferenceRPUConfig"
    torch = Hardware.load(TorchInferenceRPUConfig())
    assert machine.numbers == torch.numbers


def test_a_perfect_product_has_no_converters_and_no_noise_but_devices() -> None:
    from aihwkit.simulator.presets.inference import FloatingPointPreset

    machine = Hardware.load(FloatingPointPreset())
    assert machine.tiles == Tiles(rows=UNLIMITED, cols=UNLIMITED)
    assert (machine.dac.bits, machine.dac.bound, machine.adc.bits, machine.adc.bound) == (None,) * 4
    assert (machine.adc.noise, machine.currents.any) == (0.0, False)
    assert machine.devices is not None


@pytest.mark.parametrize("preset", ["InferenceRPUConfig", "StandardHWATrainingPreset", "FloatingPointPreset"])
def test_such_machines_survive_yaml_and_the_way_back_to_aihwkit(preset: str) -> None:
    machine = Hardware.load(_kinds()[preset]())
    again = Hardware.parse(machine.to_yaml(), "again")
    assert again == machine
    back = Hardware.from_rpu_config(again.to_rpu_config())
    assert (back.tiles, back.mapping, back.adc, back.devices) == (again.tiles, again.mapping, again.adc, again.devices)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("costs: null\nfaults: {stuck_low: 0.1}", "numbers for faults"),
        ("", "numbers for costs"),
        ("costs: null\ntiles: {rows: null, count: 3}", r"numbers for tiles\.count"),
    ],
)
def test_what_needs_tiles_of_a_size_says_so(yaml: str, message: str) -> None:
    tiles = "" if "tiles" in yaml else "tiles: {cols: null}\n"
    with pytest.raises(ConfigError, match=message):
        Hardware.parse(f"name: a\n{tiles}{yaml}", "a.yaml")


def test_cells_of_few_bits_need_a_full_scale() -> None:
    with pytest.raises(ConfigError, match="omega: 0 does not have"):
        Hardware.parse("name: a\nmapping: {omega: 0, cell_bits: 2}", "a.yaml")


def test_layers_of_any_size_lie_on_one_tile_without_free_rows() -> None:
    machine = Hardware.parse("name: a\ntiles: {rows: null, cols: null}\ncosts: null", "a")
    assert machine.tiles_for(100_000, 200_000) == 1
    assert machine.free_copies("any", 10) == 1
    assert "tiles.rows is null" in str(machine.copies_obstacle)
    assert "anyxany" in repr(machine)
    columns = Hardware.parse("name: a\ntiles: {rows: 512, cols: null}\ncosts: null", "a")
    assert columns.tiles_for(1000, 200_000) == 2
    assert columns.tiles.size_text == "512xany"


@pytest.mark.parametrize("engine", ["fast", "aihwkit"])
@pytest.mark.parametrize(("inputs", "outputs"), [(30, 20), (700, 130), (700, 600)])
def test_products_with_weights_that_are_not_scaled_are_those_of_aihwkit(
    inputs: int, outputs: int, engine: Literal["fast", "aihwkit"]
) -> None:
    """Without noise, vector by vector, aihwkit's own tiles give the same to an ADC step (of rounding)."""
    import torch
    from aihwkit.simulator.configs import TorchInferenceRPUConfig
    from aihwkit.simulator.tiles.array import TileModuleArray

    config = TorchInferenceRPUConfig(drift_compensation=None)
    config.forward.out_noise = 0.0
    config.noise_model.prog_noise_scale = config.noise_model.read_noise_scale = config.noise_model.drift_scale = 0.0
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.05, (outputs, inputs)).astype(np.float32)
    x = rng.normal(size=(8, inputs)).astype(np.float32)
    tiles = TileModuleArray(outputs, inputs, config)
    tiles.set_weights(torch.from_numpy(weight))
    tiles.eval()
    with torch.no_grad():
        expected = torch.cat([tiles(vector[None]) for vector in torch.from_numpy(x)]).numpy()
    machine = Hardware.load(config).with_drift_compensation_alone()
    session = lhc.HybridSession(linear(weight.T), hardware=machine, placement="all-analog", engine=engine)
    (found,) = session.run(None, {"x": x})
    step = 2 * 12.0 / 510 * np.abs(x).max()
    splits = -(-inputs // 512)
    assert np.abs(found - expected).max() <= splits * step * 1.01
    assert np.mean(np.abs(found - expected) > 1e-3) < 0.01
    scaled = machine.model_copy(update={"mapping": Mapping(omega=1.0, columnwise=False)})
    session = lhc.HybridSession(linear(weight.T), hardware=scaled, placement="all-analog", engine=engine)
    (other,) = session.run(None, {"x": x})
    assert np.mean(np.abs(other - expected) > 1e-3) > 0.5, "scaled weights would pass: the test shows nothing"


MODULE = """
from aihwkit.simulator.configs import InferenceRPUConfig
from lhc import Hardware

config = InferenceRPUConfig()
machine = Hardware.load("hermes")
number = 5

def made():
    config = InferenceRPUConfig()
    config.forward.out_noise = 0.02
    return config

def broken():
    raise RuntimeError("no evaluator")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_machines.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "noise"),
    [("own_machines:config", 0.06), ("own_machines:made", 0.02), ("own_machines:machine", 0.06)],
)
def test_a_module_names_a_machine_on_the_command_line(folder: Path, cli: Cli, name: str, noise: float) -> None:
    printed = cli("hardware", name)
    assert printed.exit_code == 0, printed.stderr
    assert Hardware.parse(printed.stdout, "printed").adc.noise == noise
    (folder / "mine.yaml").write_text(printed.stdout)
    run = cli("analyze", "digits-narrow", "--hardware", name)
    assert run.exit_code == 0, run.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_machines:number", r"own_machines:number \(of type int\) is no hardware"),
        ("own_machines:broken", "--hardware own_machines:broken: fails: RuntimeError: no evaluator"),
        ("own_machines:gone", "--hardware own_machines:gone: cannot be imported: AttributeError"),
        ("no_such_module:config", "cannot be imported: ModuleNotFoundError"),
        ("no_such_preset", "neither a preset, a YAML file, nor module:name"),
    ],
)
def test_what_is_no_machine_is_told(folder: Path, cli: Cli, name: str, message: str) -> None:
    result = cli("analyze", "digits-narrow", "--hardware", name)
    assert result.exit_code == 2, result.stderr
    with pytest.raises(UsageError, match=message):
        Hardware.load(name)


def test_what_a_configuration_does_not_say_is_told(caplog: pytest.LogCaptureFixture) -> None:
    from aihwkit.simulator.configs import InferenceRPUConfig

    lhc.analyze("digits-narrow", hardware=InferenceRPUConfig())
    (told,) = (record.getMessage() for record in caplog.records if "does not say" in record.getMessage())
    assert "t_inference_s, digital, costs, compensation.copies, compensation.outputs: lhc's defaults" in told


def test_presets_have_tiles_of_a_size() -> None:
    assert all(Hardware.load(name).tiles.limited for name in preset_names())
