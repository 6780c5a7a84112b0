"""Fingerprints: equal for equal facts, stable for ever, different for all else."""

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhc.store import Entry, Facts, Group, JsonValue, canonical, fingerprint, group
from lhc.store.facts import matches, parse_facts

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
FACTS = st.dictionaries(st.text(), VALUES, max_size=5)


def test_golden_fingerprints() -> None:
    # A change here makes all results that were ever kept unknown.
    facts: Facts = {"t_s": 86400.0, "placement": ["conv1", "fc"], "hardware": {"rows": 512, "µ": 0.1, "drift": None}}
    text = r'{"hardware":{"drift":null,"rows":512,"\u00b5":0.1},"placement":["conv1","fc"],"t_s":86400}'
    run = "76a8cd2ca6a4e96a23a0d40aca42ac1d7a2c1ad9b2aee0cd0fba1e6a4ec1a2df"
    assert canonical(facts) == text
    assert fingerprint(facts) == sha256(text.encode()).hexdigest()
    assert fingerprint({"draw": 3}, within=run) == sha256(f'{run}\n{{"draw":3}}'.encode()).hexdigest()


@given(FACTS, st.randoms())
def test_order_does_not_count(facts: dict[str, JsonValue], random: "st.random.Random") -> None:  # type: ignore[name-defined]
    names = list(facts)
    random.shuffle(names)
    assert fingerprint({name: facts[name] for name in names}) == fingerprint(facts)


@given(FACTS)
def test_facts_survive_json(facts: dict[str, JsonValue]) -> None:
    assert parse_facts(canonical(facts).encode()) == facts


@given(FACTS, FACTS)
def test_different_facts_have_different_fingerprints(one: dict[str, JsonValue], other: dict[str, JsonValue]) -> None:
    # repr tells 1 from true, where == does not; both sides have been through JSON, so that 1 and 1.0 are one.
    alike = repr(sorted(parse_facts(canonical(one).encode()).items())) == repr(
        sorted(parse_facts(canonical(other).encode()).items())
    )
    assert not alike or fingerprint(one) == fingerprint(other)
    assert one == other or fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"t_s": 3600}, {"t_s": 3600.0}, True),
        ({"t_s": 0.0}, {"t_s": -0.0}, True),
        ({"t_s": 1e300}, {"t_s": 10**300}, False),
        ({"shape": (1, 2)}, {"shape": [1, 2]}, True),
        ({"on": 1}, {"on": True}, False),
        ({"on": None}, {}, False),
        ({"on": "1"}, {"on": 1}, False),
        ({"seed": 2**53}, {"seed": 2**53 + 1}, False),
        ({"a": {"b": 1}}, {"a.b": 1}, False),
    ],
)
def test_what_is_equal(one: Facts, other: Facts, equal: bool) -> None:
    assert (fingerprint(one) == fingerprint(other)) is equal
    assert matches(one, other) is (equal or other == {})


def test_the_context_counts() -> None:
    runs = [fingerprint({"seed": seed}) for seed in (0, 1)]
    assert len({fingerprint({"draw": 0}, run) for run in runs} | {fingerprint({"draw": 0})}) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1, {"x": -float("inf")}]])
def test_numbers_that_json_lacks_are_refused(value: JsonValue) -> None:
    with pytest.raises(ValueError, match="JSON"):
        fingerprint({"value": value})


@pytest.mark.parametrize("value", [np.int64(1), np.zeros(2), b"x", {1, 2}, {1: "x"}, object()])
def test_what_json_cannot_say_is_refused(value: JsonValue) -> None:
    with pytest.raises(TypeError):
        fingerprint({"value": value})


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"1", b'{"a":NaN}', b'{"a":1e999}', b"\xff", b'{"a":' * 10**5, b"[" * 10**5]
)
def test_facts_from_outside_are_checked(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_facts(text)


def test_groups_count_results_and_bytes() -> None:
    def entry(bytes_: int, **facts: JsonValue) -> Entry:
        return Entry("00" * 32, facts, "<f8", (2,), bytes_)

    entries = [
        entry(10, model="a", draw=0),
        entry(20, model="b", draw=0),
        entry(30, model="a", draw=1),
        entry(5, draw=1),
    ]
    assert group(entries, ["model"]) == [
        Group({"model": "a"}, 2, 40),
        Group({"model": "b"}, 1, 20),
        Group({}, 1, 5),
    ]
    assert group(entries, []) == [Group({}, 4, 65)]
    assert group([], ["model"]) == []
