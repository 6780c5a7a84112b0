"""JSON documents and closing lines of the sub-commands. The fields are a contract; see docs/command-line.md."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lhc.cli.cost_lines import cost_line
from lhc.graph import CANDIDATE_OPS
from lhc.model import OnnxModel
from lhc.onnx_io import compiled_note, contradictions, read_plan
from lhc.passes import STRATEGIES
from lhc.plan import LayerPlan, Outcome, Plan
from lhc.report.text import (
    chips_text,
    drop_unit,
    drop_value,
    interval_text,
    level_text,
    metric_value,
    points,
    share_text,
    time_text,
)
from lhc.results import Evaluation, SensitivityTable
from lhc.samples.task import DataSource
from lhc.study.outcome import Analysis, PartitionResult
from lhc.study.source import Opened
from lhc.support.tables import Table

__all__ = [
    "agreement",
    "analysis",
    "evaluation_footer",
    "evaluation_table",
    "evaluations",
    "has_labels",
    "inspection",
    "inspection_footer",
    "outcome_text",
    "partition",
    "sensitivity",
    "tell_ranking",
    "tell_renamed",
    "totals_line",
    "warn_if_doubtful",
]

Document = dict[str, object]
NOTHING = "nothing to place: the model has no MatMul, Gemm or Conv"


def analysis(result: Analysis) -> Document:
    """Of ``lhc analyze``."""
    keys = (
        "name",
        "op_type",
        "module",
        "block",
        "reason",
        "detail",
        "macs",
        "activation_macs",
        "counted",
        "parameters",
    )
    layers = [
        {"eligible": layer.reason == "eligible"}
        | {key: getattr(layer, key) for key in (*keys, "tiles")}
        | {"mac_fraction": layer.macs / (result.plan.macs or 1)}
        for layer in result.plan.layers
    ]
    blocks = [
        {
            "block": block,
            "layers": [layer.name for layer in inside],
            "eligible": sum(layer.reason == "eligible" for layer in inside),
            "macs": sum(layer.macs for layer in inside),
            "activation_macs": sum(layer.activation_macs for layer in inside),
            "tiles": result.block_tiles(block),
        }
        for block, inside in result.blocks().items()
    ]
    return {
        "hardware": result.plan.hardware.name,
        "layers": layers,
        "blocks": blocks,
        "example_shapes": result.example,
        "totals": {
            "macs": result.plan.macs,
            "activation_macs": result.plan.activation_macs,
            "eligible_mac_fraction": result.eligible_mac_fraction,
            "uncounted": result.plan.uncounted,
            "candidates": len(result.plan.layers),
            "eligible": len(result.plan.eligible),
            "tiles": result.tiles,
        },
    }


def totals_line(result: Analysis) -> str:
    """The line under the table of ``lhc analyze``."""
    lines = [] if _has_products(result.plan) else [NOTHING]
    if result.plan.layers:
        lines.append(result.totals)
    return "\n".join([*lines, *filter(None, [result.example_note])])


def _has_products(plan: Plan) -> bool:
    return any(layer.op_type in CANDIDATE_OPS for layer in plan.layers)


def sensitivity(table: SensitivityTable) -> Document:
    """Of ``lhc sensitivity``."""
    layers = [{"name": name, **s.model_dump(exclude={"metric"})} for name, s in table.layers.items()]
    return {
        "metric": table.metric,
        "samples": table.samples,
        "draws": table.draws,
        "seed": table.seed,
        "t_s": table.t_s,
        "confidence": table.confidence,
        "agreement": agreement(table),
        "layers": layers,
    }


def agreement(table: SensitivityTable | None) -> Document | None:
    """How predicted sensitivities compare with those measured to check them."""
    found = None if table is None else table.agreement
    if found is None:
        return None
    layers = [{"name": name, "predicted": p, "measured": m} for name, (p, m) in found.layers.items()]
    return {"correlation": found.correlation, "ratio": found.ratio, "good": found.good, "layers": layers}


def tell_ranking(table: SensitivityTable, tell: Callable[[str], None]) -> None:
    """Say how predicted sensitivities compare with measured ones, and why they were not used."""
    for note in (*([] if table.agreement is None else [str(table.agreement)]), *table.notes):
        tell(f"note: {note}")


def _layer(layer: LayerPlan) -> Document:
    analog = layer.placement == "analog"
    return {
        "name": layer.name,
        "op_type": layer.op_type,
        "placement": layer.placement,
        "reason": layer.reason,
        "detail": layer.detail,
        "sensitivity": None if layer.sensitivity is None else layer.sensitivity.model_dump(),
        "macs": layer.macs,
        "activation_macs": layer.activation_macs,
        "counted": layer.counted,
        "parameters": layer.parameters,
        "tiles": layer.tiles if analog else 0,
    }


def _plan(plan: Plan) -> Document:
    outcome = plan.outcome
    document: Document = {"hardware": plan.hardware.name, "layers": [_layer(layer) for layer in plan.layers]}
    document["analog_mac_fraction"] = plan.analog_mac_fraction
    document |= {"macs": plan.macs, "activation_macs": plan.activation_macs, "uncounted": plan.uncounted}
    if outcome is None:
        return document
    names = (
        "within_budget",
        "held_out",
        "chips_within",
        "max_drop",
        "drop_type",
        "strategy",
        "confidence",
        "generalized",
        "objective",
        "limits",
        "limits_kept",
        "groups",
        "evaluations",
    )
    return document | {
        "baseline": {"metric": outcome.metric, "value": outcome.baseline},
        "result": {
            "value": outcome.value,
            "drop": outcome.drop,
            "interval": outcome.interval,
            "chip_interval": outcome.chip_interval,
            "sample_interval": outcome.sample_interval,
        },
        **{name: getattr(outcome, name) for name in names},
        "estimate": None if outcome.estimate is None else outcome.estimate.model_dump(),
        **{name: getattr(outcome, name) for name in ("samples", "draws", "seed", "t_s")},
        "retrained": None if outcome.retrained is None else outcome.retrained.model_dump(mode="json"),
    }


def partition(result: PartitionResult) -> Document:
    """Of ``lhc partition``."""
    document = {"tiles": result.plan.tiles(result.graph), "summary": result.summary}
    return _plan(result.plan) | document | {"agreement": agreement(result.ranking)}


def outcome_text(result: PartitionResult) -> str:
    """The closing lines of ``lhc partition``; the last is the summary."""
    outcome = result.plan.outcome
    lines = []
    if outcome is not None and result.plan.layers:
        value, baseline = (metric_value(v, outcome.percent) for v in (outcome.value, outcome.baseline))
        after = f"{time_text(outcome.t_s)} after programming"
        held_out = "held out from the search" if outcome.held_out else "not held out: fewer than 400 samples"
        lines += [
            f"digital {outcome.metric} {baseline}, mapped {value} on {outcome.samples} samples ({held_out}),",
            f"{outcome.draws} chips not seen in the search, {after}, seed {outcome.seed}",
            *_interval_lines(outcome),
            f"the budget is of the mean over chips; {chips_text(outcome.chips_within, outcome.draws)}",
            *_estimate_lines(outcome),
        ]
    if not _has_products(result.plan):
        lines.append(f"{NOTHING}; all digital")
    elif result.cost is not None and result.digital_cost is not None:
        lines += [*_objective_lines(outcome), cost_line(result.cost, result.digital_cost)]
    return "\n".join([*lines, result.summary])


def _objective_lines(outcome: Outcome | None) -> list[str]:
    """What the search was after; nothing where a rule or the user placed the layers."""
    known = None if outcome is None else STRATEGIES.get(outcome.strategy)
    if outcome is None or known is None or not known.searches:
        return []
    if outcome.objective == "macs":
        return ["objective macs: most MACs on tiles, whatever they cost there"]
    return [
        f"objective {outcome.objective}: no layer is on tiles that takes more {outcome.objective} there than it saves"
    ]


def _estimate_lines(outcome: Outcome) -> list[str]:
    """What the sum of the sensitivities said beforehand, beside what was found."""
    found = outcome.estimate
    if found is None:
        return []
    predicted, drop = points(outcome, found.predicted_drop), points(outcome, outcome.drop)
    error = (
        f"the {found.placements} placements judged in the search were {share_text(found.spread, 0)} off on average"
        if found.placements > 1
        else "the estimate rests on one placement judged in the search, which cannot say how far off it is"
    )
    return [f"estimated drop {predicted}, verified {drop} ({error})"]


def _interval_lines(outcome: Outcome) -> list[str]:
    """Both intervals of the mean drop, which of them decides, and their level once."""
    both = (
        ("other chips, these samples", outcome.chip_interval, not outcome.generalized),
        ("other chips, other samples", outcome.sample_interval, outcome.generalized),
    )
    lines = []
    for what, interval, decides in both:
        lines.append(f"mean drop for {what}: {interval_text(outcome, interval)}{' (decides)' if decides else ''}")
    return [*lines, f"both are {level_text(outcome.confidence)} intervals"]


def evaluations(results: Sequence[Evaluation]) -> Document:
    """Of ``lhc run``."""
    first = results[0]
    times = [{"t_s": e.t_s, "mean": e.mean, "std": e.std, "interval": e.interval, "drop": e.drop} for e in results]
    return {
        "digital": {"metric": first.metric, "value": first.baseline},
        "samples": first.samples,
        "draws": first.draws,
        "seed": first.seed,
        "times": times,
    }


def evaluation_table(results: Sequence[Evaluation]) -> Table:
    """Rows of ``lhc run``, one a time."""
    first = results[0]
    rows = []
    for e in results:
        bounds = "-" if e.interval is None else f"[{', '.join(metric_value(b, e.percent) for b in e.interval)}]"
        rows.append(
            [
                time_text(e.t_s),
                metric_value(e.mean, e.percent),
                metric_value(e.std, e.percent),
                bounds,
                drop_value(e.drop, e.percent),
            ]
        )
    return Table(
        [
            "time",
            first.metric,
            "std",
            f"{level_text(first.confidence)} interval over chips",
            f"drop{drop_unit(first.percent, 'absolute', first.metric)}",
        ],
        rows,
        right=(0, 1, 2, 4),
    )


def evaluation_footer(results: Sequence[Evaluation]) -> str:
    """The line under the table of ``lhc run``."""
    first = results[0]
    digital = f"digital {first.metric} {metric_value(first.baseline, first.percent)}"
    return f"{digital}; {first.draws} draws, {first.samples} samples, seed {first.seed}"


def inspection(model: OnnxModel, plan: Plan) -> Document:
    """Of ``lhc inspect``, for a model that carries a plan."""
    return {
        "annotated": True,
        "stale": compiled_note(model) is None and plan.source != model.source,
        "summary": _summary(model),
    } | _plan(plan)


def inspection_footer(model: OnnxModel, plan: Plan) -> str:
    """The lines under the table of ``lhc inspect``."""
    return f"hardware {plan.hardware.name}, annotated by lhc {plan.lhc_version}\n{_summary(model)}"


def _summary(model: OnnxModel) -> str:
    return next((e.value for e in model.proto.metadata_props if e.key == "lhc.summary"), "")


def warn_if_doubtful(model: OnnxModel, tell: Callable[[str], None]) -> None:
    """Say so where the model has changed since it was annotated, or its annotations contradict each other."""
    plan = read_plan(model)
    if plan is None:
        return
    compiled = compiled_note(model)
    if compiled is not None:
        tell(f"note: {model.label}: {compiled}")
    elif plan.source != model.source:
        tell(f"warning: {model.label} has changed since lhc annotated it; 'lhc partition' judges it again")
    found = contradictions(model, plan)
    for problem in found[:5]:
        tell(f"warning: {model.label}: {problem}")
    if len(found) > 5:
        tell(f"warning: and {len(found) - 5} more contradictions; lhc.plan is what counts")


def tell_renamed(renamed: Sequence[tuple[str, str]], tell: Callable[[str], None]) -> None:
    """Say which nodes were given a name: the first few, and how many more."""
    for old, new in renamed[:5]:
        what = f"a second node called {old!r}" if old else "a node without a name"
        tell(f"note: {what} is now called {new!r}")
    if len(renamed) > 5:
        tell(f"note: and {len(renamed) - 5} more nodes were given a name")


def has_labels(opened: Opened, data: DataSource | None, label_key: str) -> bool:
    """Whether the samples come with targets."""
    if data is None:
        return opened.entry is not None
    if isinstance(data, str | Path) and zipfile.is_zipfile(data):
        with zipfile.ZipFile(data) as archive:
            return f"{label_key}.npy" in archive.namelist()
    return isinstance(data, Mapping) and label_key in data
