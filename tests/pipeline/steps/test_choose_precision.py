"""Number formats of digital products: what int8 takes is told, and mended where the machine has a higher one."""

from dataclasses import replace
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import lhc
from lhc.costs.plan_costs import plan_cost
from lhc.errors import UsageError
from lhc.hardware import DigitalCores, Hardware
from lhc.measure import PlacementEvaluator, Running
from lhc.onnx_io import load_model, read_graph
from lhc.options.shared import Execution
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.report.wording.outcome import precision_text
from lhc.report.wording.placement import partition_head
from lhc.runtime import HybridSession
from lhc.samples.metrics import METRICS
from lhc.samples.task import Task
from tests.networks import parsed

pytestmark = pytest.mark.analog

Array = npt.NDArray[Any]

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
outliers (float[n, 12] x) => (float[n, 4] y) {
    a = MatMul (x, w1)
    b = Relu (a)
    c = MatMul (b, w2)
    d = Relu (c)
    y = MatMul (d, w3)
}
"""
LAYERS = ("a", "c", "y")
"""Outputs of the products."""


def network() -> onnx.ModelProto:
    """A classifier with one hidden channel that is 600 times as large as the others, and that nothing needs."""
    rng = np.random.default_rng(0)
    w1, w2, w3 = (rng.normal(size=shape).astype(np.float32) for shape in ((12, 16), (16, 16), (16, 4)))
    w2[:, 3] *= 600
    w3[3] = 0
    proto = parsed(TEXT, {"w1": w1, "w2": w2, "w3": w3})
    for node, name in zip(proto.graph.node, ("first", "relu1", "second", "relu2", "third"), strict=True):
        node.name = name
    return proto


def task(samples: int = 400) -> Task:
    """Samples that the network answers right, and a hundredth that it does not."""
    x = np.random.default_rng(1).normal(size=(samples, 12)).astype(np.float32)
    (scores,) = HybridSession(network()).run(None, {"x": x})
    labels = scores.argmax(axis=1)
    labels[:: samples // 4] = (labels[:: samples // 4] + 1) % 4
    return Task({"x": x}, labels, METRICS["accuracy"])


def machine(**digital: Any) -> Hardware:  # noqa: ANN401 - of any field
    """LionHeart's with other cores."""
    return Hardware.load("lionheart").model_copy(update={"digital": DigitalCores(**digital)})


def placed(hardware: Hardware, **more: Any) -> lhc.PartitionResult:  # noqa: ANN401 - of any option
    options: dict[str, Any] = {"draws": 2, "max_draws": 4, "method": "measure", "max_drop": "4%"} | more
    return lhc.partition(network(), task(), hardware=hardware, strategy="all-digital", **options)


def test_what_int8_takes_too_much_from_is_in_the_high_precision() -> None:
    plan = placed(machine(precision="int8", high_precision="fp32")).plan
    assert plan.outcome is not None
    assert plan.digital is not None
    assert plan.digital.raised == ("second", "third"), "one writes the large channel, one reads it"
    assert plan.outcome.within_budget
    assert plan.outcome.digital_drop == plan.outcome.drop <= 0.01
    assert {layer.name: layer.precision for layer in plan.layers} == {
        "first": "int8",
        "second": "fp32",
        "third": "fp32",
    }


def test_a_machine_without_a_higher_one_is_over_its_budget_and_says_so() -> None:
    result = placed(machine(precision="int8", high_precision=None))
    outcome, digital = result.plan.outcome, result.plan.digital
    assert outcome is not None
    assert digital is not None
    assert not outcome.within_budget
    assert outcome.digital_drop == outcome.drop > 0.04
    told = precision_text(result.plan)
    assert told is not None
    assert told.startswith("digital products in int8; without tiles they take a mean drop of")
    assert "over the budget by itself" in told
    assert told in partition_head(result).splitlines()


def test_the_fewest_products_are_raised() -> None:
    """Against all sets of products, by brute force."""
    result = placed(machine(precision="int8", high_precision="fp32"))
    digital = result.plan.digital
    assert digital is not None

    def drop(raised: tuple[str, ...]) -> float:
        plan = result.plan.with_arithmetic(digital.with_raised(raised))
        whole = task()
        targets = np.asarray(whole.targets)
        (found,) = HybridSession(network(), placement=plan).run(None, {"x": np.asarray(whole.inputs["x"])})
        (exact,) = HybridSession(network()).run(None, {"x": np.asarray(whole.inputs["x"])})
        return float((exact.argmax(1) == targets).mean() - (found.argmax(1) == targets).mean())

    names = ("first", "second", "third")
    holding = [one for n in range(4) for one in combinations(names, n) if drop(one) <= 0.01]
    assert min(map(len, holding)) == len(digital.raised)
    assert digital.raised in holding


