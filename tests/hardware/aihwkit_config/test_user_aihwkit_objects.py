"""Noise models, converters and compensations of a user's own: used as they are, written, read back, refused."""

import importlib
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import lhc
from lhc.errors import ConfigError, UsageError
from lhc.hardware import AihwkitDevices, Hardware, Pcm, effects_of, scaled_noise, without
from lhc.hardware.aihwkit_config import user_aihwkit_objects as external
from lhc.hardware.aihwkit_config.user_aihwkit_objects import equal, import_modules
from tests.conftest import Cli
from tests.runtime.models_on_tiles import linear

pytestmark = pytest.mark.analog


@pytest.fixture(autouse=True)
def modules_trusted_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of other tests are not told to import modules that are gone with these."""
    monkeypatch.setattr(external, "TRUSTED", {})


SessionEngine = Literal["auto", "fast", "aihwkit"]

MODULE = '''
import numpy as np
import torch
from aihwkit.inference.compensation.drift import GlobalDriftCompensation
from aihwkit.inference.converter.base import BaseConductanceConverter
from aihwkit.inference.noise.base import BaseNoiseModel
from aihwkit.inference.noise.pcm import PCMLikeNoiseModel
from aihwkit.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig
from aihwkit.simulator.parameters import IOParameters, MappingParameter

CALLS = {"conductances": 0, "converted": 0, "compensated": 0}


class Pairs(BaseConductanceConverter):
    """A device for either sign."""

    def __init__(self, g_max=20.0):
        self.g_max = g_max

    def convert_to_conductances(self, weights):
        CALLS["converted"] += 1
        scale = self.g_max / weights.abs().max().clamp(min=1e-7)
        return [(weights * scale).clamp(min=0), (-weights * scale).clamp(min=0)], {"scale": scale}

    def convert_back_to_weights(self, conductances, params):
        return (conductances[0] - conductances[1]) / params["scale"]


class Noise(BaseNoiseModel):
    """Additive programming noise; half of a conductance is left at any time."""

    def __init__(self, sigma, g_converter=None, left=0.5):
        super().__init__(g_converter)
        self.sigma = sigma
        self.left = left

    def apply_programming_noise_to_conductance(self, g_target):
        CALLS["conductances"] += g_target.numel()
        return g_target + self.sigma * torch.randn_like(g_target)

    def apply_drift_noise_to_conductance(self, g_prog, drift_noise_param, t_inference):
        if t_inference > 1e9:
            raise ValueError("nobody has waited so long")
        return g_prog * self.left


class Gain(GlobalDriftCompensation):
    """Times a factor."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def apply(self, forward_output, ref_value):
        CALLS["compensated"] += 1
        return self.factor * super().apply(forward_output, ref_value)


class Stuck(GlobalDriftCompensation):
    def readout(self, out_tensor):
        raise KeyError("no column")


class Wide(GlobalDriftCompensation):
    def apply(self, forward_output, ref_value):
        return forward_output


class Values(Noise):
    """Has attributes of every kind that can be written."""

    def __init__(self, sigma=0.1):
        super().__init__(sigma)
        self.pair = (1, (2.5, "x"))
        self.table = {"t": [1, None, True], "inner": {"a": -1e-9}}
        self.array = np.arange(6, dtype=np.int16).reshape(2, 3)
        self.tensor = torch.tensor([0.1, 0.2])
        self.number = np.float64(0.1)


class Warm(PCMLikeNoiseModel):
    """One attribute more, and the others by keyword."""

    def __init__(self, temperature=300.0, **others):
        super().__init__(**others)
        self.temperature = temperature


class Unseeded(Noise):
    def apply_programming_noise_to_conductance(self, g_target):
        return g_target + torch.from_numpy(np.random.default_rng().normal(size=g_target.shape)).to(g_target)


class Broken(Noise):
    def apply_programming_noise_to_conductance(self, g_target):
        raise KeyError("no table")


class Flat(Noise):
    def apply_programming_noise(self, weights):
        return weights.flatten(), []


class Double(Noise):
    def apply_programming_noise_to_conductance(self, g_target):
        return g_target.double()


class Greedy(Noise):
    """Writes into the weights that it is given."""

    def apply_programming_noise(self, weights):
        return weights.mul_(2.0).clone(), []


