"""What the user includes, excludes and forces: patterns, contradictions, ties."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from lhc.errors import UsageError
from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware, Tiles
from lhc.passes import Qualify, Select, initial_plan
from lhc.passes.decide.user_selection import match_layers
from lhc.plan import Plan

NAMES = ("conv1", "layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1", "fc")


@dataclass(frozen=True)
class Pattern:
    pattern: str
    found: tuple[str, ...]


PATTERNS = [
    Pattern("conv1", ("conv1",)),
    Pattern("*conv1", ("conv1", "layer1.0.conv1", "layer2.0.conv1")),
    Pattern("layer?.0.conv1", ("layer1.0.conv1", "layer2.0.conv1")),
    Pattern("layer[!1]*", ("layer2.0.conv1",)),
    Pattern("*", NAMES),
    Pattern("re:conv1$", ("conv1", "layer1.0.conv1", "layer2.0.conv1")),
    Pattern("re:^conv", ("conv1",)),
    Pattern(r"re:layer\d\.0\.conv2", ("layer1.0.conv2",)),
    Pattern("re:(?i)FC", ("fc",)),
]


@pytest.mark.parametrize("case", PATTERNS, ids=lambda case: case.pattern)
def test_patterns_match(case: Pattern) -> None:
    assert match_layers(case.pattern, NAMES, "--include") == frozenset(case.found)


@dataclass(frozen=True)
class Refused:
    pattern: str
    message: str


REFUSED = [
    Refused("layer1.0.conv3", r"--include 'layer1\.0\.conv3' matches no layer; nearest: layer1\.0\.conv[12], layer"),
    Refused("Conv1", r"matches no layer; nearest: conv1"),
    Refused(
        "zzz",
        r"matches no layer; nearest: conv1, layer1\.0\.conv1, layer1\.0\.conv2; \* in a pattern stands for any text$",
    ),
    Refused("0.conv", r"nearest: .*; \* in a pattern stands for any text: '\*0\.conv\*' matches 3 layers$"),
    Refused("conv9*", r"nearest: [^*]*$"),
    Refused("re:conv9", r"'re:conv9' matches no layer; nearest: .*conv"),
    Refused("re:(", r"--include 're:\(': not a regular expression: .*unterminated"),
    Refused("", r"--include '' matches no layer"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.pattern or "empty")
def test_patterns_that_match_nothing_are_refused_with_the_nearest_names(case: Refused) -> None:
    with pytest.raises(UsageError, match=case.message):
        match_layers(case.pattern, NAMES, "--include")


def test_a_pattern_on_a_model_without_candidates_says_so() -> None:
    with pytest.raises(UsageError, match="the model has no MatMul, Gemm or Conv"):
        match_layers("conv1", (), "--exclude")


def network(weights: Mapping[str, str | None], tiles: int | None = None) -> tuple[LayerGraph, Plan]:
    """MatMuls side by side with those tile sets; None: no constant weight."""
    layers = [
        Layer(
            name,
            "MatMul",
            ("x", f"{name}.w"),
            (f"{name}.out",),
            None if tile_set is None else WeightRef(f"{name}.w", 1, (200, 4), "float32", tile_set),
            MatrixShape(200, 4, 1, 1),
        )
        for name, tile_set in weights.items()
    ]
    graph = LayerGraph(layers, ["x"], [f"{name}.out" for name in weights])
    hardware = Hardware(name="fake", tiles=Tiles(rows=100, cols=100, count=tiles))
    return graph, Qualify().run(graph, initial_plan(graph, hardware, "", "0")).plan


PLAIN = {name: name for name in NAMES}


@dataclass(frozen=True)
class Selection:
    id: str
    select: Select
    decided: dict[str, tuple[str, str, str]]


ALL_OUT = ("digital", "excluded", "not named by --include")
SELECTIONS = [
    Selection("nothing asked", Select(), {}),
    Selection(
        "exclude",
        Select(exclude=("fc", "conv*")),
        dict.fromkeys(["conv1", "fc"], ("digital", "excluded", "left out by --exclude")),
    ),
    Selection("include", Select(include=("layer*",)), {"conv1": ALL_OUT, "fc": ALL_OUT}),
    Selection(
        "include less exclude",
        Select(include=("*conv1",), exclude=("conv1",)),
        {"conv1": ("digital", "excluded", "left out by --exclude"), "layer1.0.conv2": ALL_OUT, "fc": ALL_OUT},
    ),
    Selection(
        "forced both ways",
        Select(force_analog=("re:conv2$",), force_digital=("fc",)),
        {
            "layer1.0.conv2": ("analog", "forced", "analog by --force-analog"),
            "fc": ("digital", "forced", "digital by --force-digital"),
        },
    ),
    Selection(
        "forced among the included",
        Select(include=("fc", "conv1"), force_analog=("fc",)),
        dict.fromkeys(["layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1"], ALL_OUT)
        | {"fc": ("analog", "forced", "analog by --force-analog")},
    ),
]


@pytest.mark.parametrize("case", SELECTIONS, ids=lambda case: case.id)
def test_selections(case: Selection) -> None:
    graph, plan = network(PLAIN)
    result = case.select.run(graph, plan).plan
    changed = {
        after.name: (after.placement, after.reason, after.detail)
        for before, after in zip(plan.layers, result.layers, strict=True)
        if before != after
    }
    assert changed == case.decided
    assert result.eligible == tuple(name for name in NAMES if name not in case.decided)


@dataclass(frozen=True)
class Contradiction:
    id: str
    select: Select
    message: str


CONTRADICTIONS = [
    Contradiction(
        "both forced",
        Select(force_analog=("*conv1",), force_digital=("layer*",)),
        r"^layer1\.0\.conv1, layer2\.0\.conv1: named by both",
    ),
    Contradiction(
        "forced analog, excluded", Select(exclude=("fc",), force_analog=("fc",)), "^fc: forced, but left out"
    ),
    Contradiction(
        "forced digital, excluded", Select(exclude=("f*",), force_digital=("fc",)), "^fc: forced, but left out"
    ),
    Contradiction(
        "forced, not included", Select(include=("conv1",), force_analog=("fc",)), "^fc: forced, but left out"
    ),
    Contradiction(
        "included and excluded", Select(include=("conv1",), exclude=("conv*",)), "^--exclude leaves out every layer"
    ),
    Contradiction(
        "no match", Select(force_digital=("fc", "fd")), r"--force-digital 'fd' matches no layer; nearest: fc"
    ),
]


@pytest.mark.parametrize("case", CONTRADICTIONS, ids=lambda case: case.id)
def test_contradictions_are_refused(case: Contradiction) -> None:
    graph, plan = network(PLAIN)
    with pytest.raises(UsageError, match=case.message):
        case.select.run(graph, plan)


def test_a_layer_that_cannot_be_analog_cannot_be_forced_and_says_why() -> None:
    graph, plan = network({"attention": None, "proj": "proj"})
    with pytest.raises(UsageError, match=r"--force-analog attention: it cannot be analog: both operands"):
        Select(force_analog=("*",)).run(graph, plan)


def test_a_layer_that_is_digital_anyway_keeps_its_reason() -> None:
    graph, plan = network({"attention": None, "proj": "proj"})
    result = Select(force_digital=("*",)).run(graph, plan).plan
    assert [layer.reason for layer in result.layers] == ["no-static-weight", "forced"]
    result = Select(exclude=("*",)).run(graph, plan).plan
    assert [layer.reason for layer in result.layers] == ["no-static-weight", "excluded"]


@pytest.mark.parametrize(
    ("select", "reason"),
    [
        (Select(exclude=("a",)), "excluded"),
        (Select(include=("c",)), "excluded"),
        (Select(force_analog=("b",)), "forced"),
        (Select(force_digital=("a",)), "forced"),
    ],
)
def test_layers_that_share_weights_are_selected_together(select: Select, reason: str) -> None:
    graph, plan = network({"a": "shared", "b": "shared", "c": "own"})
    result = select.run(graph, plan).plan
    assert [layer.reason for layer in result.layers] == [reason, reason, "eligible"]


def test_including_one_of_a_pair_includes_both() -> None:
    graph, plan = network({"a": "shared", "b": "shared", "c": "own"})
    assert Select(include=("a",)).run(graph, plan).plan.eligible == ("a", "b")


def test_one_of_a_pair_cannot_be_analog_and_the_other_digital() -> None:
    graph, plan = network({"a": "shared", "b": "shared"})
    with pytest.raises(UsageError, match="a, b: named by both"):
        Select(force_analog=("a",), force_digital=("b",)).run(graph, plan)


def test_forced_layers_must_fit_the_machine() -> None:
    # Two tiles each.
    graph, plan = network({"a": "1", "b": "2", "c": "3"}, tiles=4)
    assert Select(force_analog=("a", "b")).run(graph, plan).plan.analog == {"a", "b"}
    with pytest.raises(UsageError, match="--force-analog needs 6 tiles, the machine has 4"):
        Select(force_analog=("*",)).run(graph, plan)


def test_forced_layers_that_share_weights_take_their_tiles_once() -> None:
    graph, plan = network({"a": "shared", "b": "shared", "c": "shared"}, tiles=2)
    assert Select(force_analog=("a",)).run(graph, plan).plan.analog == {"a", "b", "c"}


def test_selecting_from_a_model_without_candidates() -> None:
    graph, plan = network({})
    assert Select().run(graph, plan).plan == plan
    with pytest.raises(UsageError, match="the model has no"):
        Select(include=("*",)).run(graph, plan)


PATHS = {
    "/encoder/layer.0/attention/MatMul": "encoder.layer.0.attention",
    "/encoder/layer.0/output/MatMul": "encoder.layer.0.output",
    "/encoder/layer.1/attention/MatMul": "encoder.layer.1.attention",
    "/encoder/layer.10/attention/MatMul": "encoder.layer.10.attention",
    "head": "head",
}
BY_PATH = [
    Pattern("encoder.layer.0", tuple(PATHS)[:2]),
    Pattern("encoder.layer.1", tuple(PATHS)[2:3]),
    Pattern("encoder", tuple(PATHS)[:4]),
    Pattern("encoder.layer.?", tuple(PATHS)[:3]),
    Pattern("*.attention", (next(iter(PATHS)), *tuple(PATHS)[2:4])),
    Pattern("/encoder/layer.1/attention/MatMul", tuple(PATHS)[2:3]),
    Pattern(r"re:layer\.\d\.output", tuple(PATHS)[1:2]),
    Pattern("head", ("head",)),
]


@pytest.mark.parametrize("case", BY_PATH, ids=lambda case: case.pattern)
def test_patterns_match_paths_of_modules_and_all_that_is_in_them(case: Pattern) -> None:
    assert match_layers(case.pattern, PATHS, "--include", PATHS) == frozenset(case.found)


def test_a_path_that_no_module_has_is_answered_with_the_nearest_paths() -> None:
    with pytest.raises(UsageError, match=r"'encoder\.layer\.7' matches no layer; nearest: encoder\.layer\.\d"):
        match_layers("encoder.layer.7", PATHS, "--exclude", PATHS)


def test_a_block_is_left_out_by_its_path() -> None:
    names = ("blocks.0.up", "blocks.0.down", "blocks.1.up", "head")
    graph, plan = network({name: name for name in names})

    result = Select(exclude=("blocks.0",)).run(graph, plan).plan

    assert result.eligible == ("blocks.1.up", "head")


def test_the_path_of_an_older_exports_module_is_found_in_the_plan() -> None:
    graph, plan = network({"/blocks.0/up/MatMul": "a", "/blocks.1/up/MatMul": "b"})

    assert Select(include=("blocks.1",)).run(graph, plan).plan.eligible == ("/blocks.1/up/MatMul",)


def test_a_name_with_brackets_matches_itself_alone() -> None:
    assert match_layers("block[0]", ("block[0]", "block0"), "--force-digital") == {"block[0]"}
