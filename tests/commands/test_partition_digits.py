"""The embedded default: a real trade-off, at its own budget."""

import numpy as np
import onnx
import pytest

import lhc
from lhc.errors import ModelError
from lhc.hardware import Hardware
from lhc.models import zoo_entry
from tests.networks import parsed

pytestmark = pytest.mark.analog


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("network", ["digits", "digits-narrow"])
def test_without_healing_the_budget_needs_a_mixed_placement(network: str, seed: int) -> None:
    bare = Hardware.load("lionheart").with_drift_compensation_alone()
    everything = lhc.partition(network, hardware=bare, strategy="all-analog", explain=False, seed=seed)
    chosen = lhc.partition(network, hardware=bare, seed=seed, objective=None if network == "digits" else "macs")
    assert everything.plan.outcome is not None
    assert chosen.plan.outcome is not None
    assert not everything.plan.outcome.within_budget
    assert everything.plan.outcome.drop > everything.plan.outcome.max_drop
    assert chosen.plan.outcome.within_budget
    assert chosen.plan.outcome.held_out
    assert 0 < len(chosen.plan.analog) < len(chosen.plan.layers)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_healed_everything_is_within_the_budget_and_a_mixed_placement_takes_less_energy(seed: int) -> None:
    everything = lhc.partition("digits", strategy="all-analog", explain=False, seed=seed)
    chosen = lhc.partition("digits", seed=seed)
    for placed in (everything, chosen):
        assert placed.plan.outcome is not None
        assert placed.plan.outcome.within_budget
    assert 0 < len(chosen.plan.analog) < len(chosen.plan.layers)
    digital, mixed, analog = chosen.digital_cost, chosen.cost, everything.cost
    assert digital is not None
    assert mixed is not None
    assert analog is not None
    assert mixed.energy_j < analog.energy_j
    assert mixed.latency_s < analog.latency_s
    assert 3 * mixed.energy_j <= digital.energy_j
    assert 3 * mixed.latency_s <= digital.latency_s


def test_the_wide_products_pay_on_tiles_three_times_over_with_every_narrow_one_digital() -> None:
    """So the gain does not hang on the layers that noise may cost; nor on weights that wait in a slower memory."""
    analysis = lhc.analyze("digits")
    wide = frozenset(layer.name for layer in analysis.plan.layers if layer.name.endswith("expand"))
    digital, mixed = analysis.cost(frozenset()), analysis.cost(wide)
    assert digital is not None
    assert mixed is not None
    assert 3 * mixed.energy_j <= digital.energy_j
    assert 3 * mixed.latency_s <= digital.latency_s
    assert all(set(layer.parts) == {"product"} for layer in digital.layers.values()), "weights fit in the cache"


def test_a_partition_runs_as_a_session_with_its_plan() -> None:
    session = lhc.partition("digits-narrow", samples=100, draws=2, max_drop="100%", objective="macs").session()
    assert session.plan is not None
    assert session.analog == session.plan.analog != frozenset()
    images = np.zeros((3, 1, 8, 8), np.float32)
    assert session.run(None, {"x": images})[0].shape == (3, 10)


def test_evaluate_over_time() -> None:
    machine = Hardware.load("lionheart").with_drift_compensation_alone()  # healed, a year does none that shows
    at_once, later = lhc.evaluate(
        "digits-narrow", all_analog=True, hardware=machine, times=[0, 3e7], samples=200, draws=3
    )
    assert (at_once.t_s, later.t_s) == (0, 3e7)
    assert at_once.baseline == later.baseline > 0.95
    assert later.drop > at_once.drop, "a year of drift does harm"


def test_same_devices_for_every_placement_and_time() -> None:
    """Common random numbers: a placement's values do not depend on what else was measured."""
    layer = ["layer1.0.conv2"]
    alone = lhc.evaluate("digits-narrow", placement=layer, samples=150, draws=2, times=[86400])[0]
    among = lhc.evaluate("digits-narrow", placement=layer, samples=150, draws=3, times=[0, 86400])[1]
    assert alone.values == among.values[:2]


HIDDEN_ROWS = """<ir_version: 8, opset_import: ["" : 17]>
g (float[B, T] tokens, float[B, T] mask) => (float[?, 3] y) {
  both = Add (tokens, mask)
  one = Constant <value = float {1}> ()
  kept = Add (both, one)
  where = NonZero (kept)
  rows = Transpose (where)
  values = Cast <to = 1> (rows)
  [product] y = MatMul (values, w)
}"""


@pytest.fixture
def hidden_rows() -> onnx.ModelProto:
    """A NonZero hides the number of rows."""
    return parsed(HIDDEN_ROWS, {"w": np.ones((2, 3), np.float32)})


def test_shapes_that_inference_cannot_find_are_observed_with_the_symbols_that_are_bound(
    hidden_rows: onnx.ModelProto,
) -> None:
    """The mask's length is the tokens' length, given once."""
    analysis = lhc.analyze(hidden_rows, shapes={"tokens": (1, 7)})
    assert analysis.plan.layers[0].macs == 7 * 2 * 3


def test_shapes_cannot_be_observed_where_an_input_has_no_type(hidden_rows: onnx.ModelProto) -> None:
    hidden_rows.graph.input[0].type.tensor_type.elem_type = 0
    with pytest.raises(ModelError, match="its input 'tokens' is no tensor of a known type"):
        lhc.analyze(hidden_rows, shapes={"tokens": (1, 7)})


def test_the_samples_of_a_zoo_entry_have_its_name() -> None:
    model = zoo_entry("digits-narrow").model()

    (named,) = lhc.evaluate(model, "digits-narrow", samples=40, draws=1)

    (own,) = lhc.evaluate("digits-narrow", samples=40, draws=1)
    assert (named.metric, named.baseline) == (own.metric, own.baseline)
