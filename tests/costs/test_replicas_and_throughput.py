"""How samples follow each other: allocations against all that there are, schedules against sums by hand."""

import math
from collections.abc import Iterator, Mapping
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhc.costs import cost_of, system_figures
from lhc.costs.replicas_and_throughput import Stage, Throughput, least_period, throughput_of
from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import AlpineCosts, Dac, Hardware, Pcm, Tiles

VECTORS = 6
TIMES = st.integers(1, 40).map(float)


def chain(*shapes: tuple[int, int, int], shared: str | None = None, relu: bool = False) -> LayerGraph:
    """Products of (rows, columns, vectors) one after the other; with ``shared`` all of them have one matrix."""
    layers, tensor = [], "x"
    for number, (rows, cols, vectors) in enumerate(shapes):
        name = f"p{number}"
        weight = WeightRef(shared or f"{name}.w", 1, (rows, cols), "float32", shared or name)
        matrix = MatrixShape(rows, cols, 1, vectors)
        layers.append(Layer(name, "MatMul", (tensor, weight.name), (f"{name}.y",), weight, matrix))
        tensor = f"{name}.y"
        if relu:
            layers.append(Layer(f"r{number}", "Relu", (tensor,), (f"r{number}.y",)))
            tensor = f"r{number}.y"
    return LayerGraph(layers, ["x"], [tensor])


def machine(count: int | None = None, **sections: Mapping[str, object]) -> Hardware:
    """Tiles of 100x100 with inputs as they are, and these numbers of the cost model."""
    costs = AlpineCosts.model_validate({"model": "alpine", **sections})
    return Hardware(name="m", tiles=Tiles(rows=100, cols=100, count=count), dac=Dac(scaling="none"), costs=costs)


def tiles_of(graph: LayerGraph, hardware: Hardware) -> dict[str, int]:
    sizes = ((layer.name, layer.matrix) for layer in graph.candidates)
    return {name: hardware.tiles_for(m.rows, m.cols) for name, m in sizes if m is not None}


def throughput(graph: LayerGraph, hardware: Hardware, analog: frozenset[str] | None = None) -> Throughput:
    tiles = {n: t for n, t in tiles_of(graph, hardware).items() if analog is None or n in analog}
    return throughput_of(graph, hardware, cost_of(graph, frozenset(tiles), hardware), tiles)


def every_run(stages: list[Stage], replicas: tuple[int, ...]) -> Iterator[list[float]]:
    """All ways to give stages without replicas to cores, in runs; replicated ones have cores of their own."""
    for cuts in product((False, True), repeat=len(stages) - 1):
        runs: list[tuple[float, bool]] = []
        for n, (stage, count) in enumerate(zip(stages, replicas, strict=True)):
            new = n == 0 or cuts[n - 1] or count > 1 or runs[-1][1]
            runs = (
                [*runs, (stage.seconds(count), count > 1)]
                if new
                else [*runs[:-1], (runs[-1][0] + stage.seconds(), False)]
            )
        yield [seconds for seconds, _ in runs]


def exhaustive(stages: list[Stage], spare: int, cores: int | None) -> float:
    """The least period of all allocations."""
    best = math.inf
    choices = [range(1, 2 if stage.tiles is None else VECTORS + 1) for stage in stages]
    for replicas in product(*choices):
        if sum((n - 1) * (s.tiles or 0) for n, s in zip(replicas, stages, strict=True)) > spare:
            continue
        if cores is None:
            best = min(best, max(s.seconds(n) for s, n in zip(stages, replicas, strict=True)))
            continue
        for runs in every_run(stages, replicas):
            if len(runs) + sum(n - 1 for n in replicas) <= cores:
                best = min(best, max(runs))
    return best


@given(
    st.lists(
        st.tuples(TIMES, st.integers(1, VECTORS), st.one_of(st.none(), st.integers(1, 4))), min_size=1, max_size=4
    ),
    st.integers(0, 9),
    st.one_of(st.none(), st.integers(1, 7)),
)
def test_the_allocation_is_the_best_of_all(
    found: list[tuple[float, int, int | None]], spare: int, cores: int | None
) -> None:
    stages = [Stage((f"l{n}",), ((time, vectors),), tiles) for n, (time, vectors, tiles) in enumerate(found)]
    best = least_period(stages, spare, cores)
    assert best.period_s == pytest.approx(exhaustive(stages, spare, cores), rel=1e-9)
    assert best.tiles == sum((n - 1) * (s.tiles or 0) for n, s in zip(best.replicas, stages, strict=True)) <= spare
    assert cores is None or best.cores <= cores


