"""Number formats of digital products: what int8 takes is told, and mended where the machine has a higher one."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import lhc
from lhc.hardware import DigitalCores, Hardware
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
    assert "(without tiles, in int8: mean drop " in partition_head(result)


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
