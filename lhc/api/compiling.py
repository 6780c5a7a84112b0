"""From a network to ONNX files that run where lhc is not installed."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lhc import __version__
from lhc.api.placing import partition
from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.measure.data import DataSource
from lhc.metrics import UNCHOSEN
from lhc.model import OnnxModel
from lhc.onnx_io import read_graph, read_plan, refuse_compiled
from lhc.opening import ModelSource, Opened, open_model
from lhc.outcomes import PartitionResult
from lhc.passes import Qualify, initial_plan
from lhc.plan import Plan, Reason
from lhc.preparing import HardwareSource, Request, check_analog, check_machine, prepare_run

if TYPE_CHECKING:
    from lhc.lowering import CompiledModel

__all__ = ["Placed", "compile", "compile_draws", "placed", "split"]

log = logging.getLogger("lhc")

Placement = Plan | Iterable[str] | Literal["all-analog"]
Shapes = Mapping[str, tuple[int, ...]]
Decision = tuple[Literal["analog", "digital"], Reason, str]


@dataclass(frozen=True, eq=False)
class Placed:
    """A network with its placement.

    Attributes:
        model: the network.
        graph: its layers.
        plan: the placement, on which hardware.
        result: of the search, where one was made.
    """

    model: OnnxModel
    graph: LayerGraph
    plan: Plan
    result: PartitionResult | None = None


def compile(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    placement: Placement | None = None,
    hardware: HardwareSource | None = None,
    seed: int = 0,
    draw: int = 0,
    t_inference: float | None = None,
    noise: str = "on",
    shapes: Shapes | None = None,
    label_key: str = "labels",
    **options: object,
) -> "CompiledModel":
    """A network on one chip as an ordinary ONNX model, which runs and saves itself.

    Args:
        model: the network; one without a placement is partitioned first.
        data: samples to partition with, or to calibrate static ranges; an annotated model needs none.
        placement: the model's annotations by default; else a plan, names of layers or ``"all-analog"``.
        hardware: that of the annotations, else ``lionheart``.
        seed: fixes the devices, as in `lhc.evaluate`.
        draw: number of the programming.
        t_inference: seconds after the first read; the hardware's own by default.
        noise: ``on`` draws output noise whenever the model runs; ``off`` leaves it out; ``input`` reads it from one
            more input of the model for every analog layer.
        shapes: of inputs that the model leaves open, where names of layers or ``"all-analog"`` are given and no samples
            tell them.
        label_key: key of the targets in the data.
        options: of `lhc.partition`.

    Raises:
        UsageError: an argument that makes no sense; samples are needed and not given.
        ModelError: the model cannot be read or placed, or not converted as its noise needs it.
    """
    from lhc.lowering import noise_mode

    mode = noise_mode(noise)
    found = placed(
        model,
        data,
        placement=placement,
        hardware=hardware,
        seed=seed,
        t_inference=t_inference,
        shapes=shapes,
        label_key=label_key,
        **options,
    )
    return next(compile_draws(found, [draw], seed=seed, t_inference=t_inference, noise=mode))


def compile_draws(
    found: Placed, draws: Sequence[int], *, seed: int = 0, t_inference: float | None = None, noise: str = "on"
) -> "Iterator[CompiledModel]":
    """The same network on several chips, one after the other; arguments are those of `compile`."""
    from lhc.lowering import compile_chips, noise_mode

    mode = noise_mode(noise)
    return compile_chips(found.model, found.graph, found.plan, seed=seed, draws=draws, t_s=t_inference, noise=mode)


def split(
    model: ModelSource,
    folder: str | Path,
    data: DataSource | None = None,
    *,
    placement: Placement | None = None,
    hardware: HardwareSource | None = None,
    seed: int = 0,
    draw: int = 0,
    t_inference: float | None = None,
    shapes: Shapes | None = None,
    label_key: str = "labels",
    **options: object,
) -> dict[str, object]:
    """Write a network's digital and analog sub-models, with an index and the conductances, for other back ends.

    Args:
        model: the network; arguments but the next are those of `compile`.
        folder: where to; new or empty.
        data: as in `compile`.
        placement: as in `compile`.
        hardware: as in `compile`.
        seed: as in `compile`.
        draw: as in `compile`.
        t_inference: as in `compile`.
        shapes: as in `compile`.
        label_key: as in `compile`.
        options: of `lhc.partition`.

    Returns:
        The index, as in ``index.json``.
    """
    from lhc.lowering import Chip, check_split_output
    from lhc.lowering import split as write

    check_split_output(Path(folder))
    found = placed(
        model,
        data,
        placement=placement,
        hardware=hardware,
        seed=seed,
        t_inference=t_inference,
        shapes=shapes,
        label_key=label_key,
        **options,
    )
    return write(found.model, found.graph, found.plan, Path(folder), Chip(seed, draw, t_inference))


def placed(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    placement: Placement | None = None,
    hardware: HardwareSource | None = None,
    seed: int = 0,
    t_inference: float | None = None,
    shapes: Shapes | None = None,
    label_key: str = "labels",
    **options: object,
) -> Placed:
    """A network with its placement: as given, as annotated, or searched; arguments are those of `compile`.

    ``shapes`` are full shapes of inputs that the model leaves open, where no samples tell them.
    """
    opened = open_model(model, data, label_key)
    refuse_compiled(opened.model)
    annotated = read_plan(opened.model) if placement is None else None
    of_search = sorted(set(options) - {"progress"})
    if of_search and (placement is not None or annotated is not None):
        raise UsageError(
            f"{', '.join('--' + name.replace('_', '-') for name in of_search)}: the search for a placement uses that,"
            " and here it is given; leave it out"
        )
    if shapes and (isinstance(placement, Plan) or annotated is not None):
        raise UsageError(
            "--shape: not needed where the placement is that of a plan or of the model's annotations, which name every"
            " layer; leave it out"
        )
    if isinstance(placement, Plan):
        return _planned(opened, placement, hardware)
    if annotated is not None:
        return _planned(opened, annotated, hardware)
    machine = Hardware.load("lionheart" if hardware is None else hardware)
    if placement is None:
        if shapes:
            raise UsageError(
                "--shape goes with --all-analog or another given placement; for a search, the samples tell the shapes"
            )
        search: dict[str, object] = {"hardware": machine, "seed": seed, "t_inference": t_inference, **options}
        result = partition(opened, data, label_key=label_key, **search)  # type: ignore[arg-type]  # checked there
        return Placed(result.source, result.graph, result.plan, result)
    return _named(opened, data, placement, machine, shapes, label_key)


def _planned(opened: Opened, plan: Plan, hardware: HardwareSource | None) -> Placed:
    if hardware is not None and Hardware.load(hardware) != plan.hardware:
        raise UsageError(
            f"{opened.model.label}: placed for hardware {plan.hardware.name!r}; for another one partition it again"
        )
    if plan.source != opened.model.source:
        log.warning("%s has changed since lhc placed it; 'lhc partition' judges it again", opened.model.label)
    return Placed(opened.model, read_graph(opened.model, sizes=False), plan)


def _named(
    opened: Opened,
    data: DataSource | None,
    placement: Iterable[str] | str,
    machine: Hardware,
    shapes: Shapes | None,
    label_key: str,
) -> Placed:
    """The layers that the user names, or all."""
    if machine.needs_calibration:
        work, analog, _ = prepare_run(
            # The metric scores nothing here, and takes any output and targets.
            Request(opened, data, metric="nmse", hardware=machine, draws=1, label_key=label_key),
            placement,
            None,
        )
        graph, plan = work.graph, work.plan
    else:
        graph = opened.graph(shapes, None if data is None else opened.task(data, UNCHOSEN, 1, label_key))
        check_machine(machine, graph)
        plan = Qualify().run(graph, initial_plan(graph, machine, opened.model.source, __version__)).plan
        named = plan.eligible if placement == "all-analog" else placement
        wanted = frozenset([named] if isinstance(named, str) else named)
        analog = check_analog(wanted, plan, opened.model.label)
    decisions: dict[str, Decision] = {
        name: ("analog" if name in analog else "digital", "forced", "fixed by the user") for name in plan.eligible
    }
    return Placed(opened.model, graph, plan.decide(decisions))
