"""``lhc cache``: tells what is kept, merges, and removes only when told so."""

import json
from pathlib import Path

import numpy as np
import pytest

import lhc
from lhc.store import Merged, ResultCache
from tests.conftest import Cli


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, with one result."""
    folder = tmp_path / "mine"
    monkeypatch.setenv("LHC_CACHE", str(folder))
    with ResultCache(folder) as cache:
        cache.put(np.ones(1), {"unit": 1})
    return folder


def test_info_and_merge(cli: Cli, kept: Path, tmp_path: Path) -> None:
    with ResultCache(tmp_path / "other") as cache:
        for number in range(3):
            cache.put(np.ones(1), {"unit": number})

    merged = json.loads(cli("cache", "merge", tmp_path / "other", "--json").stdout)
    found = json.loads(cli("cache", "info", "--json").stdout)

    assert merged["merged"] == [{"cache": str(tmp_path / "other"), "copied": 2, "known": 1, "damaged": 0}]
    assert (found["folder"], found["evaluations"]) == (str(kept), 3)
    assert f"into {kept}" in cli("cache", "merge", tmp_path / "other").stdout
    assert lhc.cache("merge", [tmp_path / "other"], work_dir=kept) == (Merged(tmp_path / "other", 0, 3, 0),)


def test_nothing_is_removed_without_a_yes(cli: Cli, kept: Path) -> None:
    (path,) = kept.glob("*.sqlite3")

    listed = cli("cache", "clear")
    assert path.name in listed.stdout
    assert "nothing was removed" in listed.stderr
    assert path.exists()

    assert "removed" in cli("cache", "clear", "--yes").stderr
    assert not path.exists()


def test_a_damaged_cache_is_removed_too(cli: Cli, kept: Path) -> None:
    (path,) = kept.glob("*.sqlite3")
    path.write_bytes(b"rubbish" * 1000)

    assert cli("cache", "info").exit_code == 3
    assert cli("cache", "clear", "--yes").exit_code == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["merge"], "name the caches to copy from"),
        (["clear", "somewhere"], "name it by --work-dir"),
        (["info", "--yes"], "--yes goes with lhc cache clear"),
        (["empty"], "choose info, merge, clear"),
    ],
    ids=["merge-of-nothing", "clear-of-several", "yes-to-what", "no-such-action"],
)
def test_what_makes_no_sense_is_refused(cli: Cli, arguments: list[str], told: str) -> None:
    done = cli("cache", *arguments)

    assert done.exit_code == 2
    assert told in done.stderr
