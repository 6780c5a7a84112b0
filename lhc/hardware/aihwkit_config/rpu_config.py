"""`Hardware` to aihwkit's configurations and back.

Reading is checked by writing: the description that was read is converted to a configuration again, and every
setting of the original, found by walking its fields, must be there with the same value. So a setting that lhc does
not know is refused, by name, also one that a later aihwkit adds; a setting that does nothing is not compared
(`_idle` says which).
"""

# ruff: noqa: ANN401 (aihwkit is untyped)

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from lhc.errors import ConfigError, MissingDependencyError, UsageError
from lhc.hardware.aihwkit_config.user_aihwkit_objects import (
    AihwkitDevices,
    compensation_made,
    compensation_of,
    devices_of,
    equal,
)
from lhc.hardware.circuits.currents import Currents
from lhc.hardware.description.overrides import problems
from lhc.hardware.description.tiles_and_converters import UNLIMITED, Converter, LeftOut, Training, UserObject
from lhc.hardware.description.uniform_machine import Machine
from lhc.hardware.devices.device_base import DeviceModel
from lhc.hardware.devices.measured import Measured
from lhc.hardware.devices.noise_by_weight_magnitude import Regimes
from lhc.hardware.devices.pcm_and_reram import DEVICE_MODELS, Devices, Pcm, ReramCmo
from lhc.hardware.devices.unit_cell import PairedDevices

if TYPE_CHECKING:
    from aihwkit.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig

_TRAINING_ONLY = ("backward", "clip", "device", "modifier", "remap", "runtime", "update", "pre_post.input_range.")
_MODIFIERS = {"MULT_NORMAL": "multiplicative", "ADD_NORMAL": "additive"}
# What these classes do is still right, but torch and numpy warn of it at every use.
_WARNINGS: dict[str, tuple[str, type[Warning]]] = {
    "HermesNoiseModel": ("Using a non-tuple sequence for multidimensional indexing", UserWarning),
    "ReRamCMONoiseModel": ("__array_wrap__ must accept context", DeprecationWarning),
}
_PERFECT: dict[str, Any] = {
    "name": "perfect",
    "dac": {"bits": None, "bound": None, "scaling": "none"},
    "adc": {"bits": None, "bound": None, "bound_management": "none"},
    "devices": None,
}
"""A tile that multiplies exactly, as aihwkit's with ``forward.is_perfect``."""
_REMAPS = {"CHANNELWISE_SYMMETRIC": "channelwise", "LAYERWISE_SYMMETRIC": "layerwise"}


def _aihwkit() -> SimpleNamespace:
    try:
        from aihwkit.inference.compensation import base, drift
        from aihwkit.inference.converter import conductance
        from aihwkit.inference.noise import custom, hermes, pcm, reram
        from aihwkit.inference.noise.base import BaseNoiseModel
        from aihwkit.simulator import configs, parameters, tiles
    except ImportError as error:
        raise MissingDependencyError(
            "aihwkit is needed to emulate analog tiles and could not be imported; it has wheels for Linux"
            f" x86-64 only ({error})"
        ) from error
    noise = {"custom": custom, "hermes": hermes, "pcm": pcm, "reram": reram}
    return SimpleNamespace(
        BaseDriftCompensation=base.BaseDriftCompensation,
        BaseNoiseModel=BaseNoiseModel,
        configs=configs,
        conductance=conductance,
        drift=drift,
        noise=noise,
        parameters=parameters,
        tiles=tiles,
    )


def _own_models() -> SimpleNamespace:
    """Noise models that aihwkit lacks, as classes that are derived from its own."""
    from lhc.hardware.devices.aihwkit_noise_models import CellNoise, MeasuredNoise, RegimeNoise

    return SimpleNamespace(CellNoise=CellNoise, MeasuredNoise=MeasuredNoise, RegimeNoise=RegimeNoise)


