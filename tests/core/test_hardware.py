"""Hardware descriptions: the published presets, YAML both ways, and mistakes named by field."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lhc.errors import ConfigError, UsageError
from lhc.hardware import (
    Adc,
    Dac,
    Devices,
    Hardware,
    Hermes,
    LeftOut,
    Mapping,
    Override,
    Pcm,
    PcmCustomDrift,
    ReramCmo,
    ReramWan2022,
    StateIndependent,
    Tiles,
    Training,
    preset_names,
    preset_text,
)

if TYPE_CHECKING:
    from aihwkit.simulator.configs import TorchInferenceRPUConfig


@pytest.mark.analog
def test_lionheart_is_the_published_configuration() -> None:
    # facts/lionheart.md 1.3: models/common/gen_rpu_config.py of github.com/IBM/lionheart.
    from aihwkit.inference.compensation.drift import GlobalDriftCompensation
    from aihwkit.inference.noise.pcm import PCMLikeNoiseModel
    from aihwkit.simulator.parameters import enums

    config = Hardware.load("lionheart").to_rpu_config()
    mapping = config.mapping
    assert (mapping.max_input_size, mapping.max_output_size, mapping.digital_bias) == (256, 255, True)
    assert (mapping.weight_scaling_omega, mapping.weight_scaling_columnwise) == (1.0, True)
    assert (mapping.learn_out_scaling, mapping.out_scaling_columnwise) == (True, True)
    assert type(config.noise_model) is PCMLikeNoiseModel
    assert config.noise_model.g_max == 25.0
    assert type(config.drift_compensation) is GlobalDriftCompensation
    assert config.modifier.type == enums.WeightModifierType.MULT_NORMAL
    assert (config.modifier.std_dev, config.modifier.rel_to_actual_wmax) == (0.08, True)
    assert (config.clip.type, config.clip.fixed_value) == (enums.WeightClipType.FIXED_VALUE, 1.0)
    assert config.remap.type == enums.WeightRemapType.CHANNELWISE_SYMMETRIC
    forward = config.forward
    assert (forward.inp_res, forward.out_res) == (1 / 254, 1 / 254)
    assert (forward.inp_bound, forward.out_bound) == (1.0, 12.0)
    assert (forward.out_noise, forward.w_noise, forward.ir_drop, forward.inp_noise) == (0.06, 0.0, 0.0, 0.0)
    assert forward.noise_management == enums.NoiseManagementType.ABS_MAX
    assert forward.bound_management == enums.BoundManagementType.ITERATIVE
    assert not forward.is_perfect


@pytest.mark.analog
def test_lionheart_noise_model_is_aihwkits_own() -> None:
    from aihwkit.inference.noise.pcm import PCMLikeNoiseModel

    ours, theirs = Hardware.load("lionheart").to_rpu_config().noise_model, PCMLikeNoiseModel(g_max=25.0)
    plain = {k: v for k, v in vars(theirs).items() if isinstance(v, int | float | list)}
    assert len(plain) > 5
    assert {k: vars(ours)[k] for k in plain} == plain


@pytest.mark.analog
def test_ideal_has_every_effect_off() -> None:
    from aihwkit.simulator.parameters import enums

    config = Hardware.load("ideal").to_rpu_config()
    forward, noise = config.forward, config.noise_model
    assert (forward.inp_res, forward.out_res, forward.inp_bound, forward.out_bound) == (-1.0, -1.0, 0.0, 0.0)
    assert (forward.out_noise, forward.w_noise, forward.inp_noise) == (0.0, 0.0, 0.0)
    assert forward.noise_management == enums.NoiseManagementType.NONE
    assert forward.bound_management == enums.BoundManagementType.NONE
    assert (noise.prog_noise_scale, noise.read_noise_scale, noise.drift_scale) == (0, 0, 0)
    assert config.drift_compensation is None
    assert config.clip.type == enums.WeightClipType.NONE
    assert config.remap.type == enums.WeightRemapType.NONE
    assert not forward.is_perfect


def test_presets_are_listed_and_differ_in_what_they_promise() -> None:
    assert {"ideal", "lionheart"} <= set(preset_names())
    lionheart, ideal = Hardware.load("lionheart"), Hardware.load("ideal")
    assert lionheart.is_stochastic
    assert not ideal.is_stochastic
    assert ideal.devices is None
    assert (lionheart.t_inference_s, ideal.t_inference_s) == (86400.0, 0.0)


@pytest.mark.parametrize("name", preset_names())
def test_preset_text_is_the_preset_and_says_its_source(name: str) -> None:
    hardware = Hardware.load(name)
    assert Hardware.parse(preset_text(name), name) == hardware
    assert hardware.name == name
    assert hardware.source
    # Every number of a preset is written down, none comes from a default.
    assert yaml.safe_load(preset_text(name)) == hardware.model_dump(mode="json")


@dataclass(frozen=True)
class Stochastic:
    id: str
    hardware: Hardware
    expected: bool


STOCHASTIC = [
    Stochastic("no devices, silent ADC", Hardware(name="a", devices=None), False),
    Stochastic("no devices, noisy ADC", Hardware(name="a", devices=None, adc=Adc(noise=0.1)), True),
    Stochastic("devices", Hardware(name="a"), True),
]


@pytest.mark.parametrize("case", STOCHASTIC, ids=lambda case: case.id)
def test_draws_differ_only_where_something_is_noisy(case: Stochastic) -> None:
    assert case.hardware.is_stochastic is case.expected


positive = st.floats(1e-9, 1e6)
sizes = st.integers(1, 4096)
# Control characters and line separators are not kept by YAML.
words = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=8)
scales = st.just(0.0) | positive
coefficients = st.lists(st.floats(-10, 10), min_size=1, max_size=4).map(tuple)


@st.composite
def _custom_drift(draw: st.DrawFn) -> PcmCustomDrift:
    g_max = draw(positive)
    table = draw(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=4))
    means, deviations = zip(*table, strict=True)
    g = (0.0, *(g_max * (1 + i) for i in range(len(table) - 1)))
    return PcmCustomDrift(
        g_max_us=g_max, programming_g_max_us=25.0, drift_g_us=g, drift_nu_mean=means, drift_nu_std=deviations
    )


device_models: st.SearchStrategy[Devices | None] = st.one_of(
    st.none(),
    st.builds(
        Pcm,
        g_max_us=positive,
        drift_scale=scales,
        programming_coefficients_us=coefficients,
        programming_g_max_us=positive,
        t_0_s=positive,
    ),
    _custom_drift(),
    st.builds(Hermes, g_max_us=st.floats(1, 10), num_devices=st.sampled_from([1, 2]), read_noise_scale=scales),
    st.builds(ReramCmo, g_min_us=st.floats(0, 50), acceptance_range_percent=st.sampled_from([0.2, 2.0])),
    st.builds(ReramWan2022, g_max_us=positive, noise_scale=scales),
    st.builds(StateIndependent, g_max_us=positive, drift_nu_std=scales, programming_coefficients_us=coefficients),
)
overrides = st.builds(
    Override,
    layers=st.sampled_from(["conv*", "re:^fc", "x"]),
    adc=st.fixed_dictionaries({}, optional={"noise": scales, "bits": st.integers(2, 24)}),
    devices=st.none() | st.just({}) | st.fixed_dictionaries({"model": st.just("pcm"), "g_max_us": positive}),
    drift_compensation=st.sampled_from([None, "global", "none"]),
)
descriptions = st.builds(
    Hardware,
    name=words,
    description=words,
    left_out=st.lists(st.builds(LeftOut, name=words, size=words, text=words), max_size=2).map(tuple),
    tiles=st.builds(Tiles, rows=sizes, cols=sizes, count=st.none() | sizes),
    dac=st.builds(
        Dac,
        bits=st.none() | st.integers(2, 24),
        bound=positive,
        scaling=st.sampled_from(["abs_max", "static", "none"]),
        range_quantile=st.floats(0.5, 1),
    ),
    adc=st.builds(
        Adc,
        bits=st.none() | st.integers(2, 24),
        bound=positive,
        noise=scales,
        bound_management=st.sampled_from(["iterative", "none"]),
    ),
    mapping=st.builds(Mapping, omega=st.floats(1e-3, 1), columnwise=st.booleans()),
    devices=device_models,
    drift_compensation=st.sampled_from(["global", "none"]),
    t_inference_s=st.sampled_from([1.0, 86400.0, 172800.0]),
    training=st.builds(
        Training,
        weight_noise=scales,
        weight_noise_type=st.sampled_from(["multiplicative", "additive"]),
        clip=st.none() | positive,
        clip_sigma=st.none() | positive,
        remap=st.sampled_from(["channelwise", "layerwise", "none"]),
        out_scaling=st.sampled_from(["columnwise", "tile", "none"]),
    ),
)
machines = st.builds(
    lambda machine, changes: machine.model_copy(update={"overrides": tuple(changes)}),
    descriptions,
    st.lists(overrides, max_size=2),
)


@given(machines)
def test_yaml_and_json_give_the_same_machine_back(hardware: Hardware) -> None:
    assert Hardware.parse(hardware.to_yaml(), "text") == hardware
    assert Hardware.model_validate_json(hardware.model_dump_json()) == hardware


def test_a_file_is_loaded_and_a_description_is_taken_as_it_is(tmp_path: Path) -> None:
    hardware = Hardware(name="mine", tiles=Tiles(rows=128, cols=64, count=7), adc=Adc(noise=1e-5))
    path = tmp_path / "mine.yaml"
    path.write_text(hardware.to_yaml(), encoding="utf-8")
    assert Hardware.load(path) == hardware
    assert Hardware.load(str(path)) == hardware
    assert Hardware.load(hardware) is hardware


@dataclass(frozen=True)
class Mistake:
    id: str
    text: str
    message: str


OVERRIDE = "name: a\noverrides: [{layers: b, "
MISTAKES = [
    Mistake("unknown section", "name: a\ntile: {rows: 3}", r"tile: Extra inputs"),
    Mistake("unknown field", "name: a\ntiles: {row: 3}", r"tiles\.row: Extra inputs.*got 3"),
    Mistake("no name", "tiles: {rows: 3}", r"name: Field required"),
    Mistake("no rows", "name: a\ntiles: {rows: 0}", r"tiles\.rows: .*greater than 0.*got 0"),
    Mistake("text for a number", "name: a\ntiles: {cols: many}", r"tiles\.cols: .*got 'many'"),
    Mistake("half a tile", "name: a\ntiles: {count: 1.5}", r"tiles\.count: .*got 1\.5"),
    Mistake("one bit", "name: a\ndac: {bits: 1}", r"dac\.bits: .*greater than or equal to 2"),
    Mistake("too many bits", "name: a\nadc: {bits: 25}", r"adc\.bits: .*less than or equal to 24"),
    Mistake("negative noise", "name: a\nadc: {noise: -0.1}", r"adc\.noise: .*greater than or equal to 0"),
    Mistake("NaN", "name: a\nadc: {noise: .nan}", r"adc\.noise: .*finite"),
    Mistake("infinite time", "name: a\nt_inference_s: .inf", r"t_inference_s: .*finite"),
    Mistake("negative time", "name: a\nt_inference_s: -1", r"t_inference_s: "),
    Mistake("unknown scaling", "name: a\ndac: {scaling: max}", r"dac\.scaling: .*'abs_max', 'static' or 'none'"),
    Mistake("unknown device", "name: a\ndevices: {model: rram}", r"devices\.model: .*'pcm', .*\(got 'rram'\)"),
    Mistake("device that is no name", "name: a\ndevices: {model: [1]}", r"devices\.model: .*'pcm', .*\(got \[1\]\)"),
    Mistake("field of another device", "name: a\ndevices: {model: hermes, g_min_us: 1}", r" devices\.g_min_us: Extra"),
    Mistake("device without a model", "name: a\ndevices: {g_max: 1}", r" devices\.g_max: Extra"),
    Mistake("device without fields", "name: a\ndevices: pcm", r" devices: .*valid dictionary"),
    Mistake("beyond HERMES", "name: a\ndevices: {model: hermes, g_max_us: 21}", r"devices: .*g_max_us: at most 20\.7"),
    Mistake(
        "min above max", "name: a\ndevices: {model: reram_cmo, g_min_us: 90}", r"devices: .*g_min_us must be below"
    ),
    Mistake(
        "range never measured",
        "name: a\ndevices: {model: reram_cmo, acceptance_range_percent: 1}",
        r"devices: .*0\.2 and 2 were measured",
    ),
    Mistake(
        "drift table too short",
        "name: a\ndevices: {model: pcm_custom_drift, drift_g_us: [0, 5], drift_nu_mean: [0, 0], drift_nu_std: [0, 0]}",
        r"devices: .*drift_g_us must reach from 0 to g_max_us",
    ),
    Mistake(
        "time never measured", "name: a\ndevices: {model: reram_wan2022}\nt_inference_s: 5", r"t_inference_s: .*1, 86"
    ),
    Mistake("quantile", "name: a\ndac: {range_quantile: 1.1}", r"dac\.range_quantile: .*less than or equal to 1"),
    Mistake("left out without a size", "name: a\nleft_out: [{name: b, text: c}]", r"left_out\.0\.size: Field required"),
    Mistake("override of an unknown field", OVERRIDE + "adc: {nois: 1}}]", r" overrides\.0\.adc\.nois: Extra.*got 1"),
    Mistake(
        "override of a device's field", OVERRIDE + "devices: {g_max: 1}}]", r" overrides\.0\.devices\.g_max: Extra"
    ),
    Mistake(
        "override with an unknown device", OVERRIDE + "devices: {model: x}}]", r" overrides\.0\.devices\.model: .*'x'"
    ),
    Mistake("override of the tiles", OVERRIDE + "tiles: {rows: 1}}]", r" overrides\.0\.tiles: Extra"),
    Mistake(
        "override with a bad pattern", "name: a\noverrides: [{layers: 're:('}]", r"overrides\.0\.layers: .*regular"
    ),
    Mistake("override of nothing", "name: a\noverrides: [{adc: {noise: 1}}]", r"overrides\.0\.layers: Field required"),
    Mistake(
        "two mistakes in an override",
        OVERRIDE + "adc: {bits: 1}, dac: {scaling: x}}]",
        r"overrides\.0\.dac\.scaling: .*; overrides\.0\.adc\.bits: ",
    ),
    Mistake(
        "override with a time never measured",
        OVERRIDE + "devices: {model: reram_wan2022}}]\nt_inference_s: 5",
        r"overrides\.0\.devices: .*1, 86400, 172800",
    ),
    Mistake("omega", "name: a\nmapping: {omega: 1.1}", r"mapping\.omega: "),
    Mistake("quantiser without a range", "name: a\nadc: {bound: null}", r"adc\.bits needs adc\.bound"),
    Mistake("section without content", "name: a\ntiles:", r"tiles: .*valid dictionary"),
    Mistake("two at once", "name: a\ntiles: {rows: 0}\nadc: {bits: 1}", r"tiles\.rows: .*; adc\.bits: "),
    Mistake("a list", "- a", "a mapping of fields"),
    Mistake("empty", "", "a mapping of fields"),
    Mistake("not YAML", "name: [", "not valid YAML"),
    Mistake("tabs", "name: a\ntiles:\n\trows: 3", "not valid YAML"),
    Mistake("code", "name: !!python/object/apply:os.getcwd []", "not valid YAML"),
    Mistake("impossible date", "name: a\ndescription: 2024-13-45", "not valid YAML: month"),
    Mistake("number without end", f"name: a\ntiles: {{rows: {'1' * 5000}}}", "not valid YAML"),
    Mistake("key that is no text", "1: 2\nname: a", "1: Keys should be strings"),
]


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case.id)
def test_mistakes_are_named_by_field_and_file(case: Mistake, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(case.text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.yaml: ") as caught:
        Hardware.load(path)
    caught.match(case.message)


def test_numbers_in_scientific_notation_are_numbers() -> None:
    assert Hardware.parse("name: a\nadc: {noise: 1e-3}", "text").adc.noise == 1e-3


@pytest.mark.parametrize("content", [b"name: \xff", b"\x00\x01"])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.yaml: "):
        Hardware.load(path)


def test_unknown_hardware_is_refused_with_the_presets(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown hardware 'lionhart'.*ideal, lionheart"):
        Hardware.load("lionhart")
    with pytest.raises(UsageError, match="neither a preset"):
        Hardware.load(tmp_path)
    with pytest.raises(UsageError, match=r"unknown hardware 'lionhart'; presets: hermes, ideal, lionheart, "):
        preset_text("lionhart")


def test_geometry_keeps_tiles_and_mapping_and_nothing_else() -> None:
    machine = Hardware(
        name="mine", tiles=Tiles(rows=64, cols=32, count=5), mapping=Mapping(omega=0.5, columnwise=False)
    )
    geometry = machine.geometry
    assert (geometry.tiles, geometry.mapping) == (machine.tiles, machine.mapping)
    assert not geometry.is_stochastic
    assert (geometry.dac.bits, geometry.adc.bits, geometry.dac.bound, geometry.adc.bound) == (None,) * 4
    assert geometry.drift_compensation == "none"
    assert geometry.to_yaml() == geometry.geometry.to_yaml()


@given(sizes, sizes, st.integers(1, 300), st.integers(1, 300))
def test_tiles_cover_the_matrix_with_none_to_spare(rows: int, cols: int, tile_rows: int, tile_cols: int) -> None:
    machine = Hardware(name="a", tiles=Tiles(rows=tile_rows, cols=tile_cols))
    down, across = machine.tiles_for(rows, 1), machine.tiles_for(1, cols)
    assert machine.tiles_for(rows, cols) == down * across
    assert (down - 1) * tile_rows < rows <= down * tile_rows
    assert (across - 1) * tile_cols < cols <= across * tile_cols


@pytest.mark.analog
@pytest.mark.parametrize("size", [1, 255, 256, 257, 510, 511, 768])
def test_tiles_are_as_many_as_aihwkit_splits_into(size: int) -> None:
    from aihwkit.simulator.tiles.array import TileModuleArray

    hardware = Hardware.load("lionheart")
    # aihwkit's method reads nothing of its instance.
    split = TileModuleArray.get_split_sizes
    assert hardware.tiles_for(size, 1) == len(split(None, size, 256))
    assert hardware.tiles_for(1, size) == len(split(None, size, 255))


def test_the_parity_gate_keeps_the_mapping_of_every_layer() -> None:
    machine = Hardware(
        name="mine",
        overrides=(
            Override(layers="fc", mapping={"omega": 0.5}, adc={"noise": 1.0}),
            Override(layers="a", devices=None),
        ),
    )
    assert machine.geometry.for_layer("fc").mapping.omega == 0.5
    assert not machine.geometry.is_stochastic
    assert len(machine.geometry.overrides) == 1


# Overrides


LAYERED = Hardware(
    name="layered",
    overrides=(
        Override(layers="conv*", adc={"bits": 6}, dac={"scaling": "static"}),
        Override(layers="re:1$", adc={"noise": 0.5}, drift_compensation="none"),
        Override(layers="conv2", devices={"model": "hermes", "num_devices": 1}, mapping={"columnwise": False}),
        Override(layers="fc", devices=None),
        Override(layers="fc9", devices={"model": "pcm", "g_max_us": 20.0}),
    ),
)


def test_overrides_are_applied_in_order_and_only_where_they_match() -> None:
    conv1, conv2, fc, fc9 = (LAYERED.for_layer(name) for name in ("conv1", "conv2", "fc", "fc9"))
    assert (conv1.adc, conv1.dac.scaling, conv1.drift_compensation) == (Adc(bits=6, noise=0.5), "static", "none")
    assert conv1.devices == Pcm()
    assert (conv2.devices, conv2.mapping.columnwise) == (Hermes(num_devices=1), False)
    assert (fc.devices, fc.adc) == (None, Adc())
    assert fc9.devices == Pcm(g_max_us=20.0)
    assert all(machine.overrides == () and machine.name == "layered" for machine in (conv1, conv2, fc, fc9))
    assert LAYERED.for_layer("other") == LAYERED.model_copy(update={"overrides": ()})


def test_patterns_without_a_layer_are_found() -> None:
    assert LAYERED.unmatched_overrides(["conv1", "fc"]) == ["conv2", "fc9"]
    assert LAYERED.unmatched_overrides([]) == ["conv*", "re:1$", "conv2", "fc", "fc9"]


def test_a_machine_is_what_any_of_its_layers_needs() -> None:
    quiet = Hardware(name="a", devices=None)
    assert not quiet.is_stochastic
    assert not quiet.needs_calibration
    noisy = quiet.model_copy(update={"overrides": (Override(layers="a", devices={"model": "pcm"}),)})
    assert noisy.is_stochastic
    ranged = quiet.model_copy(update={"overrides": (Override(layers="a", dac={"scaling": "static"}),)})
    assert ranged.needs_calibration
    assert not ranged.for_layer("b").needs_calibration


def test_overrides_that_contradict_one_another_are_named_with_the_layer() -> None:
    machine = Hardware(
        name="m",
        adc=Adc(bits=None),
        overrides=(Override(layers="a", adc={"bound": None}), Override(layers="*", adc={"bits": 8})),
    )
    with pytest.raises(ConfigError, match=r"hardware 'm', layer 'a': .*adc\.bits needs adc\.bound"):
        machine.for_layer("a")
    assert machine.for_layer("b").adc == Adc(bits=8)


def test_times_that_the_devices_of_a_layer_do_not_know_are_refused() -> None:
    wan, cmo = (
        Override(layers="a", devices={"model": "reram_wan2022"}),
        Override(layers="b", devices={"model": "reram_cmo"}),
    )
    machine = Hardware(name="m", overrides=(wan, cmo))
    machine.check_time(86400.0)
    with pytest.raises(UsageError, match=r"hardware 'm' at 60 s: reram_wan2022 was measured after 1, 86400, 172800 s"):
        machine.check_time(60.0)
    Hardware(name="m", overrides=(cmo,)).check_time(0.0)
    with pytest.raises(UsageError, match=r"at 0\.5 s: relaxation of reram_cmo was fitted from 1 s on"):
        Hardware(name="m", overrides=(cmo,)).check_time(0.5)
    Hardware(name="m").check_time(0.5)


# aihwkit's configurations

# What a configuration does not hold; handed back to compare the rest.
NOT_IN_AIHWKIT = ("name", "description", "source", "left_out", "t_inference_s", "overrides")


def _there_and_back(machine: Hardware) -> Hardware:
    back = Hardware.from_rpu_config(machine.to_rpu_config())
    kept: dict[str, object] = {name: getattr(machine, name) for name in NOT_IN_AIHWKIT}
    kept["tiles"] = back.tiles.model_copy(update={"count": machine.tiles.count})
    kept["dac"] = back.dac.model_copy(update={"range_quantile": machine.dac.range_quantile})
    if machine.training.weight_noise == 0:  # its type does nothing then
        kept["training"] = back.training.model_copy(update={"weight_noise_type": machine.training.weight_noise_type})
    return back.model_copy(update=kept)


@pytest.mark.analog
@pytest.mark.parametrize("name", preset_names())
def test_presets_survive_the_way_to_aihwkit_and_back(name: str) -> None:
    machine = Hardware.load(name)
    assert _there_and_back(machine) == machine


@pytest.mark.analog
@given(descriptions)
def test_descriptions_survive_the_way_to_aihwkit_and_back(machine: Hardware) -> None:
    assert _there_and_back(machine) == machine


def _settings(config: "TorchInferenceRPUConfig") -> dict[str, object]:
    """Everything that matters of a configuration, compared by value."""
    names = ("mapping", "forward", "clip", "remap", "modifier", "pre_post")
    noise = dict(vars(config.noise_model))
    converter = noise.pop("g_converter")
    return {
        **{name: getattr(config, name) for name in names},
        "noise": (type(config.noise_model), noise, type(converter), vars(converter)),
        "compensation": type(config.drift_compensation),
    }


@pytest.mark.analog
@given(descriptions)
def test_configurations_survive_the_way_to_a_description_and_back(machine: Hardware) -> None:
    config = machine.to_rpu_config()
    assert _settings(Hardware.from_rpu_config(config).to_rpu_config()) == _settings(config)


@pytest.mark.analog
def test_settings_that_mean_the_same_or_nothing_are_no_difference() -> None:
    from aihwkit.simulator.configs import InferenceRPUConfig
    from aihwkit.simulator.parameters import enums

    expected = Hardware.load("standard-pcm-torch")
    torch_config = expected.to_rpu_config()
    config = InferenceRPUConfig(
        mapping=torch_config.mapping,
        forward=torch_config.forward,
        pre_post=torch_config.pre_post,
        clip=torch_config.clip,
    )
    config.remap = torch_config.remap
    config.forward.inp_res = config.forward.out_res = 254.0
    config.forward.noise_management = enums.NoiseManagementType.CONSTANT
    config.forward.nm_thres = 1.0
    config.forward.max_bm_factor = 7  # no bound management
    config.modifier.std_dev = 0.3  # of type NONE
    config.runtime.offload_input = True
    config.clip.sigma = 7.0  # clipped at a fixed value
    found = Hardware.from_rpu_config(config)
    for name in ("tiles", "dac", "adc", "mapping", "devices", "drift_compensation", "training"):
        assert getattr(found, name) == getattr(expected, name), name


@dataclass(frozen=True)
class Refusal:
    field: str
    value: object
    shown: str = ""


@pytest.fixture(scope="module")
def refusals() -> list[Refusal]:
    from aihwkit.inference.compensation.drift import PerColumnDriftCompensation
    from aihwkit.inference.converter.conductance import DualPairConductanceConverter
    from aihwkit.inference.noise.pcm import PCMLikeNoiseModel
    from aihwkit.simulator.parameters import enums

    class Mine(PCMLikeNoiseModel):  # type: ignore[misc]  # aihwkit is untyped
        pass

    return [
        Refusal("forward.w_noise", 0.0175, "forward.w_noise = 0.0175"),
        Refusal("forward.ir_drop", 1.0),
        Refusal("forward.inp_noise", 0.1),
        Refusal("forward.out_nonlinearity", 0.1),
        Refusal("forward.inp_asymmetry", 0.1),
        Refusal("forward.out_asymmetry", 0.1),
        Refusal("forward.out_noise_std", 0.3),
        Refusal("forward.w_read_asymmetry_dtod", 0.1),
        Refusal("forward.inp_sto_round", True, "forward.inp_sto_round = True"),
        Refusal("forward.inp_res", 0.01, r"forward.inp_res = 0.01 (a description says 0.0079365"),
        Refusal("forward.is_perfect", True),
        Refusal(
            "forward.mv_type", enums.AnalogMVType.POS_NEG_SEPARATE, "POS_NEG_SEPARATE (a description says ONE_PASS)"
        ),
        Refusal("forward.bound_management", enums.BoundManagementType.SHIFT, "SHIFT (a description says ITERATIVE)"),
        Refusal("forward.bound_management", enums.BoundManagementType.ITERATIVE_WORST_CASE),
        Refusal("forward.noise_management", enums.NoiseManagementType.MAX, "MAX (a description says NONE)"),
        Refusal("forward.noise_management", enums.NoiseManagementType.AVERAGE_ABS_MAX),
        Refusal("forward.nm_thres", 0.5),
        Refusal("forward.max_bm_factor", 5),
        Refusal("mapping.digital_bias", False, "mapping.digital_bias = False"),
        Refusal("mapping.weight_scaling_omega", 0.0),
        Refusal("mapping.max_output_size", 0, "mapping.max_output_size = 0 (a description says 512)"),
        Refusal("modifier.type", enums.WeightModifierType.DOREFA, "DOREFA"),
        Refusal("modifier.pdrop", 0.1),
        Refusal("clip.type", enums.WeightClipType.AVERAGE_CHANNEL_MAX),
        Refusal("remap.max_scale_range", 2.0),
        Refusal("drift_compensation", PerColumnDriftCompensation(), "drift_compensation = PerColumnDriftCompensation"),
        Refusal("noise_model", Mine(g_max=25.0), "noise_model = Mine"),
        Refusal("noise_model.g_converter", DualPairConductanceConverter([1.0, 1.0]), "DualPairConductanceConverter"),
        Refusal("noise_model.g_converter.g_min", 1.0),
        Refusal("backward.is_perfect", False),
        Refusal("tile_class", int, "tile_class = int"),
        Refusal("runtime.data_type", enums.RPUDataType.DOUBLE),
        # Not in any aihwkit so far: what a later one adds is refused too.
        Refusal("forward.wire_capacitance", 0.0, "forward.wire_capacitance = 0.0 (unknown to lhc)"),
        Refusal("noise_model.temperature", 300.0, "noise_model.temperature = 300.0 (unknown to lhc)"),
        Refusal("polarity", 1, "polarity = 1"),
    ]


def _set(config: object, path: str, value: object) -> None:
    *parents, last = path.split(".")
    for name in parents:
        config = getattr(config, name)
    setattr(config, last, value)


@pytest.mark.analog
def test_settings_without_a_place_in_a_description_are_refused_by_name(refusals: list[Refusal]) -> None:
    for case in refusals:
        config = Hardware.load("lionheart").to_rpu_config()
        _set(config, case.field, case.value)
        with pytest.raises(ConfigError, match=rf"\b{case.field} = ") as caught:
            Hardware.from_rpu_config(config)
        assert case.shown in str(caught.value)
        found = Hardware.from_rpu_config(config, leave_out=[case.field.removesuffix(".type")])
        told = not case.field.startswith(("modifier", "clip", "remap", "backward", "runtime"))
        assert [effect.name for effect in found.left_out] == [case.field] * told, case


@pytest.mark.analog
def test_dynamic_on_top_of_static_scaling_is_refused() -> None:
    config = Hardware.load("lionheart").to_rpu_config()
    config.pre_post.input_range.enable = True
    with pytest.raises(ConfigError, match=r"forward\.noise_management = ABS_MAX \(a description says NONE\)"):
        Hardware.from_rpu_config(config)


@pytest.mark.analog
def test_rasch_preset_is_read_when_its_columns_are_bounded_and_its_noise_left_out() -> None:
    from aihwkit.simulator.presets import StandardHWATrainingPreset

    config = StandardHWATrainingPreset()
    with pytest.raises(ConfigError) as caught:
        Hardware.from_rpu_config(config)
    named = ("mapping.max_output_size", "forward.w_noise", "forward.w_noise_type", "forward.ir_drop")
    assert all(f"{name} = " in str(caught.value) for name in named)
    assert str(caught.value).count(" = ") == len(named)
    config.mapping.max_output_size = 512
    found = Hardware.from_rpu_config(
        config, "rasch", t_inference_s=3600.0, leave_out=["forward.w_noise", "forward.ir_drop"]
    )
    preset = Hardware.load("standard-pcm-torch")
    assert [effect.name for effect in found.left_out] == ["forward.w_noise", "forward.w_noise_type", "forward.ir_drop"]
    for name in ("tiles", "dac", "adc", "mapping", "devices", "drift_compensation", "t_inference_s", "training"):
        assert getattr(found, name) == getattr(preset, name), name


@pytest.mark.analog
def test_what_needs_not_be_left_out_is_a_mistake() -> None:
    with pytest.raises(
        UsageError, match=r"leave_out forward\.irdrop: no setting that has to be left out; such are: none"
    ):
        Hardware.from_rpu_config(Hardware.load("lionheart").to_rpu_config(), leave_out=["forward.irdrop"])


@pytest.mark.analog
def test_only_configurations_for_inference_are_read_and_values_are_checked() -> None:
    from aihwkit.simulator.configs import FloatingPointRPUConfig

    with pytest.raises(ConfigError, match=r"\(InferenceRPUConfig\), not a FloatingPointRPUConfig"):
        Hardware.from_rpu_config(FloatingPointRPUConfig())
    config = Hardware.load("lionheart").to_rpu_config()
    config.noise_model.drift_scale = -1.0
    with pytest.raises(ConfigError, match=r"devices\.drift_scale: .*greater than or equal to 0"):
        Hardware.from_rpu_config(config)


@pytest.mark.analog
def test_overrides_must_be_resolved_before_a_configuration_is_made() -> None:
    with pytest.raises(ConfigError, match="for_layer"):
        LAYERED.to_rpu_config()
    assert LAYERED.for_layer("conv1").to_rpu_config().pre_post.input_range.enable


@pytest.mark.analog
def test_default_devices_are_aihwkits_own_defaults() -> None:
    from aihwkit.inference.noise import custom, hermes, pcm, reram

    table = {"g_lst": [0.0, 25.0], "nu_mean_lst": [0.1, 0.05], "nu_std_lst": [0.04, 0.01]}
    pairs: list[tuple[Devices, object]] = [
        (Pcm(), pcm.PCMLikeNoiseModel()),
        (
            PcmCustomDrift(drift_g_us=(0.0, 25.0), drift_nu_mean=(0.1, 0.05), drift_nu_std=(0.04, 0.01)),
            pcm.CustomDriftPCMLikeNoiseModel(table),
        ),
        (Hermes(), hermes.HermesNoiseModel()),
        (Hermes(num_devices=1), hermes.HermesNoiseModel(num_devices=1)),
        (ReramCmo(), reram.ReRamCMONoiseModel()),
        (ReramWan2022(), reram.ReRamWan2022NoiseModel()),
        (StateIndependent(), custom.StateIndependentNoiseModel()),
    ]
    for ours, theirs in pairs:
        machine = Hardware(name="a", devices=ours)
        built, expected = dict(vars(machine.to_rpu_config().noise_model)), dict(vars(theirs))
        converters = [vars(attributes.pop("g_converter")) for attributes in (built, expected)]
        assert built == expected, ours.model
        assert converters[0] == converters[1], ours.model


# The examples of the documentation

DOCS = (Path(__file__).parents[2] / "docs" / "hardware.md").read_text(encoding="utf-8")


def test_the_documented_description_is_read() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    machine = Hardware.parse(text, "docs/hardware.md")
    assert machine.needs_calibration
    assert machine.for_layer("linear").devices == ReramWan2022(g_max_us=40.0)


@pytest.mark.analog
def test_the_documented_use_of_aihwkit_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    exec(code, {})
    printed = re.findall(r"^print.*  # (.*)$", code, re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == printed
