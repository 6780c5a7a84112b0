"""The same machine with single effects switched off, or with all noise scaled: to ask where damage comes from."""

from collections.abc import Callable, Iterable
from typing import Literal, get_args

from lhc.errors import UsageError
from lhc.hardware.aihwkit_config.user_aihwkit_objects import AihwkitDevices
from lhc.hardware.circuits.faults import Faults
from lhc.hardware.description.hardware import Hardware
from lhc.hardware.description.overrides import Override
from lhc.hardware.description.tiles_and_converters import Adc, Dac, Section
from lhc.hardware.devices.device_base import DeviceModel

Effect = Literal["dac", "adc", "programming", "drift", "read", "output", "faults", "weights", "wires"]
EFFECTS: tuple[Effect, ...] = get_args(Effect)
"""DAC quantising and clipping (not that by a static range, which inputs are scaled by); ADC quantising and
saturation; programming noise; drift; read noise; output noise; faults of chips; rounding of weights to what cells hold;
IR drop. Read noise is that of devices and of products."""

Fields = dict[str, object]
_CONVERTER: dict[str, object] = {"bits": None, "bound": None}
_DAC = _CONVERTER | {"slice_bits": None, "code": "sign-magnitude", "signs": "fixed"}
_ADC = _CONVERTER | {
    "polarity": "bipolar",
    "range": "fixed",
    "columns": None,
    "kind": "ideal",
    "capacitor_mismatch": 0.0,
    "columns_per_adc": 1,
}
_DEVICE_FIELDS: dict[Effect, tuple[str, ...]] = {
    "programming": ("programming_noise_scale", "noise_scale"),
    "drift": ("drift_scale",),
    "read": ("read_noise_scale",),
}
_NOISE = (*_DEVICE_FIELDS["programming"], *_DEVICE_FIELDS["read"])


def effects_of(hardware: Hardware) -> tuple[Effect, ...]:
    """The effects that a machine has, in the order of `EFFECTS`."""
    return tuple(effect for effect in EFFECTS if without(hardware, [effect]) != hardware)


def without(hardware: Hardware, effects: Iterable[Effect]) -> Hardware:
    """The machine with these effects switched off, in its overrides too."""
    off = frozenset(effects)
    device_fields = tuple(field for effect in off for field in _DEVICE_FIELDS.get(effect, ()))
    adc: Fields = (_ADC if "adc" in off else {}) | ({"noise": 0.0} if "output" in off else {})
    machine = hardware.model_copy(update={"faults": Faults()}) if "faults" in off else hardware
    machine = _with_bipolar_adcs(machine) if {"dac", "weights"} & off else machine  # sums have signs then
    machine = machine.with_whole_weights() if "weights" in off else machine
    currents = ("read_noise",) * ("read" in off) + ("ir_drop",) * ("wires" in off)
    machine = _with_currents(machine, currents, 0.0)
    dac = (_DAC if "dac" in off else {}) | _rare_off(Dac, off)
    return _changed(machine, dac, adc | _rare_off(Adc, off), device_fields, lambda _: 0.0)


def _rare_off(section: type[Section], off: frozenset[Effect]) -> Fields:
    """Fields of a section that these ablations set to their defaults (`RareEffect`)."""
    marks = section.rare_fields().items()
    return {name: section.model_fields[name].default for name, mark in marks if mark.ablation in off}


def _with_bipolar_adcs(hardware: Hardware) -> Hardware:
    """The machine with ADCs that see both signs in the same steps, in its overrides too."""
    if not hardware.any_layer(lambda machine: machine.adc.polarity == "unipolar"):
        return hardware

    def changed(adc: Adc) -> Fields:
        more = adc.polarity == "unipolar"
        return {"polarity": "bipolar", "bits": None if adc.bits is None else adc.bits + more}

    told = [(o, hardware.adc.model_copy(update=o.adc)) for o in hardware.overrides]
    own = {"bits", "polarity"}
    overrides = tuple(
        o.model_copy(update={"adc": o.adc | changed(adc)}) if own & o.adc.keys() else o for o, adc in told
    )
    return hardware.model_copy(
        update={"adc": hardware.adc.model_copy(update=changed(hardware.adc)), "overrides": overrides}
    )