def build(machine: Machine) -> "TorchInferenceRPUConfig":
    """See `Hardware.to_rpu_config`."""
    aihwkit = _aihwkit()
    parameters = aihwkit.parameters
    dac, adc, training = machine.dac, machine.adc, machine.training
    static = dac.scaling == "static"
    config = aihwkit.configs.TorchInferenceRPUConfig(
        mapping=parameters.MappingParameter(
            max_input_size=0 if machine.tiles.rows == UNLIMITED else machine.tiles.rows,
            max_output_size=0 if machine.tiles.cols == UNLIMITED else machine.tiles.cols,
            digital_bias=True,
            weight_scaling_omega=machine.mapping.omega,
            weight_scaling_columnwise=machine.mapping.columnwise,
            learn_out_scaling=training.out_scaling != "none",
            out_scaling_columnwise=training.out_scaling == "columnwise",
        ),
        forward=parameters.IOParameters(
            inp_res=_resolution(dac),
            inp_bound=dac.bound or 0.0,
            noise_management=parameters.NoiseManagementType["NONE" if static else dac.scaling.upper()],
            out_res=_resolution(adc),
            out_bound=adc.bound or 0.0,
            out_noise=adc.noise,
            w_noise=machine.currents.read_noise,
            w_noise_type=parameters.WeightNoiseType[_w_noise_type(machine.currents)],
            ir_drop=machine.currents.ir_drop,
            ir_drop_g_ratio=machine.currents.ir_drop_g_ratio,
            bound_management=parameters.BoundManagementType[adc.bound_management.upper()],
        ),
        noise_model=_noise_model(machine.devices),
        drift_compensation=_drift_compensation(machine.compensation.drift),
    )
    config.pre_post.input_range.enable = static
    if static:
        config.pre_post.input_range.learn_input_range = training.learn_input_range
    _build_training(config, training, parameters)
    built: TorchInferenceRPUConfig = config
    return built


_DRIFT_COMPENSATIONS = {
    "global": "GlobalDriftCompensation",
    "global-exact": "GlobalDriftCompensationWithExactReference",
    "per-column": "PerColumnDriftCompensation",
}


def _drift_compensation(kind: str | UserObject) -> Any:
    if isinstance(kind, UserObject):
        return compensation_made(kind)
    return None if kind == "none" else getattr(_aihwkit().drift, _DRIFT_COMPENSATIONS[kind])()


def _compensation(given: Any, own: bool) -> dict[str, object]:
    """aihwkit's configurations say nothing of other compensations, which are as they are by default."""
    if given is None:
        return {"drift": "none"}
    for kind, name in _DRIFT_COMPENSATIONS.items():
        if type(given) is getattr(_aihwkit().drift, name) and not vars(given):
            return {"drift": kind}
    return {
        "drift": compensation_of(given) if own and isinstance(given, _aihwkit().BaseDriftCompensation) else "global"
    }


def _build_training(config: Any, training: Training, parameters: Any) -> None:
    if training.weight_noise > 0:
        kind = {v: k for k, v in _MODIFIERS.items()}[training.weight_noise_type]
        config.modifier.type = parameters.WeightModifierType[kind]
        config.modifier.std_dev = training.weight_noise
        config.modifier.rel_to_actual_wmax = True
    if training.clip_sigma is not None:
        config.clip.type = parameters.WeightClipType.LAYER_GAUSSIAN
        config.clip.sigma = training.clip_sigma
        config.clip.fixed_value = -1.0 if training.clip is None else training.clip
    elif training.clip is not None:
        config.clip.type = parameters.WeightClipType.FIXED_VALUE
        config.clip.fixed_value = training.clip
    if training.remap != "none":
        config.remap.type = parameters.WeightRemapType[{v: k for k, v in _REMAPS.items()}[training.remap]]


def _noise_model(devices: DeviceModel | None) -> Any:
    if devices is None:
        model = _noise_model(Pcm(programming_noise_scale=0, read_noise_scale=0, drift_scale=0))
        model.never_programmed = True  # tells perfect devices from programmed ones without noise
        return model
    if isinstance(devices, AihwkitDevices):
        return devices.made()
    if isinstance(devices, Measured | Regimes):
        own = _own_models()
        return own.MeasuredNoise(devices) if isinstance(devices, Measured) else own.RegimeNoise(devices)
    if devices.kind in _WARNINGS:
        warnings.filterwarnings("ignore", *_WARNINGS[devices.kind])
    attributes = devices.to_attributes()
    model = _noise_class(devices)(**{name: attributes.pop(name) for name in devices.arguments})
    for name, value in attributes.items():
        setattr(model, name, value)
    if not isinstance(devices, PairedDevices) or devices.pair == "single":
        return model
    if devices.pairs_per_weight > 1 or devices.pair in ("reference-column", "digital-offset"):
        return _own_models().CellNoise(devices, model)
    model.g_converter = _pair(devices)
    return model


def _pair(devices: PairedDevices) -> Any:
    """How aihwkit makes conductances of weights."""
    kinds, ends = _aihwkit().conductance, [devices.g_min_us, devices.g_max_us]
    if devices.pair == "one-sided":
        return kinds.SinglePairConductanceConverter(g_max=ends[1], g_min=ends[0])
    return kinds.CustomPairConductanceConverter([1.0], [ends, ends[::-1]], g_max=ends[1], g_min=ends[0])


