"""Large matrices: mapped as aihwkit maps them, and devices with the distribution of aihwkit's own."""

from dataclasses import dataclass

import numpy as np
import pytest

from lhc.conductances import ProgrammedMatrix
from lhc.hardware import Hardware

pytestmark = pytest.mark.analog
pytest.importorskip("aihwkit", reason="distributions are compared with aihwkit's")

from lhc.runtime.large_matrix import LEAST_WEIGHTS, LargeMatrix, takes  # noqa: E402  # needs aihwkit
from lhc.runtime.matrix import AnalogMatrix  # noqa: E402

LIONHEART = Hardware.load("lionheart")
YEAR = 3e7


def _weights(rows: int = 300, cols: int = 290) -> np.ndarray:
    weights = np.random.default_rng(0).normal(size=(rows, cols)).astype(np.float32)
    weights[7] = 0
    weights[:, 11] = 0
    return weights


def _made(
    kind: type, hardware: Hardware, t_s: float, draw: int = 0, copies: int = 1, read: int = 0
) -> ProgrammedMatrix:
    matrix = kind(_weights(), 1, hardware, "ab", None, copies)
    matrix.program(0, draw)
    matrix.drift_to(t_s, read)
    found = matrix.programmed()
    assert isinstance(found, ProgrammedMatrix)
    return found


@pytest.mark.parametrize("copies", [1, 3], ids=["once", "copies"])
@pytest.mark.parametrize("columnwise", [True, False], ids=["by column", "by tile"])
def test_perfect_devices_hold_what_aihwkit_maps(copies: int, columnwise: bool) -> None:
    mapping = LIONHEART.mapping.model_copy(update={"columnwise": columnwise, "omega": 0.8})
    hardware = LIONHEART.geometry.model_copy(update={"mapping": mapping})

    ours, theirs = (_made(kind, hardware, 0.0, copies=copies) for kind in (LargeMatrix, AnalogMatrix))

    assert ours.starts == theirs.starts
    for row, other in zip(ours.tiles, theirs.tiles, strict=True):
        for tile, expected in zip(row, other, strict=True):
            np.testing.assert_allclose(tile.weights, expected.weights, rtol=1e-6)
            np.testing.assert_allclose(tile.scales, expected.scales, rtol=1e-6)
            np.testing.assert_array_equal(tile.gain, expected.gain)
    np.testing.assert_allclose(ours.weights(), _weights(), rtol=1e-5, atol=1e-6)


def _without(**scales: float) -> Hardware:
    assert LIONHEART.devices is not None
    off = {"programming_noise_scale": 0.0, "drift_scale": 0.0, "read_noise_scale": 0.0} | scales
    return LIONHEART.model_copy(update={"devices": LIONHEART.devices.model_copy(update=off)})


@dataclass(frozen=True)
class Seen:
    """Moments of what tiles hold, by conductance: zero weights, then twelve classes of magnitude."""

    means: np.ndarray
    deviations: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, kind: type, hardware: Hardware, t_s: float, draws: int) -> "Seen":
        assert hardware.devices is not None
        target = _made(AnalogMatrix, LIONHEART.geometry, 0.0)
        held = [_made(kind, hardware, t_s, draw) for draw in range(draws)]
        targets, values = (
            np.concatenate([tile.weights.ravel() for chip in chips for row in chip.tiles for tile in row])
            for chips in ([target] * draws, held)
        )
        magnitudes = np.abs(targets)
        places = np.digitize(magnitudes, [1e-9, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 0.999])
        # Where a weight lies in its class must not pass for deviation.
        errors = values * np.where(targets < 0, -1, 1) - magnitudes
        groups = [errors[places == place] for place in range(places.max() + 1)]
        return cls(
            np.array([group.mean() for group in groups]),
            np.array([group.std() for group in groups]),
            np.array([len(group) for group in groups]),
        )


