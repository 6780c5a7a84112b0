"""Devices from measurements: what a known law gives is found, and emulated with its distribution."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp

from lhc.errors import ConfigError, DataError
from lhc.hardware import Hardware, Measured, effects_of, preset_text
from lhc.hardware.description.tiles_and_converters import LeftOut
from lhc.hardware.devices.aihwkit_noise_models import MeasuredNoise
from lhc.hardware.devices.measurement_csv import (
    MOST_TARGETS,
    _nearest_correlation,
    before_cut,
    devices_text,
    fit_devices,
    with_measured_devices,
)
from tests.conftest import Cli
from tests.hardware.drawn_machines import MEASURED

TARGETS, TIMES = np.array([0.0, 5, 12, 20]), np.array([20.0, 200, 2000])
READ = 0.05
RNG = np.random.default_rng(20)


def law(targets: np.ndarray, rng: np.random.Generator, spread: float = 1.0, start: float = 3.0) -> np.ndarray:
    """Devices that are programmed with an error and drift with exponents of their own: ``(times, devices)``, µS."""
    programmed = start + targets + spread * (0.3 + 0.02 * targets) * rng.standard_normal(len(targets))
    nu = 0.05 + 0.01 * rng.standard_normal(len(targets))
    return np.asarray(programmed * (TIMES[:, None] / TIMES[0]) ** -nu)


def written(path: Path, targets: np.ndarray, values: np.ndarray, repeats: int = 1, head: str = "") -> Path:
    rows = [head or "target_us,time_s,conductance_us,device"]
    for t, time in enumerate(TIMES):
        for _ in range(repeats):
            seen = values[t] + READ * RNG.standard_normal(len(targets)) * (repeats > 1)
            rows += [f"{x},{time},{g:.6f},d{n}" for n, (x, g) in enumerate(zip(targets, seen, strict=True))]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    targets = np.repeat(TARGETS, 5000)
    path = written(tmp_path_factory.mktemp("measured") / "chip.csv", targets, law(targets, RNG))
    return fit_devices(path).devices


def emulated(devices: Measured, targets: np.ndarray, t_s: float) -> np.ndarray:
    """The positive cell of pairs at a time, µS; the other one is taken out of account."""
    import torch

    torch.manual_seed(0)
    noise = MeasuredNoise(devices)
    weights = torch.tensor(targets[None] / targets.max())
    (cells, _) = noise.apply_programming_noise(weights)[1]
    return np.asarray(devices.conductances(cells.targets, cells.independent, t_s)[0])


@pytest.mark.analog
@pytest.mark.parametrize("time", range(len(TIMES)))
def test_emulated_devices_have_the_distribution_of_the_law(measured: Measured, time: int) -> None:
    targets = np.repeat(TARGETS, 5000)
    ours = emulated(measured, targets, TIMES[time] - TIMES[0])
    theirs = law(targets, np.random.default_rng(1))[time]

    for target in TARGETS:
        own = targets == target
        assert ks_2samp(ours[own], theirs[own]).pvalue > 1e-3
        assert ks_2samp(1.03 * ours[own], theirs[own]).pvalue < 1e-6


@pytest.mark.analog
def test_an_error_of_three_percent_in_a_table_is_found(measured: Measured) -> None:
    """In mean, spread and correlation, against what 400,000 devices of the law say."""
    targets = np.repeat(TARGETS, 100_000)
    theirs = law(targets, np.random.default_rng(2))

    def differences(devices: Measured) -> tuple[float, float]:
        """Of means and of deviations, as shares, mean over targets and times."""
        ours = np.stack([emulated(devices, targets, t - TIMES[0]) for t in TIMES])
        shares = [
            [f(ours[:, targets == x], 1) / f(theirs[:, targets == x], 1) - 1 for x in TARGETS]
            for f in (np.mean, np.std)
        ]
        return float(np.mean(shares[0])), float(np.mean(shares[1]))

    planted = {
        name: tuple(tuple(1.03 * value for value in row) for row in getattr(measured, name))
        for name in ("mean_us", "std_us")
    }
    right = differences(measured)
    assert max(map(abs, right)) < 0.01
    for k, (name, table) in enumerate(planted.items()):
        assert differences(measured.model_copy(update={name: table}))[k] > 0.02


def test_tables_are_those_of_the_law(measured: Measured) -> None:
    theirs = law(np.repeat(TARGETS, 50_000), np.random.default_rng(3)).reshape(len(TIMES), len(TARGETS), -1)

    assert (measured.t_0_s, measured.times_s) == (20.0, (0.0, 180.0, 1980.0))
    np.testing.assert_allclose(measured.mean_us, theirs.mean(axis=2), rtol=0.005)
    np.testing.assert_allclose(measured.std_us, theirs.std(axis=2), rtol=0.05)
    correlations = [np.corrcoef(theirs[:, k]) for k in range(len(TARGETS))]
    np.testing.assert_allclose(measured.correlation, correlations, atol=0.03)
    assert set(measured.read_us) == {0.0}


def test_a_correlation_that_is_one_stays() -> None:
    one = np.array([[1.0, 0.9, 0.5], [0.9, 1.0, 0.6], [0.5, 0.6, 1.0]])
    np.testing.assert_allclose(_nearest_correlation(one), one, atol=1e-12)
    none = np.array([[1.0, 1.2], [1.2, 1.0]])
    np.testing.assert_allclose(_nearest_correlation(none), np.ones((2, 2)))


def test_repeats_tell_the_noise_of_a_read_and_units_are_read(tmp_path: Path) -> None:
    targets = np.repeat(TARGETS, 200)
    values = law(targets, RNG)
    found = fit_devices(written(tmp_path / "us.csv", targets, values, repeats=4))

    np.testing.assert_allclose(found.devices.read_us, READ, rtol=0.1)
    assert "read noise is told apart from the spread" in str(found)
    nano = written(tmp_path / "ns.csv", targets * 1000, values * 1000, head="target_nS,time_min,conductance_nS,device")
    other = fit_devices(nano).devices
    assert other.targets_us == found.devices.targets_us
    assert other.t_0_s == 60 * TIMES[0]


def test_units_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    targets = np.repeat(TARGETS, 20)
    path = written(tmp_path / "mixed.csv", targets, 1000 * law(targets, RNG))
    with pytest.raises(DataError, match=r"have a mean of .* at the first read; are the units of both columns right\?"):
        fit_devices(path)


def test_a_time_counts_from_programming_as_well(tmp_path: Path) -> None:
    """Who measured 2,000 s after programming means that time, which is 1,980 s after the first read."""
    targets = np.repeat(TARGETS, 20)
    devices = fit_devices(written(tmp_path / "chip.csv", targets, law(targets, RNG))).devices
    assert devices.time_problem(2000.0) is None
    month = devices.model_copy(update={"times_s": (*devices.times_s[:-1], 2591980.0), "t_0_s": 20.0})
    assert month.time_problem(31 * 86400) == "the devices were measured until 30 days after programming"
    assert devices.time_problem(2001.0) == "the devices were measured until 2000 s after programming"
    z = np.zeros((len(TIMES), 1))
    assert devices.conductances(np.array([10.0]), z, 2000.0) == devices.conductances(np.array([10.0]), z, 1980.0)


def test_targets_without_end_are_put_into_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    targets = np.append(rng.uniform(0, 20, 4000), np.zeros(50))
    devices = fit_devices(written(tmp_path / "many.csv", targets, law(targets, rng))).devices

    assert len(devices.targets_us) == MOST_TARGETS
    np.testing.assert_allclose(devices.mean_us[0], np.array(devices.targets_us) + 3, atol=0.2)
    np.testing.assert_allclose(np.mean(devices.std_us[0]), 0.5, rtol=0.1)


def test_distributions_that_are_not_normal_are_counted(tmp_path: Path) -> None:
    targets = np.repeat(TARGETS, 300)
    skew = law(targets, RNG) + np.random.default_rng(6).exponential(2.0, len(targets))
    found = fit_devices(written(tmp_path / "skew.csv", targets, skew))

    assert found.unlike > 0.8 * found.distributions
    assert "are not normal" in str(found)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_what_chips_differ_by_is_told(tmp_path: Path, share: float) -> None:
    targets = np.repeat(TARGETS, 400)
    chips = np.tile(np.arange(20), len(targets) // 20)
    rng = np.random.default_rng(7)
    parts = (rng.standard_normal(20)[chips], rng.standard_normal(len(targets)))
    values = 3 + targets + 0.2 * (np.sqrt(share) * parts[0] + np.sqrt(1 - share) * parts[1])
    path = tmp_path / "chips.csv"
    rows = (f"{x},1,{g},d{n},{chip}" for n, (x, g, chip) in enumerate(zip(targets, values, chips, strict=True)))
    path.write_text("target_us,time_s,conductance_us,device,chip\n" + "\n".join(rows))
    found = fit_devices(path)

    # Twenty chips tell a share s to about 1.1 s (sqrt(2 / 20) for the variance between them).
    assert found.between_chips == pytest.approx(share, abs=0.15 if share else 0.02)
    assert "of the variance is between chips" in str(found)


def test_between_times_errors_keep_their_spread_and_devices_their_own() -> None:
    devices = MEASURED
    targets, z = np.full(200_000, 10.0), np.random.default_rng(0).standard_normal((2, 200_000))
    first, middle, last = (devices.conductances(targets, z, t) for t in (0.0, 1000.0, 1e6))

    assert (middle.mean(), middle.std()) == (pytest.approx(8, abs=0.03), pytest.approx(2, rel=0.02))
    assert np.corrcoef(first, last)[0, 1] == pytest.approx(0.5, abs=0.03)
    assert devices.lasting(1e6) == pytest.approx(0.6)
    assert devices.time_problem(2e6) == "the devices were measured until 1000001 s (11.6 days) after programming"


@pytest.mark.analog
def test_a_machine_with_measured_devices_goes_to_yaml_and_aihwkit_and_back(tmp_path: Path) -> None:
    targets = np.repeat(TARGETS, 20)
    path = written(tmp_path / "chip7.csv", targets, law(targets, RNG), repeats=2)
    machine, _ = with_measured_devices(Hardware.load("lionheart"), path)

    assert machine.name == "lionheart-chip7"
    assert machine.t_inference_s == 2000.0
    assert Hardware.parse(machine.to_yaml(), "x") == machine
    assert Hardware.from_rpu_config(machine.to_rpu_config(), t_inference_s=60.0).devices == machine.devices
    assert {"programming", "drift", "read"} <= set(effects_of(machine))


@pytest.mark.parametrize("seed", [3, 6])
def test_correlations_without_the_noise_of_reads_are_made_possible_and_that_is_told(tmp_path: Path, seed: int) -> None:
    """Errors that last, beside reads a third as noisy: estimates have negative eigenvalues, of 10 devices a target."""
    rng, times = np.random.default_rng(seed), np.geomspace(20, 1e5, 8)
    targets = np.repeat(np.linspace(0, 20, 8), 10)
    first = 3 + targets + 0.3 * rng.standard_normal(len(targets))
    rows = [
        f"{x},{t},{g * (t / 20) ** -0.05 + 0.1 * rng.standard_normal():.4f},d{n}"
        for t in times
        for n, (x, g) in enumerate(zip(targets, first, strict=True))
        for _ in range(2)
    ]
    path = tmp_path / "chip.csv"
    path.write_text("\n".join(["target_us,time_s,conductance_us,device", *rows]))

    machine, found = with_measured_devices(Hardware.load("lionheart"), path)
    assert Hardware.parse(machine.to_yaml(), "x") == machine
    assert np.linalg.eigvalsh(np.array(found.devices.correlation)).min() > -1e-7
    assert found.moved > 0.1
    assert f"were moved, by at most {found.moved:.3f}, to some that errors can have" in str(found)


@pytest.mark.parametrize("pair", ["two-sided", "reference-column"])
def test_the_unit_cell_is_kept_and_what_gives_way_is_told(tmp_path: Path, pair: str) -> None:
    base, targets = Hardware.load("lionheart"), np.repeat(TARGETS, 20)
    cell = {"pair": pair, "pairs_per_weight": 2, "g_min_us": 1.0, "drift_scale": 0.5}
    assert base.devices is not None
    asked = {"devices": base.devices.model_dump() | cell | {"t_read_s": 1e-6, "g_max_us": 30.0}}
    base = base.with_fields(asked)
    table = written(tmp_path / "chip.csv", targets, law(targets, RNG))
    machine, _ = with_measured_devices(base, table)
    assert machine.devices is not None
    assert {name: getattr(machine.devices, name) for name in cell} == cell
    told = devices_text(base, machine)
    assert f"kept: g_min_us 1.0, pair {pair}, pairs_per_weight 2, programming_noise_scale 1.0, t_0_s" in told
    assert "replaced by the tables: g_max_us, programming_coefficients_us, programming_g_max_us, t_read_s" in told

    with pytest.raises(ConfigError, match="g_min_us must be below g_max_us"):
        with_measured_devices(base.with_fields({"devices": asked["devices"] | {"g_min_us": 20.0}}), table)


def test_one_device_a_weight_becomes_a_pair_and_a_deviation_is_no_factor(tmp_path: Path) -> None:
    base, targets = Hardware.load("reram-cmo"), np.repeat(TARGETS, 20)
    table = written(tmp_path / "chip.csv", targets, law(targets, RNG))
    machine, _ = with_measured_devices(base, table)
    assert "reram_cmo had one device a weight; now it is a pair, one-sided" in devices_text(base, machine)
    own = Hardware.load("lionheart").with_fields({"devices": {"model": "state_independent", "read_noise_scale": 0.1}})
    machine, _ = with_measured_devices(own, table)
    assert isinstance(machine.devices, Measured)
    assert machine.devices.read_noise_scale == 1
    assert "read_noise_scale" in devices_text(own, machine).partition("replaced by the tables: ")[2]
    assert not devices_text(*[Hardware.load("ideal")] * 2)


def test_short_term_read_noise_goes_where_it_was_measured(tmp_path: Path) -> None:
    left_out = (LeftOut(name="kept", size="", text=""), LeftOut(name="read", size="", text="", read_noise=True))
    base = Hardware.load("reram-cmo").model_copy(update={"left_out": left_out})
    targets = np.repeat(TARGETS, 20)
    for repeats, gone in ((1, False), (2, True)):
        path = written(tmp_path / f"chip{repeats}.csv", targets, law(targets, RNG), repeats=repeats)
        machine, _ = with_measured_devices(base, path)
        assert machine.currents.any != gone
        assert [effect.name for effect in machine.left_out] == ["kept", *["read"] * (not gone)]
        assert Hardware.parse(machine.to_yaml(), "x") == machine


def test_a_description_is_written_once_with_its_comments(cli: Cli, tmp_path: Path) -> None:
    out, mine = tmp_path / "out.yaml", tmp_path / "mine.yaml"
    assert cli("hardware", "lionheart", "-o", out).exit_code == 0
    assert out.read_text() == preset_text("lionheart")
    mine.write_text(out.read_text() + "# a word of mine\n")
    refused = cli("hardware", mine, "-o", out)
    assert refused.exit_code == 2
    assert "exists; --force replaces it" in refused.stderr
    assert cli("hardware", mine, "-o", out, "--force").exit_code == 0
    assert Hardware.load(out) == Hardware.load(mine), "a file is written with all its fields"
    targets = np.repeat(TARGETS, 20)
    table = written(tmp_path / "chip7.csv", targets, law(targets, RNG), repeats=2)
    done = cli("hardware", mine, "--measured", table, "-o", tmp_path / "measured.yaml")
    assert "comments of the YAML are not carried over" in done.stderr
    assert Hardware.load(tmp_path / "measured.yaml").name == "lionheart-chip7"
    assert "name the machine" in cli("hardware", "-o", tmp_path / "none.yaml").stderr


@pytest.mark.analog
def test_both_engines_and_reads_use_the_tables(tmp_path: Path) -> None:
    import torch

    from lhc.runtime.tiles.analog_matrix import AnalogMatrix
    from tests.runtime.products import ENGINES, product, programmed

    targets = np.repeat(TARGETS, 20)
    machine, _ = with_measured_devices(
        Hardware.load("lionheart"), written(tmp_path / "c.csv", targets, law(targets, RNG, start=0.0), repeats=2)
    )
    quiet = machine.model_copy(update={"adc": machine.adc.model_copy(update={"noise": 0.0, "bits": None})})
    weight = np.random.default_rng(0).normal(size=(20, 40)).astype(np.float32)
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(7, 40)).astype(np.float32))
    made = programmed(weight, quiet, 1000.0)
    fast, reference = (product(made, x, engine=engine).numpy() for engine in ENGINES)

    np.testing.assert_allclose(fast, reference, rtol=1e-3, atol=1e-3)
    assert 0.01 < np.linalg.norm(fast - x.numpy() @ weight.T) / np.linalg.norm(x.numpy() @ weight.T) < 0.3
    first = made.programmed().weights()
    later = AnalogMatrix(weight, 1, quiet, "abc").read(0, 0, 1000.0, 1).weights()
    assert 0 < np.abs(later - first).max() < 0.2


HEAD = "target_us,time_s,conductance_us,device\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("target_us,time_s,conductance_us\n1,1,1\n", "no column device"),
        ("target_lb,time_s,conductance_us,device\n", "'target_lb' has no unit that is known; .* of S, mS, uS, nS"),
        (
            "target_us,time_s,conductance,device\n",
            "'conductance' has no unit .* name it conductance_UNIT, of S",
        ),
        ("target_us,time_s,conductance_us,device_no\n", "'device_no' has no unit; name it device$"),
        ("target_us,time,conductance_us,device\n", "'time' has no unit .* name it time_UNIT, of ms, s, min, h, d"),
        ("target_us,time_s,conductance_us,device\n1,x,1,a\n", "line 2: numbers are wanted"),
        ("target_us,time_s,conductance_us,device\n-1,1,1,a\n", "targets are 0 or more"),
        ("target_us,time_s,conductance_us,device\n", "no measurements"),
        ("target_us,time_s,conductance_us,device\n1,0,1,a\n", "must be above 0"),
        ("target_us,time_s,conductance_us,device\n1,1,1,a\n1,2,1,b\n1,1,1,b\n", "has no value at 2.0 s"),
        ("target_us,time_s,conductance_us,device\n0,1,1,a\n", "fewer than 10 devices have target 0"),
        ("target_us,time_s,conductance_us,device\n" + "".join(f"1,1,1,{n}\n" for n in range(10)), "no device has"),
        (HEAD + "".join(f"0,1,1,{n}\n" for n in range(10)), "no device has a target above 0"),
        (
            HEAD + "".join(f"{t},{s},1,{t}{n}\n" for t in (0, 1) for n in range(10) for s in range(1, 1026)),
            "1,025 different times; keep at most 1,024",
        ),
        (HEAD + "0,1,1e16,a\n", r"line 2: .* finite and at most 1e\+15 µS or s"),
        (HEAD + "0,1e-20,1,a\n", "must be above 0 .*, got 1e-20 s"),
        (
            HEAD + "".join(f"{t},{s},{t},{t}{n}\n" for t in (0, 1) for n in range(10) for s in (1, 9e6, 9000001)),
            "times 9000000 and 9000001 s are the same in a table, .*; write them alike, or keep one of them",
        ),
        (
            HEAD + "".join(f"{t},1,{t},{t}{n}\n" for t in (0, 10, 10.000001) for n in range(10)),
            "targets 10 and 10.000001 µS are the same in a table",
        ),
        ("", "no column target.*; other units: target_nS, time_h$"),
    ],
)
def test_tables_that_say_too_little_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        fit_devices(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets_us": (1.0, 10.0)}, "targets_us must ascend from 0"),
        ({"g_max_us": 11.0}, "must reach from 0 to g_max_us"),
        ({"mean_us": ((0.0,),)}, "mean_us must have 1 x 2 numbers"),
        ({"correlation": (((0.5,),),) * 2}, "1 on its diagonals"),
        ({"read_us": (1.0,)}, "read_us must have 2 numbers"),
    ],
)
def test_tables_of_a_description_must_fit(change: dict[str, object], message: str) -> None:
    table = {
        "model": "measured",
        "g_max_us": 10.0,
        "targets_us": (0.0, 10.0),
        "t_0_s": 1.0,
        "times_s": (0.0,),
        "mean_us": ((0.0, 10.0),),
        "std_us": ((1.0, 1.0),),
        "correlation": (((1.0,),),) * 2,
        "read_us": (0.0, 0.0),
    }
    base = Hardware.load("lionheart").model_dump(mode="json") | {"t_inference_s": 0.0}
    Hardware.parse(json.dumps(base | {"devices": table}), "x")
    with pytest.raises(ConfigError, match=message):
        Hardware.parse(json.dumps(base | {"devices": table | change}), "x")


def test_devices_that_end_at_zero_keep_their_mean_and_spread(tmp_path: Path) -> None:
    """Zero halves of pairs: their mean and deviation come after the cut, or they would be cut off twice."""
    targets = np.repeat([0.0, 0.3, 20.0], 20_000)
    rng = np.random.default_rng(7)
    programmed = np.maximum(targets + 0.2 * rng.standard_normal(len(targets)), 0)
    values = programmed * (TIMES[:, None] / TIMES[0]) ** -0.05
    found = fit_devices(written(tmp_path / "chip.csv", targets, values))

    for time, theirs in zip(TIMES, values, strict=True):
        ours = emulated(found.devices, targets, time - TIMES[0])
        for target in (0.0, 0.3):
            own = targets == target
            assert ours[own].mean() == pytest.approx(theirs[own].mean(), rel=0.03)
            assert ours[own].std() == pytest.approx(theirs[own].std(), rel=0.03)
    assert found.unlike == 0
    assert found.cut == 6
    assert "6 are cut off at 0" in str(found)


@pytest.mark.parametrize("a", [-2.0, -0.5, 0.0, 1.0, 3.0])
def test_a_normal_is_found_from_what_a_cut_leaves(a: float) -> None:
    cut = np.maximum(2 * (a + np.random.default_rng(3).standard_normal(1_000_000)), 0)
    assert before_cut(float(cut.mean()), float(cut.std())) == pytest.approx((2 * a, 2), abs=0.05)