def _noise_class(devices: "DeviceModel | type[DeviceModel]") -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(_aihwkit().noise[devices.module], devices.kind)
    return found


def _w_noise_type(currents: Currents) -> str:
    if currents.read_noise_kind == "constant":
        return "ADDITIVE_CONSTANT"
    return "PCM_READ" if currents.read_noise > 0 else "NONE"


def _resolution(converter: Converter) -> float:
    """aihwkit's step is a share of the range, from -bound to bound; -1 switches the quantiser off."""
    steps = 2 ** ((converter.bits or 0) + converter.from_zero) - 2
    return -1.0 if converter.bits is None else 1.0 / float(steps)


def read(config: "InferenceRPUConfig", fields: dict[str, Any], leave_out: tuple[str, ...]) -> Machine:
    """See `Hardware.from_rpu_config`; ``fields`` are those that a configuration does not hold."""
    if not isinstance(config, _aihwkit().configs.InferenceRPUConfig):
        raise ConfigError(
            f"an aihwkit configuration for inference is needed (InferenceRPUConfig), not a {type(config).__name__}"
        )
    try:
        machine = Machine.model_validate(fields | _sections(_as_computed(config), leave_out))
    except ValidationError as error:
        raise ConfigError(f"aihwkit configuration {type(config).__name__}: {problems(error)}") from error
    wrong = _differences(_as_computed(config), build(machine))
    unknown = [name for name in leave_out if not any(path.startswith(name) for path in wrong)]
    if unknown:
        needed = ", ".join(wrong) or "none"
        raise UsageError(f"leave_out {', '.join(unknown)}: no setting that has to be left out; such are: {needed}")
    refused = [
        f"{path} = {given} ({instead})" for path, (given, instead) in wrong.items() if not path.startswith(leave_out)
    ]
    if refused:
        raise ConfigError(
            f"aihwkit configuration {type(config).__name__}: no place in a hardware description for"
            f" {'; '.join(refused)}. Change these settings, or name them in leave_out"
        )
    left_out = tuple(
        LeftOut(name=path, size=given, text=f"setting of the aihwkit configuration, left out on request: {instead}")
        for path, (given, instead) in wrong.items()
        if not path.startswith(_TRAINING_ONLY)
    )
    return machine.model_copy(update={"left_out": left_out})


def _as_computed(config: Any) -> Any:
    """A configuration with what aihwkit makes of a perfect product written in its settings."""
    if not config.forward.is_perfect:
        return config
    perfect = copy.copy(config)
    perfect.forward = build(Machine.model_validate(_PERFECT)).forward
    return perfect


def _sections(config: Any, leave_out: tuple[str, ...]) -> dict[str, Any]:
    """The sections nearest to a configuration; whether they say all of it is seen afterwards.

    Args:
        leave_out: settings that are to be left out; of an object it may be the class.
    """
    own = {name: not any(one.startswith(name) for one in leave_out) for name in ("noise_model", "drift_compensation")}
    forward, mapping, ranges = config.forward, config.mapping, config.pre_post.input_range
    scaling = "abs_max" if forward.noise_management.name == "ABS_MAX" else "none"
    omega = mapping.weight_scaling_omega
    tiles = {"rows": _size(mapping.max_input_size), "cols": _size(mapping.max_output_size)}
    return {
        "tiles": tiles,
        **({"costs": None} if None in tiles.values() else {}),  # those of tiles of a size
        "dac": {
            "bits": _bits(forward.inp_res),
            "bound": forward.inp_bound if forward.inp_bound > 0 else None,
            "scaling": "static" if ranges.enable else scaling,
        },
        "adc": {
            "bits": _bits(forward.out_res),
            "bound": forward.out_bound if forward.out_bound > 0 else None,
            "noise": max(forward.out_noise, 0.0),
            "bound_management": "none" if forward.bound_management.name == "NONE" else "iterative",
        },
        "currents": {
            "read_noise": max(forward.w_noise, 0.0) if forward.w_noise_type.name != "NONE" else 0.0,
            "read_noise_kind": "constant" if forward.w_noise_type.name == "ADDITIVE_CONSTANT" else "current",
            "ir_drop": max(forward.ir_drop, 0.0),
            "ir_drop_g_ratio": forward.ir_drop_g_ratio if forward.ir_drop_g_ratio > 0 else Currents().ir_drop_g_ratio,
        },
        "mapping": {"omega": min(max(omega, 0.0), 1.0), "columnwise": mapping.weight_scaling_columnwise},
        "devices": _devices(config.noise_model, own["noise_model"]),
        "compensation": _compensation(config.drift_compensation, own["drift_compensation"]),
        "training": _training(config),
    }


