"""Numbers at the edge of their range: messages, or results without NaN.

``python -m tests.fuzz.numbers`` goes through all of them.
"""

import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz.fuzz import prepared
from tests.fuzz.numbers import broken, hardware_jobs, option_jobs
from tests.fuzz.seeds import Seed, small_seeds

pytestmark = [
    pytest.mark.slow,
    pytest.mark.analog,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the fork server needs Linux"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Seed:
    """A small network; what commands need is loaded."""
    folder = tmp_path_factory.mktemp("network")
    seed = small_seeds(folder)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepared([seed], [], folder)
    return seed


def test_numbers_of_hardware(network: Seed, tmp_path: Path) -> None:
    assert list(broken(islice(hardware_jobs(network, tmp_path), 0, None, 7))) == []


def test_numbers_of_options(network: Seed, tmp_path: Path) -> None:
    assert list(broken(islice(option_jobs(network, tmp_path), 0, None, 7))) == []
