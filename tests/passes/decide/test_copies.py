"""Copies of weights: those that layers have anyway, and the best use of tiles that are left over."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Adc, Hardware, Tiles
from lhc.hardware.description.overrides import Override
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.passes import ChooseCopies, Copies, FollowPlan, Qualify, initial_plan
from lhc.passes.decide.copies import CopyLevel, TileSet, allocated
from lhc.plan import Plan
from lhc.plan.digital_arithmetic import DigitalArithmetic
from tests.passes.costly_networks import product

MACHINE = Hardware(name="small", tiles=Tiles(rows=64, cols=64), compensation=Compensation(copies=True))

NONE = Hardware(name="none", tiles=MACHINE.tiles, compensation=Compensation(copies=False))


def network(machine: Hardware = MACHINE, tile_sets: str = "abc") -> tuple[LayerGraph, Plan]:
    """Three products of 20, 64 and 100 rows."""
    rows = dict(zip(("few", "full", "split"), (20, 64, 100), strict=True))
    sets = dict(zip(rows, tile_sets, strict=True))
    layers = [product(name, "x", size, 10, 4, sets[name]) for name, size in rows.items()]
    graph = LayerGraph(layers, ["x"], ["split"])
    return graph, Qualify().run(graph, initial_plan(graph, machine, "", "0")).plan


def test_free_cells_are_filled_and_take_no_tile() -> None:
    graph, plan = network()
    chosen = ChooseCopies().run(graph, plan).plan
    assert chosen.copies == {"few": 3}  # 3 x 20 of 64 rows; 100 rows are two splits of 50
    assert [row.tiles for row in chosen.layers] == [row.tiles for row in plan.layers]
    assert plan.copies == {}
    assert ChooseCopies().run(graph, chosen).plan == chosen


def test_a_number_is_for_every_layer_and_takes_tiles() -> None:
    graph, plan = network()
    chosen = ChooseCopies(copies=3).run(graph, plan).plan
    assert chosen.copies == {"few": 3, "full": 3, "split": 3}
    # 60 rows on one tile, 192 on three, 150 on three in each of two splits.
    assert [row.tiles for row in chosen.layers] == [1, 3, 6]
    assert chosen.tiles_of(graph, frozenset({"full", "split"})) == 9


def test_off_and_one_are_no_copies() -> None:
    graph, plan = network()
    assert ChooseCopies(copies="off").run(graph, plan).plan == plan == ChooseCopies(copies=1).run(graph, plan).plan


def test_what_cannot_be_analog_has_no_copies() -> None:
    graph, plan = network()
    plan = plan.decide({"few": ("digital", "excluded", "left out")})
    assert ChooseCopies().run(graph, plan).plan.copies == {}


@pytest.mark.parametrize(
    ("machine", "obstacle", "told"),
    [
        pytest.param(NONE, "compensation.copies is false", False, id="not allowed"),
        pytest.param(MACHINE.model_copy(update={"devices": None}), "devices are perfect", False, id="perfect devices"),
        pytest.param(
            MACHINE.model_copy(update={"adc": Adc(bound_management="none")}),
            "could saturate the ADC",
            True,
            id="no re-reads",
        ),
        pytest.param(
            MACHINE.model_copy(update={"adc": Adc(range="layer")}), "adc.range is calibrated", True, id="ranges"
        ),
    ],
)
def test_hardware_without_copies_has_none_by_default_and_refuses_a_number(
    machine: Hardware, obstacle: str, told: bool
) -> None:
    graph, plan = network(machine)
    found = ChooseCopies().run(graph, plan)
    assert found.plan.copies == {}
    assert len(found.notes) == told, "a machine that could have copies otherwise is told"
    assert all(note.startswith("1 layer without copies of weights") and obstacle in note for note in found.notes)
    assert ChooseCopies(copies="off").run(graph, plan).notes == ()
    with pytest.raises(UsageError, match=obstacle):
        ChooseCopies(copies=2).run(graph, plan)


def test_layers_with_another_converter_may_have_none() -> None:
    override = Override.model_validate({"layers": "few", "adc": {"bound_management": "none"}})
    graph, plan = network(MACHINE.model_copy(update={"overrides": (override,)}))
    assert ChooseCopies().run(graph, plan).plan.copies == {}


def test_copies_of_forced_layers_must_have_tiles() -> None:
    graph, plan = network(MACHINE.model_copy(update={"tiles": Tiles(rows=64, cols=64, count=4)}))
    forced = plan.decide({"split": ("analog", "forced", "by the user")})
    with pytest.raises(UsageError, match="--copies 3: --force-analog then needs 6 tiles, the machine has 4"):
        ChooseCopies(copies=3).run(graph, forced)


@pytest.mark.parametrize("wrong", ["none", 0, -1, "2.5", 4097])
def test_other_values_are_refused(wrong: str | int) -> None:
    with pytest.raises(UsageError, match=r"--copies .*: write auto, off or a number from 1 to 4,096"):
        ChooseCopies(copies=wrong)


def test_a_plan_that_is_followed_brings_its_copies() -> None:
    graph, plan = network()
    other = plan.decide({"full": ("analog", "budget", "")}).with_copies(graph, {"full": 3})
    followed = FollowPlan(other).run(graph, plan).plan
    assert followed.copies == {"full": 3}
    assert followed.tiles(graph) == 3


def test_a_plan_that_is_followed_tells_what_it_brings_from_elsewhere() -> None:
    graph, plan = network()
    found = DigitalArithmetic(precision="int8", ranges={"x": (-1.0, 2.0)}, samples=64)
    other = plan.decide({"full": ("analog", "budget", "")}).with_arithmetic(found)

    assert FollowPlan(plan).run(graph, plan).notes == ()
    ranges = "int8 ranges of digital products come from --plan (64 samples)"
    assert FollowPlan(other).run(graph, plan).notes == (ranges,)
    elsewhere = other.model_copy(update={"source": "0" * 64})
    assert FollowPlan(elsewhere).run(graph, plan).notes == (
        "--plan was made for other weights or another graph; lhc compares only names of layers",
        ranges,
    )


def test_a_plan_that_is_followed_has_as_many_copies_on_shared_tiles_and_only_where_there_are_any() -> None:
    graph, plan = network(tile_sets="aba")
    other = plan.decide(dict.fromkeys(("few", "split"), ("analog", "budget", ""))).with_copies(graph, {"few": 2})
    with pytest.raises(UsageError, match="few, split share their tiles and must have the same number of copies"):
        FollowPlan(other).run(graph, plan)
    graph, plan = network(NONE)
    other = plan.decide({"full": ("analog", "budget", "")}).with_copies(graph, {"full": 2})
    with pytest.raises(UsageError, match=r"full has 2 copies, hardware 'none': compensation\.copies is false"):
        FollowPlan(other).run(graph, plan)


@st.composite
def tile_sets(draw: st.DrawFn) -> TileSet:
    """Up to four numbers of copies, at any growing numbers of tiles, with damages as 1 / copies."""
    copies = sorted(draw(st.sets(st.integers(1, 12), min_size=1, max_size=4)))
    tiles = sorted(draw(st.sets(st.integers(1, 12), min_size=len(copies), max_size=len(copies))))
    damage = draw(st.integers(0, 40)) / 8
    return TileSet((), tuple(CopyLevel(k, t, damage / k) for k, t in zip(copies, tiles, strict=True)))


def total(sets: list[TileSet], levels: tuple[int, ...]) -> tuple[float, int]:
    """Damage, and tiles beyond those that are taken anyway."""
    chosen = [one.levels[level] for one, level in zip(sets, levels, strict=True)]
    return sum(c.damage for c in chosen), sum(c.tiles - s.levels[0].tiles for c, s in zip(chosen, sets, strict=True))


@given(st.lists(tile_sets(), min_size=1, max_size=4), st.integers(0, 30))
def test_left_over_tiles_are_spent_within_one_step_of_the_best_way(sets: list[TileSet], spare: int) -> None:
    """All ways to spend them are the oracle: greedy is off by what its largest step brings at most, and never above."""
    found, used = total(sets, tuple(allocated(sets, spare)))
    assert used <= spare
    ways = (total(sets, levels) for levels in itertools.product(*(range(len(one.levels)) for one in sets)))
    best = min(damage for damage, tiles in ways if tiles <= spare)
    assert best <= found + 1e-12
    assert found - best <= max(one.levels[0].damage - one.levels[-1].damage for one in sets) + 1e-12
    # And nothing is left that would fit and help.
    assert all(one.step(level, spare - used) is None for one, level in zip(sets, allocated(sets, spare), strict=True))


@given(st.lists(tile_sets().map(lambda one: replace(one, levels=one.levels[:1])), max_size=3), st.integers(0, 9))
def test_without_further_copies_nothing_is_spent(sets: list[TileSet], spare: int) -> None:
    assert allocated(sets, spare) == [0] * len(sets)


def test_rows_of_tiles_of_equal_size_are_spent_best() -> None:
    """1 / k falls ever more slowly, so with one tile a copy greedy is the best way: all ways are the oracle."""
    sets = [TileSet((), tuple(CopyLevel(k, k, d / k) for k in range(1, 8))) for d in (8.0, 3.0, 1.0)]
    for spare in range(16):
        ways = (total(sets, levels) for levels in itertools.product(range(7), repeat=3))
        best = min(damage for damage, tiles in ways if tiles <= spare)
        assert total(sets, tuple(allocated(sets, spare)))[0] == pytest.approx(best)


def test_fewer_layers_leave_more_tiles_for_copies() -> None:
    sets = tuple(
        TileSet((name,), tuple(CopyLevel(k, k, damage / k) for k in range(1, 9)))
        for name, damage in {"a": 2.0, "b": 1.0}.items()
    )
    copies = Copies({}, tiles=5, sets=sets)
    assert copies.of("ab") == {"a": 3, "b": 2}
    assert copies.of("a") == {"a": 5}
    assert copies.of("") == {}


def test_layers_on_the_same_tiles_have_the_same_copies() -> None:
    shared = TileSet(("a", "c"), tuple(CopyLevel(k, k, 1 / k) for k in range(1, 4)))
    copies = Copies({}, tiles=3, sets=(shared,))
    assert copies.of("ac") == {"a": 3, "c": 3}
    assert copies.of("c") == {"c": 3}