class Forgetful(Noise):
    """Does not keep what it was made from."""

    def __init__(self, milli_sigma):
        super().__init__(milli_sigma / 1000)


def config(noise_model, drift_compensation=None, kind=TorchInferenceRPUConfig):
    return kind(
        mapping=MappingParameter(weight_scaling_omega=1.0),
        forward=IOParameters(is_perfect=True),
        noise_model=noise_model,
        drift_compensation=drift_compensation,
    )


def machine():
    return config(Noise(0.5, Pairs(20.0)), Gain(1.0))


def bare():
    return config(Noise(0.1))
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The module of the user's, as imported from the current folder."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_device_classes.py").write_text(MODULE, encoding="utf-8")
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("own_device_classes")
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("own_device_classes", None)


@pytest.fixture
def calls(own: ModuleType) -> dict[str, int]:
    for name in own.CALLS:
        own.CALLS[name] = 0
    counted: dict[str, int] = own.CALLS
    return counted


WEIGHT = np.random.default_rng(0).uniform(-1, 1, (200, 300)).astype(np.float32)


def held(config: object, engine: SessionEngine = "auto", seed: int = 0) -> npt.NDArray[np.float32]:
    """Weights as products with unit vectors see them, ``(outputs, inputs)``."""
    machine = Hardware.load(config).with_drift_compensation_alone()
    network = linear(WEIGHT.T)
    session = lhc.HybridSession(network, hardware=machine, placement="all-analog", seed=seed, engine=engine)
    (found,) = session.run(None, {"x": np.eye(WEIGHT.shape[1], dtype=np.float32)})
    return np.asarray(found).T


@pytest.mark.parametrize("engine", ["fast", "aihwkit"])
@pytest.mark.parametrize("g_max", [10.0, 40.0])
def test_noise_and_converter_are_the_users_own(
    own: ModuleType, calls: dict[str, int], g_max: float, engine: SessionEngine
) -> None:
    """Both devices of a pair have noise of sigma; the greatest weight stands for g_max; half of it is left."""
    sigma = 0.5
    found = held(own.config(own.Noise(sigma, own.Pairs(g_max))), engine=engine)
    errors = found - 0.5 * WEIGHT
    expected = 0.5 * math.sqrt(2) * sigma * np.abs(WEIGHT).max() / g_max
    # 60,000 values: the standard error of a deviation is 0.3 %; a sigma that is 3 % off would be seen.
    assert errors.std() == pytest.approx(expected, rel=0.015)
    assert abs(errors.mean()) < 5 * expected / math.sqrt(errors.size)
    assert calls["conductances"] >= 2 * WEIGHT.size
    assert calls["converted"] > 0


def test_every_weight_passes_through_the_noise_model_once_a_chip(own: ModuleType, calls: dict[str, int]) -> None:
    machine = Hardware.load(own.config(own.Noise(0.1)))
    machine.to_rpu_config()  # tried on a small tile once
    own.CALLS["conductances"] = 0
    bare = machine.with_drift_compensation_alone()
    lhc.HybridSession(linear(WEIGHT.T), hardware=bare, placement="all-analog")
    assert calls["conductances"] == 2 * WEIGHT.size


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_compensation_is_the_users_own(own: ModuleType, calls: dict[str, int], factor: float) -> None:
    found = held(own.config(own.Noise(0.0), own.Gain(factor)))
    np.testing.assert_allclose(found, factor * WEIGHT, rtol=1e-4, atol=1e-5)
    assert calls["compensated"] > 0


def test_the_same_seed_gives_the_same_chip_and_another_one_another(own: ModuleType) -> None:
    config = own.config(own.Noise(0.5))
    first, again, other = (held(config, seed=seed) for seed in (3, 3, 4))
    assert first.tobytes() == again.tobytes()
    assert np.abs(first - other).max() > 0.01