def test_products_with_one_weight_are_raised_together() -> None:
    """Only the second of them reads the large channel, which it does not need."""
    rng = np.random.default_rng(0)
    w1, w2 = (rng.normal(size=shape).astype(np.float32) for shape in ((12, 12), (12, 4)))
    w1[3], large = 0, np.ones(12, np.float32)
    large[3] = 600
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    shared (float[n, 12] x) => (float[n, 4] y) {
        a = MatMul (x, w1)
        b = Mul (a, large)
        c = MatMul (b, w1)
        y = MatMul (c, w2)
    }
    """
    proto = parsed(text, {"w1": w1, "w2": w2, "large": large})
    for node, name in zip(proto.graph.node, ("first", "times", "second", "third"), strict=True):
        node.name = name
    x = rng.normal(size=(400, 12)).astype(np.float32)
    (scores,) = HybridSession(proto).run(None, {"x": x})
    samples = Task({"x": x}, scores.argmax(axis=1), METRICS["accuracy"])

    def raised(*high: str) -> tuple[str, ...]:
        found = lhc.partition(
            proto, samples, hardware=machine(precision="int8", high_precision="fp32"), strategy="all-digital",
            draws=2, max_draws=4, method="measure", max_drop="16%", high_precision=high,
        ).plan.digital  # fmt: skip
        assert found is not None
        return found.raised

    assert raised() == ("first", "second")
    assert raised("second") == ("first", "second"), "whichever of them the user names"


def test_without_tiles_the_samples_that_test_hold_the_budget_by_themselves() -> None:
    """Of them int8 loses more than of all samples together: the budget is between the two."""
    x = np.random.default_rng(4).normal(size=(400, 12)).astype(np.float32)
    (scores,) = HybridSession(network()).run(None, {"x": x})
    samples = Task({"x": x}, scores.argmax(axis=1), METRICS["accuracy"])

    def without_tiles(max_drop: float, **digital: Any) -> lhc.PartitionResult:  # noqa: ANN401 - of any field
        return lhc.partition(
            network(), samples, hardware=machine(precision="int8", **digital), objective="energy",
            force_digital=["*"], max_drop=max_drop, draws=2, max_draws=2, method="measure",
        )  # fmt: skip

    int8 = without_tiles(0.9, high_precision=None).plan
    (found,) = HybridSession(network(), placement=int8).run(None, {"x": x})
    lost = float((found.argmax(axis=1) != np.asarray(samples.targets)).mean())
    assert int8.outcome is not None
    assert int8.outcome.drop > lost
    outcome = without_tiles((int8.outcome.drop + lost) / 2, high_precision="fp32").plan.outcome
    assert outcome is not None
    assert outcome.within_budget


def test_two_samples_rank_the_products_of_a_network_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.pipeline.steps.choose_precision._RANKING_MACS", 0)
    plan = placed(machine(precision="int8", high_precision="fp32")).plan
    assert plan.digital is not None
    assert plan.digital.raised == ("second", "third")


def test_of_several_outputs_no_more_is_raised_than_they_need() -> None:
    """Int8 suits the first output; what it takes from the second is mended by two products of that one."""
    proto, v = network(), np.random.default_rng(3).normal(size=(16, 4)).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(v, "v"))
    proto.graph.node.append(onnx.helper.make_node("MatMul", ["b", "v"], ["z"], name="fourth"))
    proto.graph.output.insert(0, onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["n", 4]))
    hardware = machine(precision="int8", high_precision="fp32")
    options: dict[str, Any] = {"draws": 2, "max_draws": 4, "strategy": "all-digital", "max_drop": 0.01}
    samples = {"x": np.asarray(task().inputs["x"])}
    plan = lhc.partition(proto, samples, hardware=hardware, output=["z", "y,nmse,0.01"], metric="nmse", **options).plan
    assert plan.digital is not None
    assert plan.digital.raised == ("second", "third")
    assert plan.outcome is not None
    assert plan.outcome.within_budget
    assert all(one.within_budget for one in plan.outcome.further)


BRANCHES = """
<ir_version: 8, opset_import: ["" : 17]>
branches (float[n, 256] x, float[n, 16] z) => (float[n, 256] y) {
    p = MatMul (x, w1)
    q = MatMul (x, w2)
    s = MatMul (z, w3)
    t = Add (p, q)
    y = Add (t, s)
}
"""


def branches() -> onnx.ModelProto:
    """The sum of three products, one small, whose input has a channel 40 times as large that nothing needs."""
    rng = np.random.default_rng(0)
    w1, w2, w3 = (rng.normal(size=(n, 256)).astype(np.float32) / np.float32(n**0.5) for n in (256, 256, 16))
    w3[3] = 0
    proto = parsed(BRANCHES, {"w1": w1, "w2": w2, "w3": w3})
    for node, name in zip(proto.graph.node, ("first", "second", "small", "t", "y"), strict=True):
        node.name = name
    return proto


def branch_task() -> Task:
    """Samples of its two inputs, judged by the error against the network as given."""
    rng = np.random.default_rng(1)
    x, z = (rng.normal(size=(200, n)).astype(np.float32) for n in (256, 16))
    z[:, 3] *= 40
    return Task({"x": x, "z": z}, None, METRICS["nmse"])


BUDGETS = [
    pytest.param(0.012, {"first"}, ("small",), id="one on tiles"),
    pytest.param(0.025, {"first", "second"}, ("small",), id="two on tiles for the small one raised"),
    pytest.param(0.06, {"first", "second"}, (), id="nothing raised"),
]


@cache
def of_least_energy(max_drop: float) -> lhc.PartitionResult:
    """Of tile, int8 and fp32 for every layer, within a budget."""
    hardware = machine(precision="int8", high_precision="fp32").as_described
    options: dict[str, Any] = {"draws": 4, "max_draws": 10, "method": "measure", "copies": 1}
    return lhc.partition(branches(), branch_task(), hardware=hardware, objective="energy", max_drop=max_drop, **options)


@pytest.fixture(scope="module")
def all_choices() -> list[tuple[float, float]]:
    """Error, on other chips than were judged, and energy of every choice of a place for every layer."""
    result = of_least_energy(0.06)
    assert result.plan.digital is not None
    inputs = {name: np.asarray(values) for name, values in branch_task().inputs.items()}
    (exact,) = HybridSession(branches()).run(None, inputs)
    found = []
    for places in product(("analog", "int8", "fp32"), repeat=3):
        by_place = dict(zip(("first", "second", "small"), places, strict=True))
        plan = result.plan.decide(
            {n: ("analog" if p == "analog" else "digital", "forced", "") for n, p in by_place.items()}
        )
        plan = plan.with_arithmetic(result.plan.digital.with_raised(n for n, p in by_place.items() if p == "fp32"))
        errors = []
        for chip in range(3):
            (answers,) = HybridSession(branches(), placement=plan, seed=chip).run(None, inputs)
            errors.append(((answers - exact) ** 2).mean() / (exact**2).mean())
        cost = plan_cost(plan, result.facts)
        assert cost is not None
        found.append((float(np.mean(errors)), cost.energy_j))
    return found


@pytest.mark.parametrize(("max_drop", "analog", "raised"), BUDGETS)
def test_least_energy_of_three_places_per_layer(
    max_drop: float, analog: set[str], raised: tuple[str, ...], all_choices: list[tuple[float, float]]
) -> None:
    """Against all choices of tile, int8 and fp32 for every layer, by brute force on other chips."""
    result = of_least_energy(max_drop)
    assert result.cost is not None
    assert result.plan.digital is not None
    assert result.cost.energy_j == pytest.approx(min(e for error, e in all_choices if error <= max_drop), rel=1e-6)
    assert (set(result.plan.analog), result.plan.digital.raised) == (analog, raised)


def test_the_network_as_given_is_computed_once_for_all_number_formats(tmp_path: Path) -> None:
    model = load_model(network())
    digital = DigitalArithmetic(precision="bf16", high_precision="fp32")
    computed: list[str] = []
    one = PlacementEvaluator(
        model,
        read_graph(model),
        machine(precision="bf16", high_precision="fp32"),
        task(),
        t_s=0.0,
        running=Running(Execution(work_dir=tmp_path)),
        progress=lambda what, done, total: computed.append(what),
        digital=digital,
    )
    drops = [one.measure(frozenset(), range(1)).drops]
    every = frozenset({"first", "second", "third"})
    drops.append(one.measure_precision(every, "all in fp32").drops)
    other = replace(one, digital=digital.with_raised(every))
    assert other.measure(frozenset(), range(1)).drops == drops[1]
    assert computed.count("digital network") == 2, "its beginning and its end"
    assert computed.count("network without tiles") == computed.count("all in fp32") == 2, "so the other one did nothing"
    assert drops[0] != drops[1] == 0, "products in bf16 answer otherwise, those in fp32 do not"


def test_layers_that_the_user_names_are_in_the_high_precision() -> None:
    hardware = machine(precision="int8", high_precision="fp32")
    options: dict[str, Any] = {"draws": 2, "max_draws": 4, "strategy": "all-digital", "max_drop": 10}
    plan = lhc.partition(branches(), branch_task(), hardware=hardware, high_precision=["fir*"], **options).plan
    assert plan.digital is not None
    assert plan.digital.raised == ("first",)
    result = placed(hardware, high_precision=["first"])
    assert result.plan.digital is not None
    assert result.plan.digital.raised == ("first", "second", "third"), "what it takes for the budget is raised too"
    (told,) = [note for note in result.notes if "digital products of 3" in note]
    assert told.startswith("int8, 1 product in fp32 takes ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"high_precision": ["frist"]}, "matches no layer; nearest: first"),
        ({"high_precision": ["first"], "digital_precision": "int8"}, "computes digital products in int8 alone"),
        ({"high_precision": ["first"], "digital_precision": "as-file"}, "of this network compute as in the file"),
    ],
    ids=["unknown", "no high precision", "as in the file"],
)
def test_high_precision_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        placed(machine(precision="int8", high_precision="fp32"), **options)


@pytest.mark.parametrize("precision", ["fp32", "as-file", "bf16", "fp16"])
def test_quick_change_of_the_precision(precision: str) -> None:
    result = placed(machine(precision="int8", high_precision=None), digital_precision=precision)
    assert result.plan.hardware.digital.precision == precision
    assert result.plan.outcome is not None
    assert result.plan.outcome.within_budget
    if precision == "as-file":
        assert result.plan.digital is None
        assert result.plan.outcome.digital_drop is None


def test_a_format_that_is_asked_for_holds_for_all_products() -> None:
    """The network is over its budget in int8, and none is raised though the machine could."""
    digital = placed(machine(precision="int8", high_precision="fp32"), digital_precision="int8").plan.digital
    assert digital is not None
    assert digital.high_precision is None
    assert digital.raised == ()


def test_annotated_files_keep_the_answers_of_the_network_and_carry_the_precision(tmp_path: Path) -> None:
    import onnxruntime as ort

    result = placed(machine(precision="int8", high_precision="fp32"))
    path = result.save(tmp_path / "placed.lhc.onnx")
    x = np.asarray(task().inputs["x"])[:16]
    stock, given = (
        ort.InferenceSession(model).run(None, {"x": x})[0] for model in (str(path), network().SerializeToString())
    )
    assert stock.tobytes() == given.tobytes()
    keys = {n.name: {p.key: p.value for p in n.metadata_props} for n in onnx.load(path).graph.node}
    assert keys["first"]["lhc.precision"] == "int8"
    assert keys["third"]["lhc.precision"] == "fp32"
    again = HybridSession(path)
    assert again.plan is not None
    assert again.plan.digital == result.plan.digital
    (found,) = again.run(None, {"x": x})
    assert found.tobytes() != given.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("analog", ["first", "second", "third"])
def test_compiled_files_have_the_precision_of_the_session(tmp_path: Path, analog: str) -> None:
    """The activation behind an analog layer is computed with it, and digital products read it as codes."""
    import onnxruntime as ort

    exact = Hardware.load("ideal").model_copy(update={"digital": DigitalCores(precision="int8", high_precision=None)})
    options: dict[str, Any] = {"strategy": "all-digital", "draws": 2, "max_draws": 2, "max_drop": "90%"}
    result = lhc.partition(network(), task(), hardware=exact, force_analog=[analog], **options)
    path = result.save(tmp_path / "placed.lhc.onnx")
    x = np.asarray(task().inputs["x"])[:16]
    (session,) = HybridSession(path).run(None, {"x": x})
    lhc.compile(path).save(tmp_path / "c.onnx")
    (compiled,) = ort.InferenceSession(str(tmp_path / "c.onnx")).run(None, {"x": x})
    assert np.abs(compiled - session).max() <= 1e-5 * np.abs(session).max()


@pytest.mark.slow
def test_compiled_products_of_codes_are_exact_on_every_processor(tmp_path: Path) -> None:
    """Stock kernels of integers saturate where a processor has no instructions for them (VNNI)."""
    hardware = machine(precision="int8", high_precision=None)
    options: dict[str, Any] = {"strategy": "all-digital", "draws": 2, "max_draws": 2, "max_drop": 10}
    path = lhc.partition(branches(), branch_task(), hardware=hardware, **options).save(tmp_path / "placed.lhc.onnx")
    inputs = {name: np.asarray(values) for name, values in branch_task().inputs.items()}
    (session,) = HybridSession(path).run(None, inputs)
    (compiled,) = lhc.compile(path).run(None, inputs)
    assert np.abs(compiled - session).max() <= 1e-5 * np.abs(session).max()


def test_arithmetic_without_a_high_precision_raises_nothing() -> None:
    with pytest.raises(ValueError, match="raised: there is no high_precision"):
        DigitalArithmetic(precision="int8", raised=("a",))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"precision": "bf16", "high_precision": "int8"}, "Input should be"),
        ({"precision": "fp32", "high_precision": "bf16"}, "bf16 is not above fp32"),
        ({"precision": "as-file", "high_precision": "fp32"}, "there is no lower one"),
        ({"range_quantile": 0.4}, "greater than 0.5"),
    ],
    ids=["no high one", "below", "as-file", "quantile"],
)
def test_sections_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DigitalCores(**fields)
