"""Fingerprints: equal for equal facts, stable for ever, different for all else."""

import json
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhc.store import Facts, JsonValue, fingerprint
from lhc.store.result_cache import chain

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
FACTS = st.dictionaries(st.text(), VALUES, max_size=5)


def through_json(facts: Facts) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = json.loads(chain(facts)[0][2])
    return found


def test_golden_fingerprints() -> None:
    # A change here makes all results that were ever kept unknown.
    facts: Facts = {"t_s": 86400.0, "placement": ["conv1", "fc"], "hardware": {"rows": 512, "µ": 0.1, "drift": None}}
    text = r'{"hardware":{"drift":null,"rows":512,"\u00b5":0.1},"placement":["conv1","fc"],"t_s":86400}'
    run, unit = chain(facts, {"draw": 3})
    assert run == (sha256(f"\n{text}".encode()).hexdigest(), "", text)
    assert unit == (sha256(f'{run[0]}\n{{"draw":3}}'.encode()).hexdigest(), run[0], '{"draw":3}')
    assert fingerprint(facts, {"draw": 3}) == unit[0]


@given(FACTS, st.randoms())
def test_order_does_not_count(facts: dict[str, JsonValue], random: "st.random.Random") -> None:  # type: ignore[name-defined]
    names = list(facts)
    random.shuffle(names)
    assert fingerprint({name: facts[name] for name in names}) == fingerprint(facts)


@given(FACTS)
def test_facts_survive_json(facts: dict[str, JsonValue]) -> None:
    assert through_json(facts) == facts


@given(FACTS, FACTS)
def test_different_facts_have_different_fingerprints(one: dict[str, JsonValue], other: dict[str, JsonValue]) -> None:
    # repr tells 1 from true, where == does not; both sides have been through JSON, so that 1 and 1.0 are one.
    alike = repr(sorted(through_json(one).items())) == repr(sorted(through_json(other).items()))
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


def test_what_facts_lie_within_counts() -> None:
    runs: list[Facts] = [{"seed": seed} for seed in (0, 1)]
    assert len({fingerprint(run, {"draw": 0}) for run in runs} | {fingerprint({"draw": 0})}) == 3
    assert fingerprint({"a": 1}, {"b": 2}) != fingerprint({"b": 2}, {"a": 1}) != fingerprint({"a": 1, "b": 2})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1, {"x": -float("inf")}]])
def test_numbers_that_json_lacks_are_refused(value: JsonValue) -> None:
    with pytest.raises(ValueError, match="JSON"):
        fingerprint({"value": value})


@pytest.mark.parametrize("value", [np.int64(1), np.zeros(2), b"x", {1, 2}, {1: "x"}, object()])
def test_what_json_cannot_say_is_refused(value: JsonValue) -> None:
    with pytest.raises(TypeError):
        fingerprint({"value": value})