CASES = {
    "programming": (_without(programming_noise_scale=1.0), 0.0),
    "drift after a day": (_without(drift_scale=1.0), 86400.0),
    "drift after a year": (_without(drift_scale=1.0), YEAR),
    "read noise": (_without(read_noise_scale=1.0), 86400.0),
    "all of it": (LIONHEART, 86400.0),
}


def _differences(ours: Seen, theirs: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Of means, in standard errors, and of deviations, as a share."""
    spread = np.maximum(theirs.deviations, 1e-9)
    error = spread * np.sqrt(1 / ours.counts + 1 / theirs.counts)
    return (ours.means - theirs.means) / (error + 1e-4 * np.abs(theirs.means)), ours.deviations / spread - 1


@pytest.mark.parametrize("case", CASES, ids=str)
def test_devices_have_the_moments_of_aihwkits(case: str) -> None:
    hardware, t_s = CASES[case]

    ours, theirs = (Seen.of(kind, hardware, t_s, draws=6) for kind in (LargeMatrix, AnalogMatrix))

    means, shares = _differences(ours, theirs)
    noisy = theirs.deviations > 1e-6
    assert np.abs(means).max() < 4.5
    # Of a class with n weights a deviation is known to 1 / sqrt(2 n).
    known = np.sqrt(1 / (2 * ours.counts) + 1 / (2 * theirs.counts))
    assert (np.abs(shares[noisy]) < 0.004 + 4.5 * known[noisy]).all()


@pytest.mark.parametrize("name", ["programming_noise_scale", "drift_scale", "read_noise_scale"])
def test_an_error_of_three_percent_would_be_seen(name: str) -> None:
    case = {"programming_noise_scale": 0.0, "drift_scale": YEAR, "read_noise_scale": 86400.0}
    t_s = case[name]

    right = Seen.of(AnalogMatrix, _without(**{name: 1.0}), t_s, draws=6)
    wrong = Seen.of(LargeMatrix, _without(**{name: 1.03}), t_s, draws=6)

    means, shares = _differences(wrong, right)
    known = np.sqrt(1 / wrong.counts)
    noisy = right.deviations > 1e-6
    assert np.abs(means).max() > 4.5 or (np.abs(shares[noisy]) > 0.004 + 4.5 * known[noisy]).any()


@pytest.mark.parametrize("kind", ["global", "per-column", "global-exact"])
def test_gains_of_drift_compensation_are_those_of_aihwkit(kind: str) -> None:
    compensation = LIONHEART.compensation.model_copy(update={"drift": kind})
    hardware = LIONHEART.model_copy(update={"compensation": compensation})

    ours, theirs = (
        [np.concatenate([t.gain for row in _made(made, hardware, 86400.0, d).tiles for t in row]) for d in range(4)]
        for made in (LargeMatrix, AnalogMatrix)
    )

    spread = np.std(theirs)
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=4 * spread / np.sqrt(16) + 1e-3)
    assert np.std(ours) == pytest.approx(spread, rel=0.5)


def test_reads_share_devices_and_chips_do_not() -> None:
    first, again, read, other = (
        _made(LargeMatrix, LIONHEART, 86400.0, draw, read=read).weights()
        for draw, read in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    weights = _weights()

    np.testing.assert_array_equal(first, again)
    errors = [(found - weights)[weights != 0] for found in (first, read, other)]
    assert np.corrcoef(errors[0], errors[1])[0, 1] > 0.5
    assert abs(np.corrcoef(errors[0], errors[2])[0, 1]) < 0.2


def test_what_is_programmed_so() -> None:
    assert takes(LEAST_WEIGHTS, LIONHEART)
    assert takes(LEAST_WEIGHTS, LIONHEART.geometry)
    assert not takes(LEAST_WEIGHTS - 1, LIONHEART)
    assert not takes(LEAST_WEIGHTS, Hardware.load("hermes"))
    narrow = LIONHEART.adc.model_copy(update={"bound": 1.0})
    assert not takes(LEAST_WEIGHTS, LIONHEART.model_copy(update={"adc": narrow}))