def _with_currents(hardware: Hardware, fields: tuple[str, ...], factor: float) -> Hardware:
    """The machine with these fields of its currents multiplied, in its overrides too."""

    def changed(values: Fields) -> Fields:
        return {name: factor * _number(value) if name in fields else value for name, value in values.items()}

    overrides = tuple(o.model_copy(update={"currents": changed(o.currents)}) for o in hardware.overrides)
    currents = hardware.currents.model_copy(update=changed(hardware.currents.model_dump()))
    return hardware.model_copy(update={"currents": currents, "overrides": overrides})


def scaled_programming(hardware: Hardware, factor: float) -> Hardware:
    """The machine of one layer with the deviation of its devices' programming noise multiplied by a factor."""
    return _changed(hardware, {}, {}, _DEVICE_FIELDS["programming"], lambda value: factor * value)


def fixed_devices(hardware: Hardware) -> tuple[str, ...]:
    """Noise models of a user's whose effects have no factors: they can neither be switched off nor scaled."""
    own = (one.devices for one in hardware.variants() if isinstance(one.devices, AihwkitDevices))
    fields = [field for fields in _DEVICE_FIELDS.values() for field in fields]
    return tuple(dict.fromkeys(one.noise_model for one in own if not one.scaled(fields, lambda value: value)))


def scaled_noise(hardware: Hardware, factor: float) -> Hardware:
    """The machine with the deviations of programming, read and output noise multiplied by a factor.

    Raises:
        UsageError: noise of its devices cannot be scaled.
    """
    if fixed := fixed_devices(hardware):
        raise UsageError(
            f"hardware {hardware.name!r}: noise of {', '.join(fixed)} cannot be scaled: there is no prog_noise_scale,"
            " noise_scale, drift_scale or read_noise_scale, aihwkit's factors"
        )
    noisy = _changed(_with_currents(hardware, ("read_noise",), factor), {}, {}, _NOISE, lambda value: factor * value)
    overrides = tuple(
        o.model_copy(update={"adc": o.adc | {"noise": factor * _number(o.adc["noise"])}}) if "noise" in o.adc else o
        for o in noisy.overrides
    )
    adc = hardware.adc.model_copy(update={"noise": factor * hardware.adc.noise})
    return noisy.model_copy(update={"adc": adc, "overrides": overrides})


def _changed(
    hardware: Hardware, dac: Fields, adc: Fields, device_fields: tuple[str, ...], value: Callable[[float], float]
) -> Hardware:
    """A machine with fields replaced; an override is changed where it sets something of the same section."""
    devices = hardware.devices
    if devices is not None:
        devices = devices.model_copy(update=devices.scaled(device_fields, value))
    overrides = tuple(
        override.model_copy(
            update={
                "dac": override.dac and override.dac | dac,
                "adc": override.adc and override.adc | adc,
                "devices": _partial(hardware, override, device_fields, value),
            }
        )
        for override in hardware.overrides
    )
    changed: Fields = {
        "dac": hardware.dac.model_copy(update=dac),
        "adc": hardware.adc.model_copy(update=adc),
        "devices": devices,
        "overrides": overrides,
    }
    return hardware.model_copy(update=changed)


def _partial(
    hardware: Hardware, override: Override, fields: tuple[str, ...], value: Callable[[float], float]
) -> Fields | None:
    """The devices of an override: those that it sets to another model start from that model's defaults."""
    partial = override.devices
    if not partial:
        return partial
    applied = override.apply(hardware)["devices"]
    assert isinstance(applied, DeviceModel)
    base = hardware.devices
    fresh = base is None or any(getattr(applied, key) != getattr(base, key, None) for key in applied.identity)
    named = tuple(field for field in fields if fresh or field in partial or "parameters" in partial)
    return partial | applied.scaled(named, value)


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
