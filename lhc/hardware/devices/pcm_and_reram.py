"""Models of the devices: programming noise, drift, read noise; aihwkit's own, with its defaults, and measured ones.

Formulas, units and sources are in ``docs/hardware-fields.md``. ``x = g / g_max``, conductances in µS, times in s.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Discriminator, Field, Tag, model_validator

from lhc.hardware.aihwkit_config.user_aihwkit_objects import AihwkitDevices
from lhc.hardware.devices.device_base import DeviceModel, Positive, Scale
from lhc.hardware.devices.measured import Measured
from lhc.hardware.devices.noise_by_weight_magnitude import Regimes
from lhc.hardware.devices.unit_cell import Pair, PairedDevices

Coefficients = Annotated[tuple[float, ...], Field(min_length=1)]
PARTNER_SHARE = 0.9
"""Share of g_max at which drift of programmed devices counts where they balance stuck ones, which do not drift."""


class _PcmLike(PairedDevices):
    g_max_us: Positive = 25.0
    """Greatest conductance, in µS."""
    programming_coefficients_us: Coefficients = (0.26348, 1.9650, -1.1731)
    """Standard deviation of programming noise as a polynomial of x, lowest power first, in µS."""
    programming_g_max_us: Positive = 25.0
    """The g_max at which the coefficients hold, in µS; the deviation grows in proportion to g_max."""
    programming_noise_scale: Scale = 1.0
    """Factor on the standard deviation of programming noise; 0 switches it off."""
    t_0_s: Positive = 20.0
    """Time between programming and the first read, in s; times of inference count from then."""
    drift_scale: Scale = 1.0
    """Factor on the drift exponents; 0 switches drift off."""
    t_read_s: Positive = 250e-9
    """Duration of a read, in s."""
    read_noise_scale: Scale = 1.0
    """Factor on the standard deviation of 1/f read noise; 0 switches it off."""

    module = "pcm"
    attributes: ClassVar[Mapping[str, str]] = {
        "g_max": "g_max_us",
        "prog_coeff": "programming_coefficients_us",
        "prog_coeff_g_max_reference": "programming_g_max_us",
        "prog_noise_scale": "programming_noise_scale",
        "t_0": "t_0_s",
        "drift_scale": "drift_scale",
        "t_read": "t_read_s",
        "read_noise_scale": "read_noise_scale",
    }

    def lasting(self, t_s: float) -> float:
        return drifted(t_s, self.t_0_s, 0.049 * self.drift_scale)


class Pcm(_PcmLike):
    """aihwkit's PCMLikeNoiseModel (Nandakumar et al., ICECS 2019): phase-change memory, one differential pair."""

    model: Literal["pcm"] = "pcm"

    kind = "PCMLikeNoiseModel"


class PcmCustomDrift(_PcmLike):
    """aihwkit's CustomDriftPCMLikeNoiseModel: `Pcm` with drift exponents interpolated over conductance."""

    model: Literal["pcm_custom_drift"] = "pcm_custom_drift"
    drift_g_us: Annotated[tuple[Scale, ...], Field(min_length=2)]
    """Conductances, ascending, from 0 to g_max or beyond, in µS."""
    drift_nu_mean: tuple[float, ...]
    """Mean drift exponent at each of them."""
    drift_nu_std: tuple[Scale, ...]
    """Standard deviation of the drift exponent at each of them."""

    kind = "CustomDriftPCMLikeNoiseModel"
    arguments = ("g_max", "custom_drift_model")

    @model_validator(mode="after")
    def _table_fits(self) -> "PcmCustomDrift":
        if not len(self.drift_g_us) == len(self.drift_nu_mean) == len(self.drift_nu_std):
            raise ValueError("drift_g_us, drift_nu_mean and drift_nu_std must be equally long")
        if list(self.drift_g_us) != sorted(self.drift_g_us):
            raise ValueError("drift_g_us must ascend")
        if self.drift_g_us[0] > 0 or self.drift_g_us[-1] < self.g_max_us:
            raise ValueError("drift_g_us must reach from 0 to g_max_us")
        return self

    def lasting(self, t_s: float) -> float:
        nu = np.interp(PARTNER_SHARE * self.g_max_us, self.drift_g_us, self.drift_nu_mean)
        return drifted(t_s, self.t_0_s, float(nu) * self.drift_scale)

    def to_attributes(self) -> dict[str, Any]:
        table = {
            "g_lst": list(self.drift_g_us),
            "nu_mean_lst": list(self.drift_nu_mean),
            "nu_std_lst": list(self.drift_nu_std),
        }
        return super().to_attributes() | {"custom_drift_model": table}

    @classmethod
    def fields_from(cls, attributes: Mapping[str, Any]) -> dict[str, Any]:
        table = attributes.get("custom_drift_model") or {}
        names = {"g_lst": "drift_g_us", "nu_mean_lst": "drift_nu_mean", "nu_std_lst": "drift_nu_std"}
        return super().fields_from(attributes) | {field: table[key] for key, field in names.items() if key in table}


