"""The machine: tiles, converters, devices, and how weights become conductances.

A description is YAML, checked field by field; presets lie in ``lhc/presets``. Values of converters are
relative: inputs are scaled to ±1 before the DAC, weights to ±1 before programming, and a product of both is
what the ADC sees.
"""

import math
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from lhc.errors import ConfigError, MissingDependencyError, UsageError

if TYPE_CHECKING:
    from aihwkit.simulator.configs import TorchInferenceRPUConfig

__all__ = ["Adc", "Dac", "Devices", "Hardware", "Mapping", "Tiles", "Training", "preset_names", "preset_text"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Tiles(_Section):
    """Crossbar geometry, in unit cells (one differential pair of devices each)."""

    rows: PositiveInt = 256
    """Inputs of one tile."""
    cols: PositiveInt = 256
    """Outputs of one tile."""
    count: PositiveInt | None = None
    """Tiles of the whole machine, over all analog layers; null: no bound."""


class Dac(_Section):
    """Input side of a tile."""

    bits: int | None = Field(default=8, ge=2, le=24)
    """Resolution: 2^bits - 2 steps over the range; null: not quantised."""
    bound: float | None = Field(default=1.0, gt=0)
    """Inputs are clipped to ±bound after scaling; null: unbounded."""
    scaling: Literal["abs_max", "none"] = "abs_max"
    """``abs_max`` divides every input vector by its greatest magnitude (dynamic input scaling)."""


class Adc(_Section):
    """Output side of a tile."""

    bits: int | None = Field(default=8, ge=2, le=24)
    """Resolution: 2^bits - 2 steps over ±bound; null: not quantised."""
    bound: float | None = Field(default=12.0, gt=0)
    """Outputs saturate at ±bound; null: unbounded."""
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of the normal noise added to every output before the ADC, in units of the
    product of one full-scale input and one full-scale weight."""
    bound_management: Literal["iterative", "none"] = "iterative"
    """``iterative`` halves the inputs of a vector that saturates and reads it again."""


class Devices(_Section):
    """Programming noise, drift and read noise of the devices, as aihwkit models them."""

    model: Literal["pcm"] = "pcm"
    """``pcm``: aihwkit's PCMLikeNoiseModel (Nandakumar et al., ICECS 2019)."""
    g_max_us: float = Field(default=25.0, gt=0)
    """Greatest conductance, in µS."""
    programming_noise_scale: float = Field(default=1.0, ge=0)
    """Factor on the standard deviation of programming noise; 0 switches it off."""
    read_noise_scale: float = Field(default=1.0, ge=0)
    """Factor on the standard deviation of 1/f read noise; 0 switches it off."""
    drift_scale: float = Field(default=1.0, ge=0)
    """Factor on the drift exponents; 0 switches drift off."""


class Mapping(_Section):
    """How a weight matrix is scaled onto conductances."""

    omega: float = Field(default=1.0, gt=0, le=1)
    """The greatest weight of a column is mapped to omega · g_max."""
    columnwise: bool = True
    """Scale every column of a tile by its own greatest weight; otherwise one scale a tile."""


class Training(_Section):
    """Noise and limits of hardware-aware training (not used for inference)."""

    weight_noise: float = Field(default=0.08, ge=0)
    """Standard deviation of multiplicative normal weight noise, relative to each weight."""
    clip: float | None = Field(default=1.0, gt=0)
    """Weights are clipped to ±clip after every step, relative to the tile's full scale."""
    remap: Literal["channelwise", "none"] = "channelwise"
    """Columns are rescaled to the full range after every step."""


class Hardware(_Section):
    """A machine with analog tiles."""

    name: str
    description: str = ""
    source: str = ""
    """Where the numbers come from."""
    tiles: Tiles = Tiles()
    dac: Dac = Dac()
    adc: Adc = Adc()
    mapping: Mapping = Mapping()
    devices: Devices | None = Devices()
    """null: perfect devices that are never programmed and never drift."""
    drift_compensation: Literal["global", "none"] = "global"
    """``global``: one gain a tile, the mean magnitude of a read-out after programming over that at the time
    of inference (Joshi et al., Nat. Commun. 2020)."""
    t_inference_s: float = Field(default=86400.0, ge=0)
    """Time of inference, in seconds after the first read, which is 20 s after programming."""
    training: Training = Training()

    @model_validator(mode="after")
    def _quantisers_have_a_range(self) -> "Hardware":
        for side, converter in (("dac", self.dac), ("adc", self.adc)):
            if converter.bits is not None and converter.bound is None:
                raise ValueError(f"{side}.bits needs {side}.bound: a quantiser without a range is undefined")
        return self

    @property
    def is_stochastic(self) -> bool:
        """Whether two draws can differ."""
        return self.devices is not None or self.adc.noise > 0

    @property
    def geometry(self) -> "Hardware":
        """The same tiles and mapping with noise, quantisers and bounds off: what the parity gate runs on."""
        perfect = preset("ideal")
        return perfect.model_copy(update={"tiles": self.tiles, "mapping": self.mapping})

    def tiles_for(self, rows: int, cols: int) -> int:
        """Tiles of a matrix with that many inputs and outputs, split as aihwkit splits it."""
        return math.ceil(rows / self.tiles.rows) * math.ceil(cols / self.tiles.cols)

    def to_yaml(self) -> str:
        """The whole description as YAML that ``Hardware.load`` reads back."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True)

    @classmethod
    def load(cls, where: "str | Path | Hardware") -> "Hardware":
        """A preset by name, a YAML file by path, or a description as it is.

        Raises:
            UsageError: neither a preset nor a file.
            ConfigError: not YAML, or a field is wrong; the message names it by its path.
        """
        if isinstance(where, Hardware):
            return where
        if str(where) in preset_names():
            return preset(str(where))
        path = Path(where)
        if not path.is_file():
            raise UsageError(
                f"unknown hardware {str(where)!r}: neither a preset ({', '.join(preset_names())}) nor a YAML file"
            )
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as text: {error}") from error
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, where: str) -> "Hardware":
        """Read YAML (or JSON); ``where`` names the text in errors.

        Raises:
            ConfigError: as in `load`.
        """
        try:
            data = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: an impossible date or number
            raise ConfigError(f"{where}: not valid YAML: {error}") from error
        if not isinstance(data, dict):
            raise ConfigError(f"{where}: a hardware description is a mapping of fields; see 'lhc hardware lionheart'")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'hardware'}: {e['msg']} (got {e['input']!r:.60})"
                for e in error.errors()
            )
            raise ConfigError(f"{where}: {problems}") from error

    def to_rpu_config(self) -> "TorchInferenceRPUConfig":
        """The same tile as an aihwkit configuration for its torch tile.

        Devices that are never programmed (``devices: null``) become a noise model with all effects off.

        Raises:
            MissingDependencyError: aihwkit is not installed.
        """
        try:
            from aihwkit.inference.compensation.drift import GlobalDriftCompensation
            from aihwkit.inference.noise.pcm import PCMLikeNoiseModel
            from aihwkit.simulator.configs import TorchInferenceRPUConfig
            from aihwkit.simulator.parameters import enums, inference, io, mapping
        except ImportError as error:
            raise MissingDependencyError(
                "aihwkit is needed to emulate analog tiles and could not be imported; it has wheels for Linux"
                f" x86-64 only ({error})"
            ) from error
        devices = self.devices or Devices(programming_noise_scale=0, read_noise_scale=0, drift_scale=0)
        config = TorchInferenceRPUConfig(
            mapping=mapping.MappingParameter(
                max_input_size=self.tiles.rows,
                max_output_size=self.tiles.cols,
                digital_bias=True,
                weight_scaling_omega=self.mapping.omega,
                weight_scaling_columnwise=self.mapping.columnwise,
                learn_out_scaling=True,
                out_scaling_columnwise=True,
            ),
            forward=io.IOParameters(
                inp_res=_resolution(self.dac.bits),
                inp_bound=self.dac.bound or 0.0,
                noise_management=enums.NoiseManagementType[self.dac.scaling.upper()],
                out_res=_resolution(self.adc.bits),
                out_bound=self.adc.bound or 0.0,
                out_noise=self.adc.noise,
                bound_management=enums.BoundManagementType[self.adc.bound_management.upper()],
            ),
            noise_model=PCMLikeNoiseModel(
                g_max=devices.g_max_us,
                prog_noise_scale=devices.programming_noise_scale,
                read_noise_scale=devices.read_noise_scale,
                drift_scale=devices.drift_scale,
            ),
            drift_compensation=GlobalDriftCompensation() if self.drift_compensation == "global" else None,
        )
        if self.training.weight_noise > 0:
            config.modifier = inference.WeightModifierParameter(
                type=enums.WeightModifierType.MULT_NORMAL,
                std_dev=self.training.weight_noise,
                rel_to_actual_wmax=True,
            )
        if self.training.clip is not None:
            config.clip = inference.WeightClipParameter(
                type=enums.WeightClipType.FIXED_VALUE, fixed_value=self.training.clip
            )
        if self.training.remap == "channelwise":
            config.remap = inference.WeightRemapParameter(type=enums.WeightRemapType.CHANNELWISE_SYMMETRIC)
        return config


def _resolution(bits: int | None) -> float:
    """aihwkit's step relative to the range ±bound: 1 / (2^bits - 2); -1 switches the quantiser off."""
    return -1.0 if bits is None else 1.0 / (2**bits - 2)


def preset_names() -> tuple[str, ...]:
    """Names of the presets that ship with lhc."""
    files = resources.files("lhc").joinpath("presets").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


def preset_text(name: str) -> str:
    """The YAML of a preset, with its comments.

    Raises:
        UsageError: no such preset.
    """
    if name not in preset_names():
        raise UsageError(f"unknown hardware {name!r}; presets: {', '.join(preset_names())}")
    return resources.files("lhc").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")


def preset(name: str) -> Hardware:
    """A preset by name.

    Raises:
        UsageError: no such preset.
    """
    return Hardware.parse(preset_text(name), f"preset {name}")
