"""Hardware descriptions: the published presets, YAML both ways, and mistakes named by field."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lhc.errors import ConfigError, UsageError
from lhc.hardware import (
    Adc,
    Hardware,
    Mapping,
    Override,
    ReramWan2022,
    Tiles,
    preset_names,
    preset_text,
)
from tests.hardware.drawn_machines import machines, sizes


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


def test_an_edited_preset_says_that_it_is_one(tmp_path: Path) -> None:
    text, path = preset_text("lionheart"), tmp_path / "mine.yaml"
    path.write_text(text)
    assert Hardware.load(path) == Hardware.load("lionheart"), "a copy is the preset"
    path.write_text(text.replace("rows: 256 ", "rows: 128 ").replace("\ndac:\n  bits: 8 ", "\ndac:\n  bits: 6 "))
    edited = Hardware.load(path)
    assert (edited.name, edited.description) == ("lionheart-mine", "lionheart, edited: tiles.rows, dac.bits")
    assert edited.source.startswith("edited: mine.yaml; all else: C. Lammie")
    assert edited.source_beside("devices: chip.csv").startswith("devices: chip.csv; edited: mine.yaml; all else: C. La")
    assert edited.tiles.rows == 128
    path.write_text(edited.to_yaml())
    assert Hardware.load(path) == edited, "written with all fields, and read again"
    path.write_text(path.read_text().replace("name: lionheart-mine", "name: mine"))
    assert Hardware.load(path).name == "mine"
    path.write_text(text.replace("name: lionheart", "name: mine").replace("rows: 256 ", "rows: 128 "))
    assert (Hardware.load(path).name, Hardware.load(path).description) == ("mine", "lionheart, edited: tiles.rows")


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
    Mistake(
        "area without a source",
        "name: a\ncosts: {model: alpine, chip: {tile_mm2: 0.003}}",
        r"costs\.chip\.tile_mm2: a number needs its source: write both, value and source, as fields",
    ),
    Mistake(
        "area of a part alone",
        "name: a\ncosts: {model: alpine, chip: {converters_mm2: {value: 1, source: b}}}",
        r"costs\.chip: converters_mm2 is a part of tile_mm2: give that too, and at least as much",
    ),
    Mistake("unknown section", "name: a\ntile: {rows: 3}", r"tile: no such key; did you mean tiles\?$"),
    Mistake("unknown field", "name: a\ntiles: {row: 3}", r"tiles\.row: no such key; did you mean rows\? \(got 3\)"),
    Mistake("no name", "tiles: {rows: 3}", r"name: is missing"),
    Mistake("no rows", "name: a\ntiles: {rows: 0}", r"tiles\.rows: .*must be above 0.*got 0"),
    Mistake("text for a number", "name: a\ntiles: {cols: many}", r"tiles\.cols: .*got 'many'"),
    Mistake("half a tile", "name: a\ntiles: {count: 1.5}", r"tiles\.count: .*got 1\.5"),
    Mistake("one bit", "name: a\ndac: {bits: 1}", r"dac\.bits: .*must be at least 2"),
    Mistake("too many bits", "name: a\nadc: {bits: 25}", r"adc\.bits: .*must be at most 24"),
    Mistake("negative noise", "name: a\nadc: {noise: -0.1}", r"adc\.noise: .*must be at least 0"),
    Mistake("NaN", "name: a\nadc: {noise: .nan}", r"adc\.noise: .*finite"),
    Mistake("infinite time", "name: a\nt_inference_s: .inf", r"t_inference_s: .*finite"),
    Mistake("negative time", "name: a\nt_inference_s: -1", r"t_inference_s: "),
    Mistake("unknown scaling", "name: a\ndac: {scaling: max}", r"dac\.scaling: .*'abs_max', 'static' or 'none'"),
    Mistake("unknown device", "name: a\ndevices: {model: rram}", r"devices\.model: .*'pcm', .*\(got 'rram'\)"),
    Mistake("cost model that is no name", "name: a\ncosts: {model: {a: 1}}", r"costs: choose a cost model: .*'alpine'"),
    Mistake("device that is no name", "name: a\ndevices: {model: [1]}", r"devices\.model: .*'pcm', .*\(got \[1\]\)"),
    Mistake(
        "field of another device",
        "name: a\ndevices: {model: hermes, noise_scale: 1}",
        r" devices\.noise_scale: no such key; did you mean read_noise_scale or programming_noise_scale\?",
    ),
    Mistake(
        "unlike any field", "name: a\ntiles: {voltage: 1}", r"tiles\.voltage: no such key; there are rows, cols, count "
    ),
    Mistake(
        "unit", "name: a\ndevices: {programming_noise_us: 2}", r" mean programming_g_max_us or programming_coeff.*_us\?"
    ),
    Mistake("half a unit", "name: a\ncosts: {tile: {product_pj: 3}}", r"\.product_pj: .* mean product_pj_per_cell\? "),
    Mistake(
        "other unit", "name: a\ncosts: {tile: {product_us: 3}}", r"no such key; there are product_ns, product_pj_p"
    ),
    Mistake("field of costs", "name: a\ncosts: {tile: {product_n: 1}}", r" costs\.tile\.product_n: .* product_ns\? "),
    Mistake(
        "field of an effect", "name: a\nleft_out: [{nam: b}]", r"left_out\.0\.nam: no such key; did you mean name\?"
    ),
    Mistake("device without a model", "name: a\ndevices: {g_max: 1}", r" devices\.g_max: .* did you mean g_max_us\?"),
    Mistake("device without fields", "name: a\ndevices: pcm", r" devices: .*fields with their values"),
    Mistake("beyond HERMES", "name: a\ndevices: {model: hermes, g_max_us: 21}", r"devices: .*g_max_us: at most 20\.7"),
    Mistake(
        "slices of no codes",
        "name: a\ndac: {bits: null, bound: null, slice_bits: 2}",
        r"dac: .*slice_bits: inputs of bits",
    ),
    Mistake("slices read again", "name: a\ndac: {slice_bits: 2}", r"dac\.slice_bits needs adc\.bound_management: none"),
    Mistake(
        "min above max", "name: a\ndevices: {model: reram_cmo, g_min_us: 90}", r"devices: .*g_min_us must be below"
    ),
    Mistake(
        "range never measured",
        "name: a\ndevices: {model: reram_cmo, acceptance_range_percent: 1}",
        r"devices: .*write 0\.2 or 2, the ranges that were measured",
    ),
    Mistake(
        "drift table too short",
        "name: a\ndevices: {model: pcm_custom_drift, drift_g_us: [0, 5], drift_nu_mean: [0, 0], drift_nu_std: [0, 0]}",
        r"devices: .*drift_g_us must reach from 0 to g_max_us",
    ),
    Mistake(
        "time never measured", "name: a\ndevices: {model: reram_wan2022}\nt_inference_s: 5", r"t_inference_s: .*1, 86"
    ),
    Mistake("quantile", "name: a\ndac: {range_quantile: 1.1}", r"dac\.range_quantile: .*must be at most 1"),
    Mistake("left out without a size", "name: a\nleft_out: [{name: b, text: c}]", r"left_out\.0\.size: is missing"),
    Mistake(
        "override of an unknown field",
        OVERRIDE + "adc: {nois: 1}}]",
        r" overrides\.0\.adc\.nois: no such key; did you mean noise\? \(got 1\)",
    ),
    Mistake("override of no section", OVERRIDE + "dacs: {bits: 1}}]", r" overrides\.0\.dacs: .*; did you mean dac\?"),
    Mistake(
        "override of a device's field",
        OVERRIDE + "devices: {g_max: 1}}]",
        r" overrides\.0\.devices\.g_max: no such key; did you mean g_max_us\?",
    ),
    Mistake(
        "override with an unknown device", OVERRIDE + "devices: {model: x}}]", r" overrides\.0\.devices\.model: .*'x'"
    ),
    Mistake(
        "override of the tiles",
        OVERRIDE + "tiles: {rows: 1}}]",
        r" overrides\.0\.tiles: no such key; did you mean on_tiles",
    ),
    Mistake("override with a bad pattern", "name: a\noverrides: [{layers: 're:('}]", r"overrides\.0\.layers: .*globs"),
    Mistake("override of nothing", "name: a\noverrides: [{adc: {noise: 1}}]", r"overrides\.0\.layers: is missing"),
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
    Mistake("section without content", "name: a\ntiles:", r"tiles: .*fields with their values"),
    Mistake("two at once", "name: a\ntiles: {rows: 0}\nadc: {bits: 1}", r"tiles\.rows: .*; adc\.bits: "),
    Mistake("a list", "- a", "a mapping of fields"),
    Mistake("empty", "", "empties FILE first"),
    Mistake("not YAML", "name: [", "not valid YAML"),
    Mistake("tabs", "name: a\ntiles:\n\trows: 3", "not valid YAML"),
    Mistake("code", "name: !!python/object/apply:os.getcwd []", "not valid YAML"),
    Mistake("a key twice", "name: a\ntiles: {rows: 1}\ntiles: {rows: 2}", "not valid YAML: the key 'tiles' twice"),
    Mistake("YAML 1.1's yes", "name: a\ntiles: {rows: yes}", r" tiles\.rows: .*whole number.*'yes'"),
    Mistake("YAML 1.1's base 60", "name: a\ntiles: {rows: 4:0}", r" tiles\.rows: .*whole number.*'4:0'"),
    Mistake("truth for a number", "name: a\ntiles: {rows: true}", r" tiles\.rows: a number is wanted, not true"),
    Mistake("YAML 1.1's merge", "name: a\ntiles: &t {rows: 1}\ndac: {<<: *t}", r" dac\.<<: no such key"),
    Mistake("too small", "name: a\nadc: {noise: 5e-324}", r" adc\.noise: .*1e-15 to 1e\+15"),
    Mistake("too large", "name: a\nadc: {bound: 1e308}", r" adc\.bound: .*1e-15 to 1e\+15"),
    Mistake("too many rows", "name: a\ntiles: {rows: 1000000}", r" tiles\.rows: .*65536"),
    Mistake("unknown keys without end", "\n".join(f"k{i}: 1" for i in range(3000)), "and 2981 more"),
    Mistake("number without end", f"name: a\ntiles: {{rows: {'1' * 5000}}}", "not valid YAML"),
    Mistake("hexadecimal number without end", f"name: a\ntiles: {{rows: 0x{'f' * 3600}}}", "an integer of 3602 digits"),
    Mistake("key that is no text", "1: 2\nname: a", "1: Keys should be strings"),
]


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case.id)
def test_mistakes_are_named_by_field_and_file(case: Mistake, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(case.text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.yaml: ") as caught:
        Hardware.load(path)
    caught.match(case.message)


def test_a_leading_zero_is_no_octal_number() -> None:
    assert Hardware.parse("name: a\ntiles: {rows: 0256}", "text").tiles.rows == 256


def test_many_unknown_keys_are_told_in_bounded_time() -> None:
    started = time.process_time()
    with pytest.raises(ConfigError):
        Hardware.parse("\n".join(f"k{i}: 1" for i in range(3000)), "text")
    assert time.process_time() - started < 5


def test_numbers_in_scientific_notation_are_numbers() -> None:
    assert Hardware.parse("name: a\nadc: {noise: 1e-3}", "text").adc.noise == 1e-3


@pytest.mark.parametrize("content", [b"name: \xff", b"\x00\x01"])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.yaml: "):
        Hardware.load(path)


def test_unknown_hardware_is_refused_with_the_presets(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown hardware 'lionhart'.*; nearest: lionheart; .*ideal, lionheart"):
        Hardware.load("lionhart")
    with pytest.raises(UsageError, match="neither a preset"):
        Hardware.load(tmp_path)
    with pytest.raises(UsageError, match=r"'lionhart'; nearest: lionheart; presets: afm, hermes, ideal, lionheart, "):
        preset_text("lionhart")
    with pytest.raises(UsageError, match=r"'zzzz'; presets: afm"):
        preset_text("zzzz")


def test_geometry_keeps_tiles_and_mapping_and_nothing_else() -> None:
    machine = Hardware(
        name="mine", tiles=Tiles(rows=64, cols=32, count=5), mapping=Mapping(omega=0.5, columnwise=False)
    )
    geometry = machine.geometry
    assert (geometry.tiles, geometry.mapping) == (machine.tiles, machine.mapping)
    assert not geometry.is_stochastic
    assert (geometry.dac.bits, geometry.adc.bits, geometry.dac.bound, geometry.adc.bound) == (None,) * 4
    assert geometry.compensation.drift == "none"
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


DOCS, AIHWKIT_DOCS = (
    (Path(__file__).parents[2] / "docs" / name).read_text(encoding="utf-8")
    for name in ("hardware.md", "aihwkit-configuration.md")
)


def test_the_documented_description_is_read() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    sections, (text,) = [b for b in blocks if "name: mine" not in b], [b for b in blocks if "name: mine" in b]
    machines = [Hardware.parse(f"name: mine\n{section}", "docs/hardware.md") for section in sections]
    assert all(machine != Hardware(name="mine") for machine in machines)
    assert [m.compensation.when for m in machines if m.compensation.samples == 512] == ["period"]
    machine = Hardware.parse(text, "docs/hardware.md")
    assert machine.needs_calibration
    assert machine.for_layer("linear").devices == ReramWan2022(g_max_us=40.0)


@pytest.mark.analog
def test_the_documented_use_of_aihwkit_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", AIHWKIT_DOCS, re.DOTALL)
    (code,) = (block for block in blocks if "from_rpu_config" in block)
    exec(code, {})
    printed = re.findall(r"^print.*  # (.*)$", code, re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == printed