@pytest.mark.parametrize("kind", ["InferenceRPUConfig", "TorchInferenceRPUConfig"])
def test_a_description_says_all_of_it_and_is_read_back(own: ModuleType, kind: str) -> None:
    config = own.config(own.Values(0.3), own.Gain(2.0), getattr(own, kind))
    machine = Hardware.load(config)
    assert machine.devices == AihwkitDevices.model_validate(machine.devices.model_dump())  # type: ignore[union-attr]
    again = Hardware.parse(machine.to_yaml(), "again")
    assert again == machine
    rebuilt = again.to_rpu_config()
    assert equal(rebuilt.noise_model, config.noise_model)
    assert rebuilt.noise_model.pair == (1, (2.5, "x"))
    assert rebuilt.noise_model.array.dtype == np.int16
    assert rebuilt.drift_compensation.factor == 2.0
    assert type(rebuilt.drift_compensation) is own.Gain


def test_constructors_may_take_others_by_keyword(own: ModuleType) -> None:
    model = own.Warm(350.0, g_max=30.0, prog_noise_scale=0.7)
    rebuilt = Hardware.load(own.config(model)).to_rpu_config().noise_model
    assert equal(rebuilt, model)
    assert rebuilt == model  # aihwkit's own comparison


def test_a_description_by_hand_gives_arguments_of_the_constructor(own: ModuleType) -> None:
    yaml = "name: a\ndevices: {model: aihwkit, noise_model: 'own_device_classes:Noise', parameters: {sigma: 0.25}}"
    model = Hardware.parse(yaml, "a.yaml").to_rpu_config().noise_model
    assert (model.sigma, model.left) == (0.25, 0.5)
    yaml = yaml.replace("Noise', parameters: {sigma: 0.25}", "Warm', parameters: {temperature: 20, g_max: 30}")
    warm = Hardware.parse(yaml, "a.yaml").to_rpu_config().noise_model
    assert (warm.temperature, warm.g_max, warm.g_converter.g_max) == (20, 30, 30)


def test_aihwkits_models_with_other_converters_are_taken_and_plain_ones_are_lhcs(own: ModuleType) -> None:
    from aihwkit.inference.converter.conductance import DualPairConductanceConverter
    from aihwkit.inference.noise.pcm import PCMLikeNoiseModel

    assert Hardware.load(own.config(PCMLikeNoiseModel(g_max=30.0))).devices == Pcm(g_max_us=30.0)
    of_pairs = PCMLikeNoiseModel(g_converter=DualPairConductanceConverter([1.0, 3.0], g_max=30.0))
    of_another_range, warm = PCMLikeNoiseModel(), with_attribute(PCMLikeNoiseModel(), temperature=300.0)
    of_another_range.g_converter.g_max = 20.0
    for model in (of_pairs, of_another_range, warm):
        machine = Hardware.load(own.config(model))
        assert isinstance(machine.devices, AihwkitDevices)
        assert machine.user_code == {}
        assert equal(machine.to_rpu_config().noise_model, model)


def local_class() -> object:
    from aihwkit.inference.noise.pcm import PCMLikeNoiseModel

    class Local(PCMLikeNoiseModel):  # type: ignore[misc]  # aihwkit is untyped
        pass

    return Local()


def of_script(own: ModuleType) -> object:
    kind = type("Cell", (own.Noise,), {"__module__": "__main__"})
    return kind(0.1)


REFUSED: dict[str, tuple[Callable[[ModuleType], object], str]] = {
    "local": (lambda own: local_class(), r"class local_class.<locals>.Local .* at the top of a module"),
    "notebook": (of_script, "class Cell is one of a script or notebook, .* put it in a module"),
    "function": (
        lambda own: with_attribute(own.Noise(0.1), curve=lambda x: x),
        r"noise_model\.curve = <function .* cannot be written",
    ),
    "nan": (lambda own: own.Noise(float("nan")), r"noise_model\.sigma = nan .* finite numbers"),
    "keys": (lambda own: with_attribute(own.Noise(0.1), table={1: 2}), r"noise_model\.table = \{1: 2\}"),
    "constructor": (lambda own: own.Forgetful(5), "milli_sigma.*keep every argument of the constructor"),
    "unseeded": (lambda own: own.Unseeded(0.1), "other numbers from the same seed.*torch.randn_like"),
    "broken": (lambda own: own.Broken(0.1), r"own_device_classes:Broken fails: KeyError: 'no table'"),
    "shape": (lambda own: own.Flat(0.1), r"Flat gives no finite weights of shape \(4, 3\)"),
    "precision": (lambda own: own.Double(0.1), "Double gives no finite weights .* in single precision"),
    "in place": (lambda own: own.Greedy(0.1), "Greedy fails: ValueError: it changes the weights that it is given"),
    "large": (lambda own: with_attribute(own.Noise(0.1), t=[0.0] * 70_000), "more than 65536 values"),
}