class Hermes(PairedDevices):
    """aihwkit's HermesNoiseModel: PCM of the IBM HERMES Project Chip (Le Gallo et al., Nat. Electron. 2023)."""

    model: Literal["hermes"] = "hermes"
    num_devices: Literal[1, 2] = 2
    """Devices on each side of a weight's pair; the defaults of g_max, t_0 and coefficients depend on it."""
    g_max_us: Positive = 20.7
    """Greatest conductance, in µS; at most, and by default, the characterised 20.7 (two devices) or 10.35."""
    programming_coefficients_us: Coefficients = (0.16603222, 4.71806468, -8.48101252, 4.68961419)
    """Standard deviation of programming noise as a polynomial of x, lowest power first, in µS."""
    programming_g_max_us: Positive = 20.7
    """The g_max at which the coefficients hold, in µS; the deviation grows in proportion to g_max."""
    programming_noise_scale: Scale = 1.0
    """Factor on the standard deviation of programming noise; 0 switches it off."""
    t_0_s: Positive = 300.0
    """Time between programming and the first read, in s: 300 (two devices) or 200 by default."""
    drift_scale: Scale = 1.0
    """Factor on the drift exponents; 0 switches drift off."""
    t_read_s: Positive = 512e-9
    """Duration of a read, in s."""
    read_noise_scale: Scale = 1.0
    """Factor on the standard deviation of 1/f read noise; 0 switches it off."""

    module = "hermes"
    kind = "HermesNoiseModel"
    arguments = ("g_max", "num_devices")
    attributes: ClassVar[Mapping[str, str]] = {**Pcm.attributes, "num_devices": "num_devices"}
    identity = ("model", "num_devices")
    one_device: ClassVar[Mapping[str, object]] = {
        "g_max_us": 10.35,
        "programming_g_max_us": 10.35,
        "t_0_s": 200.0,
        "programming_coefficients_us": (0.15781817, 2.32443916, -2.16310839, 0.68841818),
    }

    def lasting(self, t_s: float) -> float:
        nu = 0.0736 - 0.0126 * PARTNER_SHARE - 0.0436 * PARTNER_SHARE**2  # mean by aihwkit's HermesNoiseModel
        return drifted(t_s, self.t_0_s, nu * self.drift_scale)

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: object) -> object:
        return {**cls.one_device, **data} if isinstance(data, dict) and data.get("num_devices") == 1 else data

    @model_validator(mode="after")
    def _characterised(self) -> "Hermes":
        limit = {1: 10.35, 2: 20.7}[self.num_devices]
        if self.g_max_us > limit:
            raise ValueError(f"g_max_us: at most {limit} µS was characterised with num_devices {self.num_devices}")
        return self


class ReramCmo(PairedDevices):
    """aihwkit's ReRamCMONoiseModel: CMO/HfOx ReRAM, one device a weight (Falcone et al., arXiv 2502.04524).

    All devices relax alike by -0.089 ln(t / s) µS, which a reference column takes away again (``pair``).
    """

    model: Literal["reram_cmo"] = "reram_cmo"
    g_max_us: Positive = 88.199997
    """Conductance of a tile's greatest weight, in µS."""
    g_min_us: Scale = 9.0
    """Conductance of a tile's least weight, in µS."""
    pair: Pair = "single"
    """``single`` or ``reference-column``."""
    acceptance_range_percent: float = 0.2
    """Programming stops within this range of the target: 0.2 or 2 (percent)."""
    programming_noise_scale: Scale = 1.0
    """Factor on the standard deviation of programming noise; 0 switches it off."""
    drift_scale: Scale = 1.0
    """Factor on mean and deviation of relaxation; 0 switches it off."""
    read_noise_scale: Scale = 1.0
    """Factor on the standard deviation of read noise; 0 switches it off."""

    module = "reram"
    kind = "ReRamCMONoiseModel"
    pairs = False
    known_pairs = ("single", "reference-column")
    arguments = ("g_max", "g_min")
    attributes: ClassVar[Mapping[str, str]] = {
        "g_max": "g_max_us",
        "coeff_g_max_reference": "g_max_us",
        "g_min": "g_min_us",
        "acceptance_range": "acceptance_range_percent",
        "prog_noise_scale": "programming_noise_scale",
        "drift_scale": "drift_scale",
        "read_noise_scale": "read_noise_scale",
    }

    @model_validator(mode="after")
    def _possible(self) -> "ReramCmo":
        if self.acceptance_range_percent not in (0.2, 2.0):
            raise ValueError("acceptance_range_percent: write 0.2 or 2, the ranges that were measured")
        return self

    def time_problem(self, t_s: float) -> str | None:
        return None if t_s == 0 or t_s >= 1 else "relaxation of reram_cmo was fitted from 1 s on (0: none yet)"


