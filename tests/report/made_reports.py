"""Models that are placed without measuring, plans with made-up numbers, and a report that has every section."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import numpy_helper

from lhc import __version__
from lhc.hardware import Hardware
from lhc.onnx_io import annotate, load_model, read_graph
from lhc.passes import Qualify, initial_plan
from lhc.plan import Outcome, OutputOutcome, Plan, Sensitivity
from lhc.report.document.builder import build_report, over_time
from lhc.report.document.report import Report
from lhc.results import (
    AtScale,
    AtTime,
    Attribution,
    Calibration,
    Evaluation,
    FeasibleRegion,
    Front,
    FrontPoint,
    Infeasibility,
    LayerAttribution,
    RegionLine,
    RegionPoint,
    Remedy,
    Robustness,
    VariedField,
)


def place(proto: onnx.ModelProto, analog: Callable[[int], bool]) -> tuple[onnx.ModelProto, Plan]:
    """Annotate a model without measuring it: candidates that may be analog are so by their number."""
    model = load_model(proto)
    graph = read_graph(model)
    start = initial_plan(graph, Hardware.load("lionheart"), model.source, __version__)
    plan = Qualify().run(graph, start).plan
    plan = plan.decide(
        {
            name: ("analog", "budget", "within it") if analog(index) else ("digital", "sensitivity", "too much of it")
            for index, name in enumerate(plan.eligible)
        }
    )
    return annotate(model, plan, graph), plan


def transformer(blocks: int, prefix: str = "") -> onnx.ModelProto:
    """Blocks of eight products each, two of which have no constant weights, one more at either end."""
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    rng = np.random.default_rng(0)

    def matmul(name: str, source: str, target: str, rows: int = 4, cols: int = 4) -> None:
        weights.append(numpy_helper.from_array(rng.normal(size=(rows, cols)).astype(np.float32), f"w{len(weights)}"))
        nodes.append(onnx.helper.make_node("MatMul", [source, weights[-1].name], [target], f"{prefix}/{name}/MatMul"))

    matmul("embed", "x", "t0")
    for b in range(blocks):
        at, t = f"blocks.{b}", f"t{b}"
        for part in "qkv":
            matmul(f"{at}/attn/{part}_proj", t, f"{t}{part}")
        nodes.append(onnx.helper.make_node("Transpose", [f"{t}k"], [f"{t}kt"], f"{at}/attn/Transpose", perm=[0, 2, 1]))
        nodes.append(onnx.helper.make_node("MatMul", [f"{t}q", f"{t}kt"], [f"{t}s"], f"{prefix}/{at}/attn/MatMul"))
        nodes.append(onnx.helper.make_node("MatMul", [f"{t}s", f"{t}v"], [f"{t}a"], f"{prefix}/{at}/attn/MatMul_1"))
        matmul(f"{at}/attn/out_proj", f"{t}a", f"{t}o")
        matmul(f"{at}/mlp/fc1", f"{t}o", f"{t}f", 4, 8)
        matmul(f"{at}/mlp/fc2", f"{t}f", f"t{b + 1}", 8, 4)
    matmul("head", f"t{blocks}", "y")
    value = onnx.helper.make_tensor_value_info
    inputs, outputs = (value(name, onnx.TensorProto.FLOAT, ["N", 6, 4]) for name in "xy")
    graph = onnx.helper.make_graph(nodes, "transformer", [inputs], [outputs], weights)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def evaluated(mean: float, t_s: float = 86400.0) -> Evaluation:
    """An evaluation of accuracy, 0.9 digital, on two chips."""
    drop = 0.9 - mean
    return Evaluation(
        metric="accuracy",
        percent=True,
        baseline=0.9,
        values=(mean - 0.01, mean + 0.01),
        mean=mean,
        std=0.01,
        interval=(mean - 0.02, mean + 0.02),
        drop=drop,
        drop_interval=(drop - 0.02, drop + 0.02),
        sample_interval=(drop - 0.03, drop + 0.03),
        drops=(drop - 0.01, drop + 0.01),
        samples=500,
        seed=0,
        t_s=t_s,
        confidence=0.9,
    )


def box_outcome(drop: float, interval: tuple[float, float]) -> OutputOutcome:
    """Verdict of a further output, whose error may rise by 0.05."""
    return OutputOutcome(
        output="box",
        metric="nmse",
        percent=False,
        baseline=0.0,
        value=drop,
        drop=drop,
        interval=interval,
        max_drop=0.05,
        within_budget=interval[1] <= 0.05,
        higher_is_better=False,
    )


def judged(proto: onnx.ModelProto, plan: Plan) -> tuple[onnx.ModelProto, Plan]:
    """A placed model with made-up sensitivities, and judged: 90 % digital, 88.8 % mapped, 3 points allowed."""
    found = {
        layer.name: Sensitivity(metric="kl", mean=m, std=m / 4, interval=(m / 2, 2 * m), draws=4)
        for index, layer in enumerate(plan.layers)
        if layer.reason in ("budget", "sensitivity") and (m := 0.5 / (1 + index % 17) ** 2)
    }
    outcome = Outcome(
        metric="accuracy",
        percent=True,
        baseline=0.9,
        value=0.888,
        drop=0.012,
        interval=(0.006, 0.018),
        chip_interval=(0.006, 0.018),
        sample_interval=(-0.004, 0.028),
        confidence=0.94,
        chips_within=1.0,
        max_drop=0.03,
        drop_type="absolute",
        within_budget=True,
        held_out=True,
        samples=250,
        draws=10,
        seed=0,
        t_s=86400.0,
        strategy="sensitivity",
        data="0" * 64,
    )
    plan = plan.with_sensitivities(found).model_copy(update={"outcome": outcome})
    model = load_model(proto)
    return annotate(model, plan, read_graph(model)), plan


def made_region() -> FeasibleRegion:
    """A region over noise and bits, of which less and more are better."""
    points = (
        RegionPoint((1.0, 4.0), "not shown", evaluated(0.875), 0.9),
        RegionPoint((2.0, 4.0), "broken", evaluated(0.7), 0.9),
        RegionPoint((1.0, 8.0), "shown", evaluated(0.89), 0.9),
        RegionPoint((2.0, 8.0), "shown", evaluated(0.885), 0.9),
    )
    fields = VariedField("adc.noise", (1.0, 1.5, 2.0), 1.0, False), VariedField("adc.bits", (4.0, 8.0), 8.0)
    lines = RegionLine(4.0, None, 1.0), RegionLine(8.0, 2.0, None)
    return FeasibleRegion(0.03, "absolute", fields, points, lines)


def full_report(annotated: onnx.ModelProto, plan: Plan) -> Report:
    """A report with every section."""
    graph = read_graph(load_model(annotated))
    names = tuple(sorted(plan.analog))
    times = over_time(evaluated(0.89 - 0.004 * n, t) for n, t in enumerate((0.0, 3600.0, 86400.0, 3.2e7)))
    points = tuple(
        FrontPoint(names[:n], 0.1 * n, n, 1e-3 / n, 1e-6 / n, 0.01 * n, 0.005 * n, evaluated(0.9 - 0.006 * n))
        for n in range(1, 5)
    )
    scales = tuple(AtScale(s, evaluated(0.9 - 0.012 * s), s < 2) for s in (0.5, 1.0, 2.0))
    damage = Sensitivity(metric="kl", mean=0.02, std=0.001, interval=(0.018, 0.022), draws=4)
    parts = LayerAttribution(damage, {"programming": damage, "ADC": damage}, damage)
    return build_report(
        "full.lhc.onnx",
        plan,
        graph,
        front=Front("macs", {}, "kl", points, True, Calibration(1.2, 0.1, 4), True),
        robustness=Robustness(
            0.03,
            "absolute",
            tuple(AtTime(point.evaluation, 1.1, (1.0, 1.3)) for point in times),
            evaluated(0.888),
            0.95,
            scales,
            1.0,
            2.0,
        ),
        region=made_region(),
        attribution=Attribution("kl", {names[0]: parts}, 250, 4, 0, 86400.0, 0.9),
        infeasibility=Infeasibility(
            names,
            evaluated(0.87),
            0.05,
            names[:2],
            evaluated(0.89),
            (Remedy("adc.bits 8 -> 10", names, evaluated(0.89), True),),
        ),
        notes=("a note",),
        versions={"lhc": "0.1.0", "numpy": "2.2"},
        commands=("lhc partition full.onnx --data 'my data.npz'",),
    )
