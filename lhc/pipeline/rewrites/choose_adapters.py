"""Put adapters beside the analog layers of a network, to be trained instead of its weights.

Where the user names a share of the weights, layers have one by what they do alone for what their adapter costs:
predicted damage over rank x (inputs + outputs), from the greatest on.
"""

from collections.abc import Collection
from dataclasses import replace

from lhc.errors import ModelError, UsageError
from lhc.graph import LayerGraph
from lhc.measure.sensitivity.fisher_prediction import fisher_sensitivity
from lhc.onnx_io import able_to_adapt, adapters_of, with_adapters
from lhc.options.training import TrainingOptions
from lhc.passes import qualified_plan
from lhc.passes.decide.user_selection import match_layers
from lhc.pipeline.inputs.model_source import LoadedModel
from lhc.pipeline.pipeline_state import PreparedNetwork, StateT
from lhc.plan import Plan, Retrained
from lhc.samples.task import Task
from lhc.support.number_formatting import counted, share_text


def adapted(state: StateT, analog: frozenset[str], settings: TrainingOptions, samples: Task) -> StateT:
    """The state of the network with adapters, which compute nothing yet, where they are what is trained.

    Adapters that the network has already stay.

    Args:
        state: the network as it was given.
        analog: the layers that may have an adapter.
        settings: rank of the adapters or their share of the weights, and which layers may have one.

    Raises:
        UsageError: the network has adapters of another rank, or a pattern matches no analog layer.
        ModelError: a named layer cannot have an adapter, or none can, or the network has no gradients to choose by.
    """
    rank = settings.adapter_rank
    if rank is None:
        return state
    found = adapters_of(state.model)
    if found:
        ranks = {matrix.rows for adapter in found if (matrix := state.graph[adapter.up].matrix) is not None}
        if settings.adapter_share is None and ranks != {rank}:
            has = ", ".join(map(str, sorted(ranks)))
            raise UsageError(f"--adapters {rank}: {state.model.label} has adapters of rank {has} already")
        return state
    if state.opened.control:
        held = ", ".join(map(repr, state.opened.control))
        raise UsageError(
            f"--adapters: {state.model.label} is placed in branches of If ({held}), which take no adapters"
        )
    names = _able(state, analog, settings, rank)
    if settings.adapter_share is not None:
        names = _affordable(state, names, rank, settings.adapter_share, samples)
    model = with_adapters(state.model, state.graph, names, rank, settings.seed)
    opened = LoadedModel(model, state.opened.entry, before=state.opened, told=state.opened.told)
    graph = opened.graph(None, state.task)
    return replace(state, opened=opened, graph=graph, plan=_extended(state.plan, graph, model.source))


def _able(state: PreparedNetwork, analog: frozenset[str], settings: TrainingOptions, rank: int) -> frozenset[str]:
    """Layers that may have an adapter: those that the user names, else all that can."""
    if settings.adapt:
        paths = {row.name: row.module or "" for row in state.plan.layers}
        return frozenset[str]().union(*(match_layers(p, sorted(analog), "--adapt", paths) for p in settings.adapt))
    able = able_to_adapt(state.model, state.graph, analog, rank)
    if not able:
        raise ModelError(f"{state.model.label}: no analog layer can have an adapter of rank {rank}")
    return able


def _affordable(
    state: PreparedNetwork, names: Collection[str], rank: int, share: float, samples: Task
) -> frozenset[str]:
    """Layers whose adapters pay most, together at most this share of the weights."""
    matrices = {name: matrix for name in names if (matrix := state.graph[name].matrix) is not None}
    costs = {name: rank * (matrix.rows + matrix.cols) for name, matrix in matrices.items()}
    weights = sum(row.parameters for row in state.plan.layers)
    if min(costs.values()) > share * weights:
        raise ModelError(
            f"{state.model.label}: the smallest adapter of rank {rank} has {share_text(min(costs.values()) / weights)}"
            f" of the {weights:,} weights, more than --adapters allows; name a rank instead"
        )
    evaluator = state.gradient_evaluator(samples)
    try:
        found = fisher_sensitivity(evaluator, state.graph, sorted(costs))
    except ModelError as error:
        raise ModelError(f"--adapters: layers are chosen by gradients; name a rank instead: {error}") from error
    chosen, room = set(), share * weights
    for name in sorted(costs, key=lambda name: -found.table.layers[name].mean / costs[name]):
        if costs[name] <= room:
            chosen.add(name)
            room -= costs[name]
    return frozenset(chosen)


def _extended(plan: Plan, graph: LayerGraph, source: str) -> Plan:
    """The plan with rows for the adapters, digital; the other decisions stay."""
    fresh = qualified_plan(graph, plan.hardware, source)
    known = {row.name: row for row in plan.layers}
    rows = (
        known[row.name].model_copy(update={"output": row.output}) if row.name in known else row for row in fresh.layers
    )
    return plan.model_copy(update={"source": source, "layers": tuple(rows)})


def adapters_note(state: PreparedNetwork, record: Retrained) -> str:
    """Note on adapters: their number, and their cost in weights."""
    adapters = adapters_of(state.model)
    rows = {row.name: row.parameters for row in state.plan.layers}
    own = sum(rows[name] for adapter in adapters for name in (adapter.down, adapter.up))
    others = sum(rows.values()) - own
    return (
        f"{counted(len(adapters), 'adapter')} of rank {record.adapters}, {own:,} weights"
        f" ({share_text(own / others)} of the {others:,} that are multiplied), computed digitally; all other weights"
        " are as they were"
    )
