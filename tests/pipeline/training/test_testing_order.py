"""Two placements share one chance of error: with trained weights nothing is lost against the command without them."""

from dataclasses import dataclass

import numpy as np
import pytest

from lhc.pipeline.training.testing_order import PlacementProspect, trained_first, worth_testing
from tests.pipeline.known_drops import BUDGET, Chips
from tests.pipeline.training.simulated_training import GIVEN, MEASURED, TRUTHS, Network, both, outcomes


@pytest.mark.parametrize("truth", TRUTHS)
def test_with_training_a_command_ends_with_no_less_than_without(truth: str) -> None:
    """In 20 of 20 runs each; ``benchmarks/training_tests.py`` counts more of them, and where a layer is lost."""
    share, base = TRUTHS[truth]
    found = outcomes(GIVEN, share, base * BUDGET, 20)
    assert all(trained >= alone for alone, trained, _ in found)
    assert all(holds for *_, holds in found)
    more = np.mean([trained - alone for alone, trained, _ in found])
    assert (more > 3) == (truth == "helps"), "nearly all layers hold with trained weights"


@pytest.mark.parametrize("name", MEASURED)
def test_networks_whose_layers_were_measured_end_with_no_less(name: str) -> None:
    """In 20 of 20 simulated runs, and with more on the whole: their trainings pay."""
    measured = MEASURED[name]
    found = outcomes(measured.damages, measured.share, 0.0, 20)
    assert all(trained >= alone for alone, trained, _ in found)
    assert all(holds for *_, holds in found)
    assert sum(trained > alone for alone, trained, _ in found) >= 10


@dataclass(frozen=True, eq=False)
class Blind(Chips):
    """The search sees little damage; in the test every placement but all digital is at the budget."""

    def truth(self, placement: frozenset[str]) -> float:
        return BUDGET if self.split and placement else super().truth(placement)


@pytest.mark.parametrize(
    "share",
    [
        pytest.param(0.2, marks=pytest.mark.slow, id="trained first"),
        pytest.param(1.0, id="alike"),
        pytest.param(5.0, marks=pytest.mark.slow, id="given first"),
    ],
)
def test_two_placements_together_rarely_accept_one_over_the_budget(share: float) -> None:
    """Damages that the search sees of trained weights as a share of those without decide what is tested first."""
    runs, wrong = 300, 0
    for seed in range(runs):
        given = Network(GIVEN, 0.0, seed, Blind)
        trained = Network({name: share * one for name, one in GIVEN.items()}, 0.0, 100_000 + seed, Blind)
        layers, _ = both(given, trained)
        wrong += bool(layers)
    # 5 %, and three standard deviations of such a count.
    assert wrong / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_trained_weights_come_first_where_they_promise_more_than_can_be_hoped_without() -> None:
    given = PlacementProspect(likely=-6, hoped=-8)
    assert trained_first(given, PlacementProspect(likely=-9, hoped=-9))
    assert not trained_first(given, PlacementProspect(likely=-8, hoped=-12))
    assert worth_testing(given, None), "nothing was shown"
    assert worth_testing(given, -7), "trained weights held less than can be hoped without"
    assert worth_testing(given, -8), "of two alike the smaller drop is kept"
    assert not worth_testing(given, -9)