@given(st.lists(st.tuples(TIMES, st.integers(1, 3)), min_size=1, max_size=5), st.integers(0, 12))
def test_replicas_for_the_slowest_while_tiles_last_end_at_the_same_period(
    found: list[tuple[float, int]], spare: int
) -> None:
    stages = [Stage((f"l{n}",), ((time, 1000),), tiles) for n, (time, tiles) in enumerate(found)]
    replicas, left = [1] * len(stages), spare
    while True:
        slowest = max(range(len(stages)), key=lambda n: stages[n].seconds(replicas[n]))
        if (stages[slowest].tiles or 0) > left:
            break
        left -= stages[slowest].tiles or 0
        replicas[slowest] += 1
    greedy = max(s.seconds(n) for s, n in zip(stages, replicas, strict=True))
    assert least_period(stages, spare).period_s == pytest.approx(greedy, rel=1e-9)


def test_no_period_is_below_the_floor_and_no_replica_is_wasted_for_it() -> None:
    stages = [Stage(("a",), ((8.0, 8),), 1), Stage(("b",), ((2.0, 8),), 1)]
    found = least_period(stages, 100, floor_s=4.0)
    assert found.replicas == (2, 1)
    assert found.tiles == 1


def test_layers_with_the_same_tiles_are_replicated_together() -> None:
    # Two layers of 3 and 4 vectors: three replicas take ceil(3/3)/3 of the one and ceil(4/3)/4 of the other.
    stage = Stage(("a", "b"), ((3.0, 3), (4.0, 4)), 2)
    assert stage.seconds(3) == pytest.approx(1.0 + 2.0)
    assert stage.needed(3.0) == 3
    assert stage.needed(1.9) is None  # four replicas: 1 + 1


def test_one_core_that_waits_computes_one_sample_after_the_other() -> None:
    graph, hardware = chain((100, 100, 4), (100, 100, 8)), machine(count=100)
    found = throughput(graph, hardware)
    assert found.schedule == "one after the other"
    assert found.period_s == cost_of(graph, frozenset({"p0", "p1"}), hardware).latency_s
    assert not found.replicas


def test_cores_that_wait_take_runs_of_layers_and_replicas_take_parts_of_a_layer() -> None:
    graph = chain((100, 100, 4), (100, 100, 4), (100, 100, 24))
    hardware = machine(count=5, core={"count": 4})
    cost = cost_of(graph, frozenset({"p0", "p1", "p2"}), hardware)
    vector = cost.layers["p0"].latency_s / 4
    found = throughput(graph, hardware)
    # 4 + 4 on one core; 24 vectors on three.
    assert found.schedule == "cores"
    assert found.replicas == {"p2": 3}
    assert (found.tiles, found.cores) == (2, 4)
    assert found.period_s == pytest.approx(8 * vector, rel=1e-4)  # read-outs are no part of the vectors


def test_tiles_that_hold_copies_are_not_there_for_replicas() -> None:
    graph, hardware = chain((100, 100, 24)), machine(count=4, core={"count": 9})
    cost = cost_of(graph, frozenset({"p0"}), hardware, {"p0": 3})
    assert throughput_of(graph, hardware, cost, {"p0": 3}).replicas == {}
    assert throughput_of(graph, hardware, cost, {"p0": 2}).replicas == {"p0": 2}


def test_without_a_number_of_tiles_there_are_no_replicas() -> None:
    assert throughput(chain((100, 100, 24)), machine(core={"count": 9})).replicas == {}


def test_units_share_samples_and_the_slowest_decides() -> None:
    graph = chain((100, 100, 10), (100, 100, 40))
    core = {"waits": False, "quantise_cycles": 0.1, "rescale_cycles": 0.1, "gather_cycles": 0}
    hardware = machine(count=4, core=core, tile={"links": "own"})
    found = throughput(graph, hardware)
    # 40 products of 100 ns are 4 µs on one set of tiles; three replicas take 14, 14 and 12 of them.
    assert found.schedule == "units"
    assert found.replicas == {"p1": 3}
    assert found.slowest == ("p1",)
    assert found.period_s == pytest.approx(14 * 100e-9)