def _training(config: Any) -> dict[str, Any]:
    modifier, clip, mapping = config.modifier, config.clip, config.mapping
    noisy = modifier.type.name in _MODIFIERS
    clipped = clip.type.name in ("FIXED_VALUE", "LAYER_GAUSSIAN") and clip.fixed_value > 0
    ranges = config.pre_post.input_range
    return {
        "weight_noise": max(modifier.std_dev, 0.0) if noisy else 0.0,
        "weight_noise_type": _MODIFIERS.get(modifier.type.name, "multiplicative"),
        "clip": clip.fixed_value if clipped else None,
        "clip_sigma": clip.sigma if clip.type.name == "LAYER_GAUSSIAN" else None,
        "remap": _REMAPS.get(config.remap.type.name, "none"),
        "out_scaling": ("columnwise" if mapping.out_scaling_columnwise else "tile")
        if mapping.learn_out_scaling
        else "none",
        "learn_input_range": ranges.learn_input_range if ranges.enable else True,
    }


def _devices(noise_model: Any, own: bool) -> dict[str, Any] | DeviceModel | None:
    """The device model nearest to a noise model; the noise model itself where it says more, if it is the user's own."""
    if getattr(noise_model, "never_programmed", False):
        return None
    lhcs = _own_models()
    if isinstance(noise_model, lhcs.MeasuredNoise | lhcs.RegimeNoise | lhcs.CellNoise):
        described: DeviceModel = noise_model.devices
        return described.model_dump()
    known = _known_devices(noise_model)
    if not own or not isinstance(noise_model, _aihwkit().BaseNoiseModel) or (known and _says(known, noise_model)):
        return known or {"model": "pcm"}
    return devices_of(noise_model)


def _known_devices(noise_model: Any) -> dict[str, Any]:
    for name, devices in DEVICE_MODELS.items():
        if devices.module and type(noise_model) is _noise_class(devices):
            return {"model": name, **devices.fields_from(vars(noise_model)), **_pair_of(devices, noise_model)}
    return {}


def _says(known: dict[str, Any], noise_model: Any) -> bool:
    """Whether fields of a device model say all of a noise model, or one of them is out of its range."""
    try:
        devices: DeviceModel = TypeAdapter(Devices).validate_python(known)
    except ValidationError:
        return True
    ours, theirs = dict(_leaves(_noise_model(devices))), dict(_leaves(noise_model))
    return ours.keys() == theirs.keys() and all(_same(value, ours[path]) for path, value in theirs.items())


def _pair_of(devices: type[DeviceModel], noise_model: Any) -> dict[str, Any]:
    converter = noise_model.g_converter
    if not issubclass(devices, PairedDevices) or devices is ReramCmo:
        return {}
    two_sided = type(converter) is _aihwkit().conductance.CustomPairConductanceConverter
    return {"g_min_us": getattr(converter, "g_min", 0.0), "pair": "two-sided" if two_sided else "one-sided"}


def _size(largest: int) -> int | None:
    """aihwkit's 0 means unlimited."""
    return largest if largest > 0 else None


def _bits(resolution: float) -> int | None:
    if resolution <= 0:
        return None
    steps = resolution if resolution > 1 else 1 / resolution
    return min(max(round(math.log2(steps + 2)), 2), 24)


def _differences(given: Any, rebuilt: Any) -> dict[str, tuple[str, str]]:
    """Settings that were not kept: path to what is given and what a description can say instead."""
    ours = _respelt(dict(_leaves(rebuilt)))
    found: dict[str, tuple[str, str]] = {}
    theirs = _respelt(dict(_leaves(given)))
    idle = set(_idle(theirs))
    for path, value in theirs.items():
        if path in idle or any(path.startswith(f"{other}.") for other in found):
            continue  # an object of another class
        if path not in ours:
            found[path] = (_shown(value), "unknown to lhc")
        elif not _same(value, ours[path]):
            found[path] = (_shown(value), f"a description says {_shown(ours[path])}")
    return found


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All settings below a configuration, with their paths; an object's class is the value at its own path."""
    if isinstance(value, type | Enum) or not hasattr(value, "__dict__"):
        yield path, value
        return
    names = list(vars(value))
    if is_dataclass(value):
        names = list(dict.fromkeys([f.name for f in fields(value)] + names))
    else:
        yield path, type(value)
    for name in names:
        yield from _leaves(getattr(value, name), f"{path}.{name}" if path else name)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-12)
    return equal(one, other)


