"""Robustness over time, chips and noise, on digits."""

from dataclasses import replace

import pytest

import lhc
from lhc.errors import UsageError
from lhc.options.by_command import RetrainOptions, RobustnessOptions
from lhc.pipeline.inputs.model_source import loaded_model
from lhc.pipeline.inputs.objective import budget_as_placed
from lhc.plan import Retrained

pytestmark = pytest.mark.analog

FEW = ("layer2.*",)


def test_robustness_over_time_chips_and_noise() -> None:
    layers = ["layer2.0.conv1", "layer1.0.conv2"]
    found = lhc.robustness(
        "digits-narrow", placement=layers, samples=60, draws=2, chips=4, times=[86400, 0], max_drop=0.5, seed=1
    )
    assert [at.evaluation.t_s for at in found.times] == [0, 86400]
    gains = [at.gain for at in found.times]
    assert gains[0] == pytest.approx(1, abs=0.05)
    assert gains[1] is not None
    assert gains[1] > 1.3, "conductances have drifted to less than three quarters"
    assert found.times[1].gain_range is not None
    assert found.times[1].gain_range[0] <= gains[1] <= found.times[1].gain_range[1]
    assert found.chips.draws == 4
    # The same chips whatever is asked of them: the first two are those of the times.
    assert found.chips.values[:2] == found.times[1].evaluation.values
    assert all(scale.within == (scale.scale <= found.margin) for scale in found.scales)
    assert found.margin >= 1
    if found.fails_at is not None:
        assert found.margin < found.fails_at <= found.margin * 1.1 + 1e-9


@pytest.mark.parametrize("generalize", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_at_the_machines_own_noise_a_margin_is_the_verification(generalize: bool) -> None:
    """Same samples, chips and level: not a second opinion beside the first one."""
    placed = lhc.partition(
        "digits-narrow",
        samples=420,
        draws=3,
        strategy="all-analog",
        max_drop=0.06,
        include=FEW,
        seed=2,
        generalize=generalize,
    )
    outcome = placed.plan.outcome
    assert outcome is not None
    assert outcome.held_out

    found = lhc.robustness("digits-narrow", placement=placed.plan, chips=4, times=[outcome.t_s], samples=420)

    (here,) = (one for one in found.scales if one.scale == 1)
    assert here.within == outcome.within_budget == (found.margin >= 1)
    assert found.interval(here.evaluation) == outcome.interval
    assert here.evaluation.confidence == outcome.confidence
    assert found.times[0].evaluation.values == here.evaluation.values == found.chips.values[:3]
    assert found.differs == ()
    every = [found.chips, *(at.evaluation for at in found.times), *(at.evaluation for at in found.scales)]
    assert {one.calibrated for one in every} == {found.chips.calibrated}
    assert found.chips.calibrated > 0
    assert all(one.calibrated_at_s == one.t_s for one in every)


@pytest.mark.slow
def test_what_differs_from_the_verification_is_said() -> None:
    placed = lhc.partition(
        "digits-narrow", samples=80, draws=3, strategy="all-analog", max_drop=0.9, include=FEW, seed=2, explain=False
    )
    outcome = placed.plan.outcome
    assert outcome is not None

    def differs(samples: int = 80, **asked: object) -> tuple[str, ...]:
        options = {"placement": placed.plan, "chips": 2, "times": [0.0], "samples": samples, **asked}
        return lhc.robustness("digits-narrow", **options).differs  # type: ignore[arg-type]

    assert differs() == ()
    assert differs(60, draws=2, confidence=0.8) == (
        f"other samples (45 instead of {outcome.samples})",
        f"other chips (2 of seed 2 instead of {outcome.draws} of seed 2)",
        f"a level of 80 % instead of {100 * outcome.confidence:.3g} %",
    )
    assert differs(seed=3) == (f"other chips (3 of seed 3 instead of {outcome.draws} of seed 2)",)
    assert differs(engine="aihwkit") == ("the engine aihwkit instead of fast",)


@pytest.mark.slow
def test_a_margin_of_trained_weights_says_that_the_budget_is_of_the_given_ones() -> None:
    placed = lhc.partition("digits-narrow", samples=60, draws=2, strategy="all-analog", max_drop=0.9, include=FEW)
    outcome = placed.plan.outcome
    assert outcome is not None
    record = Retrained(source="", layers=(), steps=1, batch_size=1, loss="mse", seed=0, samples=1, data="")
    plan = placed.plan.model_copy(update={"outcome": outcome.model_copy(update={"retrained": record})})

    found = lhc.robustness("digits-narrow", placement=plan, chips=2, times=[0.0], samples=60)
    assert found.differs == ("drops against the trained weights instead of the network as it was given",)


def test_a_share_of_all_chips_is_shown_by_those_that_are_measured() -> None:
    asked = RobustnessOptions(
        "digits-narrow",
        placement=["layer2.0.conv1"],
        metric="kl",
        samples=12,
        draws=2,
        chips=5,
        times=[0.0],
        max_drop=100,
        yield_share="50%",
    )
    shown = lhc.robustness.of(asked)
    assert (shown.yield_share, shown.yield_shown, shown.chips_within) == (0.5, True, 1.0)
    broken = lhc.robustness.of(replace(asked, max_drop=0.0))
    assert (broken.chips_within, broken.yield_shown) == (0.0, False)
    with pytest.raises(UsageError, match=r"--chips 4: --yield 0\.5 takes 5 chips"):
        lhc.robustness.of(replace(asked, chips=4))


def test_without_an_analog_layer_it_is_said_that_nothing_can_change(caplog: pytest.LogCaptureFixture) -> None:
    placed = lhc.partition("digits-narrow", samples=60, draws=2, strategy="all-digital")
    found = lhc.robustness("digits-narrow", placement=placed.plan, chips=2, times=[0.0], samples=60, draws=2)
    assert found.chips.drop == 0
    told = "no layer is analog, so neither time nor noise changes anything"
    assert f"digits-narrow: {told}" in caplog.messages
    lhc.evaluate("digits-narrow", samples=20, draws=2)
    assert f"digits-narrow: {told}: it carries no placement ('lhc partition' makes one" in caplog.text


@pytest.mark.slow
def test_a_budget_that_is_given_is_absolute_whatever_the_annotated_one_is() -> None:
    placed = lhc.partition(
        "digits-narrow", samples=60, draws=2, strategy="all-analog", max_drop=0.1, drop_type="relative", include=FEW
    )
    asked = RobustnessOptions("digits-narrow", placement=placed.plan, chips=2, times=[0.0], samples=60, draws=2)
    as_annotated = lhc.robustness.of(asked)
    assert (as_annotated.max_drop, as_annotated.drop_type) == (0.1, "relative")
    for metric in (None, "kl"):
        given = lhc.robustness.of(replace(asked, max_drop=0.02, metric=metric))
        assert (given.max_drop, given.drop_type) == (0.02, "absolute"), metric
    relative = lhc.robustness.of(replace(asked, max_drop=0.02, drop_type="relative"))
    assert (relative.max_drop, relative.drop_type) == (0.02, "relative")
    # Likewise where a placement is trained.
    outcome = placed.plan.outcome
    training = RetrainOptions("digits-narrow", max_drop=0.02)
    assert budget_as_placed(training, 0.9, loaded_model(asked), outcome).drop_type == "absolute"
    assert budget_as_placed(replace(training, max_drop=None), 0.9, loaded_model(asked), outcome).drop_type == "relative"