def with_attribute(model: object, **more: object) -> object:
    vars(model).update(more)
    return model


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_written_or_made_again_says_what_to_do(own: ModuleType, case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        Hardware.load(own.config(make(own)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Stuck", "Stuck fails on the read-out of a small tile: KeyError: 'no column'"),
        ("Wide", "Wide gives .* one gain is wanted, or one an output"),
    ],
)
def test_a_compensation_is_tried(own: ModuleType, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Hardware.load(own.config(own.Noise(0.1), getattr(own, name)()))


def test_an_object_that_is_made_again_as_another_one_is_refused(own: ModuleType) -> None:
    model = own.Values(0.1)
    del model.pair  # its constructor makes one
    with pytest.raises(ConfigError, match="made again from its attributes is another one: pair differ"):
        Hardware.load(own.config(model))


def test_what_is_left_out_by_name_need_not_be_written(own: ModuleType) -> None:
    config = own.config(local_class(), own.Gain(2.0))
    machine = Hardware.from_rpu_config(config, leave_out=["noise_model", "drift_compensation"])
    assert machine.devices == Pcm()
    assert {one.name for one in machine.left_out} == {"noise_model", "drift_compensation"}


def test_times_that_a_noise_model_refuses_are_told(own: ModuleType) -> None:
    machine = Hardware.load(own.config(own.Noise(0.1)))
    assert machine.knows(1e8)
    assert not machine.knows(2e9)
    with pytest.raises(UsageError, match=r"Noise fails: ValueError: nobody has waited so long"):
        machine.check_time(2e9)
    with pytest.raises(ConfigError, match=r"t_inference_s: own_device_classes:Noise fails"):
        Hardware.from_rpu_config(own.config(own.Noise(0.1)), t_inference_s=2e9)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("faults: {stuck_low: 0.1}", "faults are those of cells that lhc knows"),
        ("tiles: {count: 2}\nfaults: {tile_spread: 0.1}", "faults are those of cells that lhc knows"),
        ("adc: {sensing: voltage}\ncompensation: {drift: none}", "voltage needs devices of pairs"),
    ],
)
def test_what_needs_known_cells_says_so(yaml: str, message: str) -> None:
    devices = "devices: {model: aihwkit, noise_model: 'any_module:Noise'}"
    with pytest.raises(ConfigError, match=message):
        Hardware.parse(f"name: a\n{devices}\n{yaml}", "a.yaml")


def test_effects_with_aihwkits_factors_can_be_scaled_and_others_are_told(own: ModuleType) -> None:
    warm = Hardware.load(own.config(own.Warm(prog_noise_scale=0.5)))
    assert {"programming", "drift", "read"} <= set(effects_of(warm))
    louder = scaled_noise(warm, 3.0).to_rpu_config().noise_model
    assert (louder.prog_noise_scale, louder.read_noise_scale, louder.drift_scale) == (1.5, 3.0, 1.0)
    quiet = without(warm, ["programming", "drift", "read"]).to_rpu_config().noise_model
    assert (quiet.prog_noise_scale, quiet.read_noise_scale, quiet.drift_scale) == (0, 0, 0)
    fixed = Hardware.load(own.config(own.Noise(0.5)))
    assert not {"programming", "drift", "read"} & set(effects_of(fixed))
    with pytest.raises(UsageError, match="noise of own_device_classes:Noise cannot be scaled"):
        scaled_noise(fixed, 2.0)


def test_overrides_may_have_devices_of_the_users_own(own: ModuleType) -> None:
    yaml = (
        "name: a\noverrides:\n- layers: b\n  devices: {model: aihwkit, noise_model: 'own_device_classes:Warm',"
        " parameters: {temperature: 350}}\n- layers: c\n  compensation: {drift: {type: 'own_device_classes:Gain'}}"
    )
    machine = Hardware.parse(yaml, "a.yaml")
    assert machine.for_layer("b").to_rpu_config().noise_model.temperature == 350
    assert type(machine.for_layer("c").to_rpu_config().drift_compensation) is own.Gain
    assert set(machine.user_code) == {"own_device_classes:Warm", "own_device_classes:Gain"}


