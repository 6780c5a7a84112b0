"""``lhc.report``: the results of a placed model as a report. Measures nothing."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from lhc.errors import ModelError, UsageError
from lhc.graph import LayerGraph
from lhc.onnx_io import compiled_note, read_plan
from lhc.onnx_model import ModelSource, all_nodes
from lhc.pipeline.analysis_and_partition_results import PartitionResult
from lhc.pipeline.inputs.model_source import LoadedModel, open_model
from lhc.pipeline.plan_table import graph_of_plan
from lhc.plan import Plan
from lhc.report.document.builder import ReportParts, build_report, over_time
from lhc.report.document.report import Report
from lhc.report.exports.formats import read_report
from lhc.report.store import newest_front, newest_report, store_report, with_stored
from lhc.results import Attribution, Evaluation, FeasibleRegion, Front, Infeasibility, Robustness
from lhc.runtime.environment_fingerprint import environment

ReportSource: TypeAlias = PartitionResult | ModelSource
"""A result, an annotated model, a folder of results, or a report as JSON."""


def report(
    source: ReportSource,
    *,
    name: str | None = None,
    times: Iterable[Evaluation] = (),
    front: Front | None = None,
    robustness: Robustness | None = None,
    region: FeasibleRegion | None = None,
    attribution: Attribution | None = None,
    infeasibility: Infeasibility | None = None,
    command: str = "",
    work_dir: str | Path | None = None,
) -> Report:
    """The report of a placed model, without measuring anything.

    Args:
        source: what `partition` returned, an annotated model, a report that was saved as JSON, or a folder of results
            (``work_dir``), whose newest report it is.
        name: how the model is called; as its file by default.
        times: the placement evaluated at several times after programming.
        work_dir: folder of results: what was measured of the same plan before, and the front of its network, are taken
            from there, and what is given here, or by a result, is kept there. None: nowhere.

    Raises:
        UsageError: the model carries no placement, or the folder no report; or parts are given for a saved report.
        ConfigError: a report that cannot be read.
        ModelError: the model cannot be read.
    """
    evaluations = tuple(times)
    if isinstance(source, str | Path) and (Path(source).is_dir() or str(source).lower().endswith(".json")):
        parts: dict[str, object] = {"name": name, "times": evaluations, "front": front, "robustness": robustness}
        parts |= {"region": region, "attribution": attribution, "infeasibility": infeasibility, "command": command}
        if given := [part for part, value in parts.items() if value]:
            raise UsageError(
                f"{', '.join(given)}: {source} is a report that was saved, and nothing is added to it; give the model"
                " that carries the placement"
            )
        return newest_report(Path(source))[0] if Path(source).is_dir() else read_report(Path(source))
    found: ReportParts = {
        "times": over_time(evaluations),
        "front": front,
        "robustness": robustness,
        "region": region,
        "attribution": attribution,
        "infeasibility": infeasibility,
        "commands": (command,) if command else (),
    }
    measured = isinstance(source, PartitionResult) or any((evaluations, robustness, region, attribution, command))
    if measured:
        found["versions"] = environment()
    folder = None if work_dir is None else Path(work_dir)
    plan, opened = planned(source)
    made = _made(source, plan, opened, name, found, folder)
    changed = not isinstance(source, PartitionResult) and plan.source != opened.model.source
    if folder is None or (measured and changed):  # figures of another network are not those of this placement
        return made
    return store_report(folder, made) if measured else with_stored(folder, made)


report_of = report
"""Its name in Python before it had that of the command."""


def _made(
    source: ReportSource, plan: Plan, opened: LoadedModel, name: str | None, found: ReportParts, folder: Path | None
) -> Report:
    """The report, with what a result tells besides, and the front that was measured last."""
    if isinstance(source, PartitionResult):
        graph, found["notes"] = source.facts, source.notes
        found["infeasibility"] = found.get("infeasibility") or source.infeasibility
    else:
        graph = _graph(opened, plan)
    if folder is not None and found.get("front") is None:
        found["front"] = newest_front(folder, plan)
    found["warnings"] = _warnings(opened, plan, graph)
    operators = sum(1 for _ in all_nodes(opened.model.in_file.graph))  # of the network as the user knows it
    return build_report(name or Path(opened.model.label).name, plan, graph, operators=operators, **found)


def planned(source: PartitionResult | ModelSource) -> tuple[Plan, LoadedModel]:
    """The plan that a result or a model carries, and the network."""
    if isinstance(source, PartitionResult):
        return source.plan, LoadedModel(source.source, None)
    opened = open_model(source)
    plan = read_plan(opened.model)
    if plan is None:
        raise UsageError(f"{opened.model.label}: no lhc annotations; 'lhc partition' makes them")
    return plan, opened.split_as(plan)


def _graph(opened: LoadedModel, plan: Plan) -> LayerGraph:
    """The layers; without sizes where the file leaves them open, and costs are not known then."""
    try:
        graph = opened.graph_as_placed(plan)
    except ModelError:
        return graph_of_plan(plan)
    there = {layer.name for layer in graph.multiplying}
    return graph if there.issuperset(layer.name for layer in plan.layers) else graph_of_plan(plan)


def _warnings(opened: LoadedModel, plan: Plan, graph: LayerGraph) -> tuple[str, ...]:
    name = Path(opened.model.label).name
    if (compiled := compiled_note(opened.model)) is not None:
        return (f"{name}: {compiled}.",)
    if plan.source != opened.model.source:
        return (f"{name} has changed since lhc annotated it: the figures are those of the earlier network.",)
    planned = {layer.name for layer in plan.layers}
    left = [layer.name for layer in graph.multiplying if layer.name not in planned]
    if not left:
        return ()
    what = f"shares of MACs leave out what multiplies in other operators, e.g. {left[0]}"
    return (f"{name} was annotated by an earlier lhc: {what}; 'lhc partition' counts it.",)
