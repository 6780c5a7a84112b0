"""The machine: tiles, converters, devices, and how weights become conductances.

A description is YAML, checked field by field; presets lie in ``lhc/presets``. Values of converters are
relative: inputs are scaled to ±1 before the DAC, weights to ±1 before programming, and a product of both is
what the ADC sees.
"""

from lhc.hardware.ablations import (
    EFFECTS,
    Effect,
    effects_of,
    fixed_devices,
    scaled_noise,
    scaled_programming,
    without,
)
from lhc.hardware.aihwkit_config.user_aihwkit_objects import AihwkitDevices
from lhc.hardware.circuits.faults import Faults
from lhc.hardware.description.costs import AlpineCosts, Assumed, Costs, CostSection, DianaCosts, Known, Memory
from lhc.hardware.description.digital import DigitalCores
from lhc.hardware.description.hardware import Hardware
from lhc.hardware.description.overrides import Override
from lhc.hardware.description.presets import has_comments, preset_names, preset_text
from lhc.hardware.description.tiles_and_converters import (
    UNLIMITED,
    Adc,
    Compensation,
    Dac,
    LeftOut,
    Mapping,
    Tiles,
    Training,
)
from lhc.hardware.devices.measured import Measured
from lhc.hardware.devices.noise_by_weight_magnitude import Regimes
from lhc.hardware.devices.pcm_and_reram import (
    Devices,
    Hermes,
    Pcm,
    PcmCustomDrift,
    ReramCmo,
    ReramWan2022,
    StateIndependent,
)
from lhc.support.lazy_names import make_callable

__all__ = [
    "EFFECTS",
    "UNLIMITED",
    "Adc",
    "AihwkitDevices",
    "AlpineCosts",
    "Assumed",
    "Compensation",
    "CostSection",
    "Costs",
    "Dac",
    "Devices",
    "DianaCosts",
    "DigitalCores",
    "Effect",
    "Faults",
    "Hardware",
    "Hermes",
    "Known",
    "LeftOut",
    "Mapping",
    "Measured",
    "Memory",
    "Override",
    "Pcm",
    "PcmCustomDrift",
    "Regimes",
    "ReramCmo",
    "ReramWan2022",
    "StateIndependent",
    "Tiles",
    "Training",
    "effects_of",
    "fixed_devices",
    "has_comments",
    "preset_names",
    "preset_text",
    "scaled_noise",
    "scaled_programming",
    "without",
]

make_callable(__name__, "lhc.commands.hardware:hardware")
