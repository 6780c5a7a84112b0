"""Fronts in the folder of results."""

from pathlib import Path

import pytest

from lhc.errors import UsageError
from lhc.report.kept_fronts import StoredFront, read_fronts, store_front
from lhc.results import Front
from lhc.store import ResultCache

NETWORK, OTHER = 64 * "1", 64 * "2"


def front_of(source: str, metric: str = "kl") -> StoredFront:
    return StoredFront(source, "lionheart", ("--draws", "5"), Front("macs", {}, metric, (), True, None, True))


def test_fronts_of_a_network_come_the_newest_first(tmp_path: Path) -> None:
    store_front(tmp_path, "one", front_of(NETWORK))
    store_front(tmp_path, "two", front_of(NETWORK))
    store_front(tmp_path, "one", front_of(OTHER))
    store_front(tmp_path, "one", front_of(NETWORK, "nmse"))
    assert read_fronts(tmp_path, NETWORK) == [front_of(NETWORK, "nmse"), front_of(NETWORK)]
    assert read_fronts(tmp_path, OTHER) == [front_of(OTHER)]


def test_what_another_version_wrote_is_passed_over(tmp_path: Path) -> None:
    with ResultCache(tmp_path) as cache:
        cache.update("front", f"{NETWORK} one", lambda _: b'{"schema": 99}')
    with pytest.raises(UsageError, match="holds no front of this network"):
        read_fronts(tmp_path, NETWORK)
    store_front(tmp_path, "two", front_of(NETWORK))
    assert read_fronts(tmp_path, NETWORK) == [front_of(NETWORK)]