MISTAKES = {
    "no name": ("devices: {model: aihwkit, noise_model: Noise}", r"devices\.noise_model: "),
    "no class": ("devices: {model: aihwkit}", r"devices\.noise_model: "),
    "drift": ("compensation: {drift: some}", r"compensation\.drift: .*'global'"),
    "drift field": ("compensation: {drift: {kind: 'a:B'}}", r"compensation\.drift\.(type|kind): "),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_in_a_description_are_named_by_field(case: str) -> None:
    yaml, message = MISTAKES[case]
    with pytest.raises(ConfigError, match=message):
        Hardware.parse(f"name: a\n{yaml}", "a.yaml")


NOT_TAKEN = {
    "no subclass": ("pathlib:Path", "is no class derived from aihwkit's BaseNoiseModel"),
    "no class": ("own_device_classes:CALLS", "is no class derived from aihwkit's BaseNoiseModel"),
    "gone": ("own_device_classes:Gone", "is no class derived from aihwkit's BaseNoiseModel"),
    "not imported": ("this_is_not_imported:Noise", "lhc imports no code that a file names.*lhc --import this_is"),
    "no module of aihwkit": ("aihwkit.inference.gone:Noise", "cannot be imported"),
    "other part of aihwkit": ("aihwkit.cloud.client:Noise", "lhc imports no code that a file names"),
}


@pytest.mark.parametrize("case", NOT_TAKEN)
def test_a_description_gets_no_other_class_and_no_module(own: ModuleType, case: str) -> None:
    name, message = NOT_TAKEN[case]
    machine = Hardware.parse(f"name: a\ndevices: {{model: aihwkit, noise_model: '{name}'}}", "a.yaml")
    with pytest.raises(ConfigError, match=message):
        machine.to_rpu_config()


def test_names_of_modules_are_no_code_but_attributes_of_them(own: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that load parts when these are asked for (``__getattr__``) load none for a description."""
    lazy, asked = ModuleType("lazy_parts"), list[str]()
    lazy.__getattr__ = asked.append  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_parts", lazy)
    machine = Hardware.parse("name: a\ndevices: {model: aihwkit, noise_model: 'lazy_parts:part'}", "a.yaml")
    with pytest.raises(ConfigError, match="is no class derived"):
        machine.to_rpu_config()
    assert asked == []


def test_what_an_installed_package_offers_may_be_named_by_anybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry in the group ``lhc.devices`` is one class; others of its module are none of it."""
    (tmp_path / "offered_devices.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    offered = {"lhc.devices": frozenset({"offered_devices:Noise"})}
    monkeypatch.setattr(external, "installed_values", offered.__getitem__)
    machines = {
        name: Hardware.parse(
            f"name: a\ndevices: {{model: aihwkit, noise_model: 'offered_devices:{name}', parameters: {{sigma: 0.1}}}}",
            "a",
        )
        for name in ("Noise", "Unseeded")
    }
    with pytest.raises(ConfigError, match="lhc imports no code that a file names"):
        machines["Unseeded"].to_rpu_config()
    assert machines["Noise"].to_rpu_config().noise_model.sigma == 0.1
    sys.modules.pop("offered_devices", None)


def test_modules_that_fail_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fails_at_once.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="--import fails_at_once: cannot be imported: ZeroDivisionError"):
        import_modules(["fails_at_once"], "--import")


@pytest.fixture(scope="module")
def placed(own: ModuleType, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that was placed on the command line for the user's own devices, with two workers."""
    folder = tmp_path_factory.mktemp("placed")
    data = folder / "data.npz"
    assert cli("export", "digits-narrow", "-o", folder / "digits.onnx", "--data-out", data).exit_code == 0
    arguments = ["--strategy", "all-analog", "--max-drop", "50%", "--samples", 40, "--draws", 2, "--jobs", 2]
    arguments += ["--include", "layer2.2.*", "--no-explain"]
    machine = ["--hardware", "own_device_classes:machine"]
    out = folder / "placed.lhc.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(str(own.__file__)).parent)
        done = cli("partition", folder / "digits.onnx", "--data", data, *machine, *arguments, "-o", out)
    assert done.exit_code in (0, 1), done.stderr
    return out


@pytest.mark.slow
def test_workers_compute_the_same_chips(own: ModuleType) -> None:
    def scores(jobs: int) -> object:
        asked = {"placement": ["conv1", "linear"], "samples": 30, "draws": 2, "jobs": jobs}
        return lhc.evaluate("digits-narrow", hardware=own.machine(), **asked)  # type: ignore[arg-type]

    assert repr(scores(2)) == repr(scores(1))


@pytest.mark.slow
def test_an_annotated_model_runs_where_the_user_names_the_module(own: ModuleType, placed: Path) -> None:
    plan = lhc.HybridSession(placed).plan
    assert plan is not None
    assert isinstance(plan.hardware.devices, AihwkitDevices)
    assert plan.hardware.as_described == Hardware.load(own.machine())
    given = lhc.HybridSession(placed, hardware=own.machine())
    (taken,) = given.get_inputs()
    inputs = {taken.name: np.ones((2, *map(int, taken.shape[1:])), np.float32)}  # type: ignore[arg-type]
    first, other = (session.run(None, inputs)[0] for session in (lhc.HybridSession(placed), given))
    assert np.asarray(first).tobytes() == np.asarray(other).tobytes()


@pytest.mark.slow
def test_an_annotated_model_is_not_reason_enough_to_import_anything(
    placed: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file from outside beside a module that does harm when it is imported."""
    model = onnx.load(placed)
    for one in (*model.metadata_props, *(prop for node in model.graph.node for prop in node.metadata_props)):
        one.value = one.value.replace("own_device_classes", "harmful_module")
    hostile, harm = tmp_path / "hostile.onnx", tmp_path / "harm"
    onnx.save(model, hostile)
    assert b"harmful_module:Noise" in hostile.read_bytes()
    (tmp_path / "harmful_module.py").write_text(f"open({str(harm)!r}, 'w').close()")
    monkeypatch.chdir(tmp_path)
    data = ["--data", placed.parent / "data.npz"]
    for command in (["inspect", hostile], ["analyze", hostile], ["report", hostile, "-o", "report.html"]):
        assert cli(*command).exit_code == 0
    run = ["run", hostile, *data, "--draws", 2]
    for arguments in (run, [*run, "--jobs", 2], ["compile", hostile]):
        done = cli(*arguments)
        assert done.exit_code == 2, done.stderr
        assert "lhc imports no code that a file names" in done.stderr
        assert "lhc --import harmful_module" in done.stderr
    with pytest.raises(ConfigError, match="in Python, import harmful_module first"):
        lhc.HybridSession(hostile)
    (tmp_path / "machine.yaml").write_text(yaml_of(hostile))
    done = cli("run", "digits-narrow", "--all-analog", "--samples", 20, "--draws", 2, "--hardware", "machine.yaml")
    assert done.exit_code == 2, done.stderr
    assert not harm.exists()
    assert cli("--import", "harmful_module", "models").exit_code == 0
    assert harm.exists(), "the module would have done nothing: the test shows nothing"
    sys.modules.pop("harmful_module", None)


def yaml_of(path: Path) -> str:
    from lhc.onnx_io import load_model, read_plan

    plan = read_plan(load_model(path))
    assert plan is not None
    return plan.hardware.to_yaml()


def test_results_are_kept_by_what_the_code_computes(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit of the module is another machine, though its description is the same."""
    monkeypatch.chdir(tmp_path)
    path, printed = tmp_path / "edited_devices.py", []
    for left in ("g_prog", "g_prog * 0.01", "g_prog"):
        path.write_text(MODULE.replace("g_prog * self.left", left))
        sys.modules.pop("edited_devices", None)
        importlib.invalidate_caches()
        done = cli(
            "run", "digits-narrow", "--all-analog", "--samples", 40, "--draws", 2, "--json",
            "--hardware", "edited_devices:bare",
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
        printed.append(done.stdout)
    sys.modules.pop("edited_devices", None)
    assert printed[0] != printed[1]