def test_the_core_decides_where_it_has_more_to_do_than_any_tile() -> None:
    graph = chain((100, 100, 40), relu=True)
    hardware = machine(count=4, core={"waits": False, "quantise_cycles": 50.0})
    cost = cost_of(graph, frozenset({"p0"}), hardware)
    found = throughput(graph, hardware)
    assert (found.unit, found.slowest, found.replicas) == ("cores", (), {})
    assert found.period_s == pytest.approx(cost.latency_s - 40 * 100e-9)  # all but the products
    two = throughput(graph, machine(count=4, core={"waits": False, "quantise_cycles": 50.0, "count": 2}))
    assert two.period_s == pytest.approx(found.period_s / 2)


def test_the_memory_of_digital_weights_is_shared() -> None:
    graph = chain((1000, 1000, 1), (1000, 1000, 1))
    memory = {"cache_bytes": 1, "dram_gb_per_s": 0.1}
    found = throughput(graph, machine(core={"count": 2}, memory=memory), frozenset())
    assert found.unit == "memory"
    assert found.period_s == pytest.approx(2e6 / 0.1e9)


def test_layers_that_share_their_tiles_take_turns() -> None:
    hardware = machine(count=2, core={"waits": False, "quantise_cycles": 0, "rescale_cycles": 0})
    graph = chain((100, 100, 400), (100, 100, 400), shared="w")
    tiles = {"p0": 1, "p1": 1}
    found = throughput_of(graph, hardware, cost_of(graph, frozenset(tiles), hardware), tiles)
    assert found.replicas == {"p0": 2, "p1": 2}
    assert found.tiles == 1  # one tile more for both


def test_peak_power_is_what_can_work_at_once() -> None:
    graph = chain((200, 100, 10), (100, 100, 10))
    tile = 100 * 100 * 0.828e-12 / 100e-9
    core, waiting, link = 0.64, 0.2, 4 * 1.25e-3

    def peak(analog: tuple[str, ...] = ("p0", "p1"), **sections: Mapping[str, object]) -> float | None:
        hardware = machine(None, **sections)
        tiles = {n: t for n, t in tiles_of(graph, hardware).items() if n in analog}
        return system_figures(graph, hardware, cost_of(graph, frozenset(tiles), hardware), tiles).peak_w

    assert peak() == pytest.approx(max(core + link, waiting + tile))
    assert peak(()) == pytest.approx(core)
    assert peak(tile={"product_pj_per_cell": 8.28}) == pytest.approx(waiting + 10 * tile)
    parallel = {"product_pj_per_cell": 8.28, "schedule": "parallel"}
    assert peak(tile=parallel) == pytest.approx(waiting + 2 * 10 * tile)
    assert peak(core={"count": 2}) == pytest.approx(2 * max(core + link, waiting + tile))
    assert peak(core={"waits": False}) == pytest.approx(core + 3 * (tile + link))
    assert peak((), memory={"cache_bytes": 1}) == pytest.approx(core + 5.332 * 15e-3)
    rest = {"rest_mw": {"value": 7.0, "source": "paper"}}
    assert peak((), chip=rest) == pytest.approx(core + 7e-3)


def test_an_area_sums_what_is_known_and_names_what_is_not() -> None:
    graph = chain((200, 100, 10))

    def sourced(value: float) -> dict[str, object]:
        return {"value": value, "source": "paper"}

    def area(count: int | None, pairs: int = 1, **chip: object) -> object:
        hardware = machine(count=count, chip=chip, core={"count": 3})
        devices = Pcm(pairs_per_weight=pairs)
        hardware = hardware.model_copy(update={"devices": devices})
        tiles = tiles_of(graph, hardware)
        return system_figures(graph, hardware, cost_of(graph, frozenset(tiles), hardware), tiles).area

    found = area(10, tile_mm2=sourced(0.5), converters_mm2=sourced(0.2))
    assert found is not None
    assert vars(found) == {
        "total": 5.0,
        "tiles": 10,
        "tiles_mm2": 5.0,
        "converters_mm2": 2.0,
        "missing": ("cores", "rest"),
    }
    whole = area(None, tile_mm2=sourced(0.5), core_mm2=sourced(2.0), rest_mm2=sourced(4.0))
    assert vars(whole)["total"] == 2 * 0.5 + 3 * 2.0 + 4.0  # two tiles in use
    assert area(10, core_mm2=sourced(2.0)) is None  # no tile's area
    # Three pairs a weight: of 0.5 mm², 0.2 are converters.
    assert vars(area(10, 3, tile_mm2=sourced(0.5), converters_mm2=sourced(0.2)))["total"] == pytest.approx(11.0)
    assert vars(area(10, 3, tile_mm2=sourced(0.5)))["total"] == pytest.approx(15.0)
