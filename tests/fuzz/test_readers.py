"""Readers take their seeds, and refuse by name what is made of them."""

import random
from pathlib import Path

import pytest

from tests.fuzz.readers import READERS, read, seed

MUTANTS = 40


@pytest.mark.parametrize("name", READERS)
def test_readers_take_or_refuse(name: str, tmp_path: Path) -> None:
    whole = seed(name, tmp_path)
    assert read(name, whole, tmp_path)
    assert not read(name, b"", tmp_path)
    rng, taken = random.Random(7), 0
    for _ in range(MUTANTS):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 4, 16))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        taken += read(name, bytes(data[: rng.choice((len(data), rng.randrange(len(data))))]), tmp_path)
    assert taken < MUTANTS, "some are refused"
