"""Choice of the hardware for a command, checked against the network, with warnings about what it leaves out."""

import logging
from collections.abc import Mapping
from difflib import get_close_matches

from pydantic import BaseModel

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.options.shared import HardwareChoice, MachineOptions
from lhc.passes.strategies.lionheart_retraining import LionHeartOriginal
from lhc.plan import Plan
from lhc.support.documentation_links import page

log = logging.getLogger("lhc")

_DESCRIBED: Mapping[str, tuple[str, ...]] = {
    "tiles": ("rows", "cols"),
    "dac": ("bits", "bound", "scaling"),
    "adc": ("bits", "bound", "noise", "bound_management"),
    "devices": (),
    "compensation": ("drift", "copies", "outputs"),
    "t_inference_s": (),
    "digital": ("precision",),
    "costs": (),
}
"""Sections and fields of a machine that its figures rest on, and for which there are defaults that are not off."""


def named_hardware(options: HardwareChoice) -> Hardware:
    """The hardware that the user names, else ``lionheart``."""
    return Hardware.load("lionheart" if options.hardware is None else options.hardware)


def machine_of(options: MachineOptions, stored: Plan | None = None) -> Hardware:
    """The hardware that the user names, else that of the annotations, else ``lionheart``.

    LionHeart's published algorithm gets it as it was published: with drift compensation alone.
    """
    if options.hardware is None and stored is not None:
        return _with_precision(stored.hardware, options)
    machine = _with_precision(named_hardware(options), options)
    if stored is not None and machine == stored.hardware.as_described:
        return stored.hardware
    published = getattr(options, "strategy", None) == LionHeartOriginal.name
    return machine.with_drift_compensation_alone() if published else machine


def _with_precision(machine: Hardware, options: MachineOptions) -> Hardware:
    """The machine with the number format of digital products that the user asks for."""
    if options.digital_precision is None:
        return machine
    digital = {"precision": options.digital_precision, "high_precision": None}
    return machine.model_copy(update={"digital": machine.digital.model_copy(update=digital)})


def check_machine(machine: Hardware, graph: LayerGraph) -> None:
    """Refuse overrides that mean no layer of the model.

    Raises:
        UsageError: such a pattern, with the nearest names; or layers that share their tiles but not their hardware.
    """
    names = [layer.name for layer in graph.candidates]
    for pattern in machine.unmatched_overrides(names):
        near = get_close_matches(pattern, names, n=3, cutoff=0.3)
        hint = ", ".join(near) or "none"
        raise UsageError(f"hardware {machine.name!r}: override for {pattern!r} matches no layer; nearest: {hint}")
    for group in graph.tied(names):
        if any(machine.for_layer(name) != machine.for_layer(group[0]) for name in group):
            raise UsageError(
                f"hardware {machine.name!r}: {', '.join(group)} share their tiles, but overrides make them different"
            )


def warn_of_left_out(machine: Hardware) -> None:
    """Say what a hardware description leaves out, before figures rest on it: what it names in one line."""
    if machine.left_out:
        effects = ", ".join(f"{effect.name} ({effect.size})" for effect in machine.left_out)
        log.warning("hardware %s leaves out %s; its description says what that does", machine.name, effects)
    for effect in (one for one in machine.effects_left_out if one not in machine.left_out):
        told = f"{effect.name} ({effect.size}); {effect.text}"
        log.warning("hardware %s leaves out %s: see %s", machine.name, told, page("emulation"))


def warn_of_defaults(machine: Hardware) -> None:
    """Say what of a hardware description is lhc's and not the user's, before figures rest on it."""
    given = machine.model_fields_set
    missing = [name for name in _DESCRIBED if name not in given]
    for name in _DESCRIBED:
        section = getattr(machine, name) if name in given else None
        missing += [f"{name}.{one}" for one in _DESCRIBED[name] if section and one not in section.model_fields_set]
    if machine.devices is not None:
        missing += [f"devices.{field}" for field in machine.devices.assumed]
    said = [] if machine.costs is None or "costs" not in given else _said(machine.costs)
    if not all(said):
        missing.append(f"{said.count(False)} of {len(said)} fields of costs")
    if missing:
        log.warning(
            "hardware %s does not say %s: lhc's defaults are taken ('lhc hardware FILE' shows them)%s",
            machine.name,
            ", ".join(missing),
            f"; it is without {', '.join(machine.absent_noise)}" if machine.absent_noise else "",
        )


def _said(costs: BaseModel) -> list[bool]:
    """Numbers behind the costs, each with whether a description gives it."""
    said = []
    for name in type(costs).model_fields:
        inner = getattr(costs, name)
        if isinstance(inner, BaseModel) and name != "chip":
            said += _said(inner)
        elif name not in ("model", "chip"):
            said.append(name in costs.model_fields_set)
    return said