def _shown(value: Any) -> str:
    if isinstance(value, Enum):
        return value.name
    return value.__name__ if isinstance(value, type) else repr(value)


def _respelt(leaves: dict[str, Any]) -> dict[str, Any]:
    """Settings with one spelling for what means the same."""
    tiles = _aihwkit().tiles
    if leaves["tile_class"] is tiles.InferenceTile:  # the compiled tile computes the same
        leaves["tile_class"] = tiles.TorchInferenceTile
    leaves = _unquantised(leaves)
    leaves["mapping.weight_scaling_omega"] = max(leaves["mapping.weight_scaling_omega"], 0.0)
    for name in ("mapping.max_input_size", "mapping.max_output_size"):
        leaves[name] = max(leaves[name], 0)
    for name in ("forward.inp_res", "forward.out_res"):
        value = leaves[name]
        leaves[name] = -1.0 if value <= 0 else 1 / value if value > 1 else value
    for name in ("forward.inp_bound", "forward.out_bound"):
        leaves[name] = max(leaves[name], 0.0)
    constant = leaves["forward.noise_management"].name == "CONSTANT"
    if constant and (leaves["forward.nm_thres"] <= 0 or leaves["forward.nm_thres"] == 1):
        leaves["forward.noise_management"] = type(leaves["forward.noise_management"]).NONE
    if leaves["modifier.type"].name in (*_MODIFIERS, "COPY") and leaves["modifier.std_dev"] <= 0:
        leaves["modifier.type"] = type(leaves["modifier.type"]).NONE
    if leaves["clip.fixed_value"] <= 0:
        leaves["clip.fixed_value"] = -1.0
    return leaves


def _unquantised(leaves: dict[str, Any]) -> dict[str, Any]:
    """Settings of a tile with a quantised periphery as those of a plain one, where nothing is quantised."""
    periphery = "pre_post.periph_quant."
    quantised = leaves.get("act_quant_config") is not None or leaves.get(f"{periphery}n_bits", 1) > 0
    if quantised or leaves["tile_class"].__name__ != "QuantizedTorchInferenceTile":
        return leaves
    from aihwkit.simulator.tiles.array import TileModuleArray

    plain = {"tile_class": _aihwkit().tiles.TorchInferenceTile, "tile_array_class": TileModuleArray}
    kept = {path: v for path, v in leaves.items() if path != "act_quant_config" and not path.startswith(periphery)}
    return kept | plain


def _idle(leaves: dict[str, Any]) -> Iterator[str]:
    """Settings without effect, given the others."""

    def below(prefix: str, *but: str) -> list[str]:
        kept = {f"{prefix}{name}" for name in but}
        return [path for path in leaves if path.startswith(prefix) and path not in kept]

    yield from below("runtime.", "data_type")
    yield "pre_post.input_range.calibration_info"
    if not leaves["pre_post.input_range.enable"]:
        yield from below("pre_post.input_range.", "enable")
    if leaves["forward.noise_management"].name == "NONE":
        yield "forward.nm_thres"
    if leaves["forward.bound_management"].name == "NONE":
        yield from ("forward.max_bm_factor", "forward.max_bm_res", "forward.bm_test_negative_bound")
    if leaves["forward.w_noise"] <= 0:
        yield "forward.w_noise_type"
    elif leaves["forward.w_noise_type"].name == "NONE":
        yield "forward.w_noise"
    if leaves["forward.ir_drop"] <= 0:
        yield "forward.ir_drop_g_ratio"
    if leaves["mapping.weight_scaling_omega"] == 0:
        yield "mapping.weight_scaling_columnwise"
    if not leaves["mapping.learn_out_scaling"]:
        yield "mapping.out_scaling_columnwise"
    yield from _idle_in_training(leaves, below)


def _idle_in_training(leaves: dict[str, Any], below: Callable[..., list[str]]) -> Iterator[str]:
    modifier, clip = leaves["modifier.type"].name, leaves["clip.type"].name
    if modifier == "NONE":
        yield from below("modifier.", "type", "pdrop", "enable_during_test")
    elif modifier in _MODIFIERS:
        used = ("type", "pdrop", "enable_during_test", "std_dev", "rel_to_actual_wmax", "per_batch_sample")
        relative = leaves["modifier.rel_to_actual_wmax"]
        yield from below("modifier.", *used, *(() if relative else ("assumed_wmax",)))
    if clip == "NONE":
        yield from below("clip.", "type")
    elif clip == "FIXED_VALUE":
        yield "clip.sigma"
    if leaves["remap.type"].name == "NONE":
        yield from below("remap.", "type")
