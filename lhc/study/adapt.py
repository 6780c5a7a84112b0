"""Put adapters beside the analog layers of a network, to be trained instead of its weights."""

from dataclasses import replace

from lhc.errors import ModelError, UsageError
from lhc.graph import LayerGraph
from lhc.onnx_io import able_to_adapt, adapters_of, with_adapters
from lhc.options.training import TrainingOptions
from lhc.passes import qualified_plan
from lhc.passes.select import match_layers
from lhc.plan import Plan, Retrained
from lhc.study.source import Opened
from lhc.study.state import Study
from lhc.support.numbers import counted, share_text

__all__ = ["adapted", "adapters_note"]


def adapted(study: Study, analog: frozenset[str], settings: TrainingOptions) -> Study:
    """The study of the network with adapters, which compute nothing yet, where they are what is trained.

    Adapters that the network has already stay.

    Args:
        study: the network as it was given.
        analog: the layers that may have an adapter.
        settings: rank of the adapters, and which layers have one.

    Raises:
        UsageError: the network has adapters of another rank, or a pattern matches no analog layer.
        ModelError: a named layer cannot have an adapter, or none can.
    """
    if settings.adapters is None:
        return study
    found = adapters_of(study.model)
    if found:
        ranks = {matrix.rows for adapter in found if (matrix := study.graph[adapter.up].matrix) is not None}
        if ranks != {settings.adapters}:
            has = ", ".join(map(str, sorted(ranks)))
            raise UsageError(f"--adapters {settings.adapters}: {study.model.label} has adapters of rank {has} already")
        return study
    if study.opened.control:
        held = ", ".join(map(repr, study.opened.control))
        raise UsageError(
            f"--adapters: {study.model.label} is placed in branches of If ({held}), which take no adapters"
        )
    model = with_adapters(study.model, study.graph, _chosen(study, analog, settings), settings.adapters, settings.seed)
    opened = Opened(model, study.opened.entry, before=study.opened, told=study.opened.told)
    graph = opened.graph(None, study.task)
    return replace(study, opened=opened, graph=graph, plan=_extended(study.plan, graph, model.source))


def _chosen(study: Study, analog: frozenset[str], settings: TrainingOptions) -> frozenset[str]:
    """Layers that get an adapter: those that the user names, else all that can have one."""
    assert settings.adapters is not None
    if settings.adapt:
        paths = {row.name: row.module or "" for row in study.plan.layers}
        return frozenset[str]().union(*(match_layers(p, sorted(analog), "--adapt", paths) for p in settings.adapt))
    able = able_to_adapt(study.model, study.graph, analog, settings.adapters)
    if not able:
        raise ModelError(f"{study.model.label}: no analog layer can have an adapter of rank {settings.adapters}")
    return able


def _extended(plan: Plan, graph: LayerGraph, source: str) -> Plan:
    """The plan with rows for the adapters, digital; the other decisions stay."""
    fresh = qualified_plan(graph, plan.hardware, source)
    known = {row.name: row for row in plan.layers}
    rows = (
        known[row.name].model_copy(update={"output": row.output}) if row.name in known else row for row in fresh.layers
    )
    return plan.model_copy(update={"source": source, "layers": tuple(rows)})


def adapters_note(study: Study, record: Retrained) -> str:
    """How many adapters there are, and what they cost in weights."""
    adapters = adapters_of(study.model)
    rows = {row.name: row.parameters for row in study.plan.layers}
    own = sum(rows[name] for adapter in adapters for name in (adapter.down, adapter.up))
    others = sum(rows.values()) - own
    return (
        f"{counted(len(adapters), 'adapter')} of rank {record.adapters}, {own:,} weights"
        f" ({share_text(own / others)} of the {others:,} that are multiplied), computed digitally; all other weights"
        " are as they were"
    )
