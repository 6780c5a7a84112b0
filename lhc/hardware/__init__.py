"""The machine: tiles, converters, devices, and how weights become conductances.

A description is YAML, checked field by field; presets lie in ``lhc/presets``. Values of converters are
relative: inputs are scaled to ±1 before the DAC, weights to ±1 before programming, and a product of both is
what the ADC sees.
"""

from lhc.hardware.costs import AlpineCosts, Assumed, Costs, CostSection, DianaCosts, Known, Memory
from lhc.hardware.description import Hardware
from lhc.hardware.devices import (
    Devices,
    Hermes,
    Pcm,
    PcmCustomDrift,
    ReramCmo,
    ReramWan2022,
    StateIndependent,
)
from lhc.hardware.external import AihwkitDevices
from lhc.hardware.faults import Faults
from lhc.hardware.measured_devices import Measured
from lhc.hardware.overrides import Override
from lhc.hardware.presets import has_comments, preset_names, preset_text
from lhc.hardware.sections import UNLIMITED, Adc, Compensation, Dac, LeftOut, Mapping, Tiles, Training
from lhc.hardware.variants import (
    EFFECTS,
    Effect,
    effects_of,
    fixed_devices,
    scaled_noise,
    scaled_programming,
    without,
)
from lhc.hardware.weight_noise import Regimes

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