class ReramWan2022(PairedDevices):
    """aihwkit's ReRamWan2022NoiseModel: deviations after 1 s, 1 and 2 days (Wan et al., Nature 2022)."""

    model: Literal["reram_wan2022"] = "reram_wan2022"
    g_max_us: Positive = 25.0
    """Greatest conductance, in µS. The deviations were fitted in µS at 40 and are not rescaled by aihwkit."""
    noise_scale: Scale = 1.0
    """Factor on all deviations; 0 switches them off."""

    module = "reram"
    kind = "ReRamWan2022NoiseModel"
    attributes: ClassVar[Mapping[str, str]] = {
        "g_max": "g_max_us",
        "coeff_g_max_reference": "g_max_us",
        "noise_scale": "noise_scale",
    }
    times_s: ClassVar[tuple[float, ...]] = (1.0, 86400.0, 172800.0)

    def time_problem(self, t_s: float) -> str | None:
        known = ", ".join(f"{t:g}" for t in self.times_s)
        other = "for other times give a table of your own (lhc hardware NAME --measured FILE) or take other devices"
        return None if t_s in self.times_s else f"reram_wan2022 was measured after {known} s only; {other}"


class StateIndependent(PairedDevices):
    """aihwkit's StateIndependentNoiseModel: noise and drift that do not depend on conductance."""

    model: Literal["state_independent"] = "state_independent"
    g_max_us: Positive = 25.0
    """Greatest conductance, in µS."""
    programming_coefficients_us: Coefficients = (0.2, 0.0, 0.0)
    """Standard deviation of programming noise as a polynomial of x, lowest power first, in µS."""
    programming_noise_scale: Scale = 1.0
    """Factor on the standard deviation of programming noise; 0 switches it off."""
    t_0_s: Positive = 20.0
    """Time between programming and the first read, in s; times of inference count from then."""
    drift_nu_mean: float = 0.1
    """Mean drift exponent."""
    drift_nu_std: Scale = 0.05
    """Standard deviation of the drift exponent."""
    drift_scale: Scale = 1.0
    """Factor on the drift exponents; 0 switches drift off."""
    t_read_s: Positive = 250e-9
    """Duration of a read, in s."""
    read_noise_scale: Scale = 1.0
    """Standard deviation of 1/f read noise at g_max, in µS, before the factor of time."""

    unmeasured = ("g_max_us", "programming_coefficients_us", "drift_nu_mean", "drift_nu_std", "read_noise_scale")

    module = "custom"
    kind = "StateIndependentNoiseModel"
    attributes: ClassVar[Mapping[str, str]] = {
        "g_max": "g_max_us",
        "prog_coeff": "programming_coefficients_us",
        "prog_noise_scale": "programming_noise_scale",
        "t_0": "t_0_s",
        "drift_nu_mean": "drift_nu_mean",
        "drift_nu_std": "drift_nu_std",
        "drift_scale": "drift_scale",
        "t_read": "t_read_s",
        "read_noise_scale": "read_noise_scale",
    }

    @property
    def assumed(self) -> tuple[str, ...]:
        off = {
            "programming_coefficients_us": self.programming_noise_scale == 0,
            "drift_nu_mean": self.drift_scale == 0,
            "drift_nu_std": self.drift_scale == 0,
        }
        return tuple(field for field in super().assumed if not off.get(field, False))

    def lasting(self, t_s: float) -> float:
        return drifted(t_s, self.t_0_s, self.drift_nu_mean * self.drift_scale)


def drifted(t_s: float, t_0_s: float, nu: float) -> float:
    """Share of a conductance that is left ``t_s`` seconds after the first read."""
    return float((1 + t_s / t_0_s) ** -nu)


DEVICE_MODELS: Mapping[str, type[DeviceModel]] = {
    "pcm": Pcm,
    "pcm_custom_drift": PcmCustomDrift,
    "hermes": Hermes,
    "reram_cmo": ReramCmo,
    "reram_wan2022": ReramWan2022,
    "state_independent": StateIndependent,
    "measured": Measured,
    "regimes": Regimes,
    "aihwkit": AihwkitDevices,
}


def _model_of(value: object) -> str:
    named = value.get("model", "pcm") if isinstance(value, dict) else getattr(value, "model", "pcm")
    return named if isinstance(named, str) else repr(named)


Devices = Annotated[
    Annotated[Pcm, Tag("pcm")]
    | Annotated[PcmCustomDrift, Tag("pcm_custom_drift")]
    | Annotated[Hermes, Tag("hermes")]
    | Annotated[ReramCmo, Tag("reram_cmo")]
    | Annotated[ReramWan2022, Tag("reram_wan2022")]
    | Annotated[StateIndependent, Tag("state_independent")]
    | Annotated[Measured, Tag("measured")]
    | Annotated[Regimes, Tag("regimes")]
    | Annotated[AihwkitDevices, Tag("aihwkit")],
    Discriminator(
        _model_of,
        custom_error_type="device_model",
        custom_error_message=f"choose one of {', '.join(map(repr, DEVICE_MODELS))}",
    ),
]
"""A device model, told apart by its field ``model`` (``pcm`` where it is missing)."""
