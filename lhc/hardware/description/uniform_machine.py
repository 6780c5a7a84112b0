"""`Machine`: a description whose layers are all alike."""

from dataclasses import replace

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from lhc.hardware.aihwkit_config.user_aihwkit_objects import AihwkitDevices
from lhc.hardware.circuits.currents import Currents
from lhc.hardware.circuits.faults import Faults, stuck_count
from lhc.hardware.description.costs import AlpineCosts, Costs
from lhc.hardware.description.digital import DigitalCores
from lhc.hardware.description.tiles_and_converters import (
    Adc,
    Compensation,
    Dac,
    LeftOut,
    Mapping,
    RareEffect,
    Section,
    Tiles,
    Training,
)
from lhc.hardware.devices.pcm_and_reram import Devices, Pcm
from lhc.hardware.devices.unit_cell import PairedDevices

MOST_FAULTY = 2**22
"""Pairs of a tile whose faults are drawn."""


class Machine(Section):
    """Analog tiles, and what feeds them."""

    name: str
    description: str = ""
    source: str = ""
    """Where the numbers come from."""
    left_out: tuple[LeftOut, ...] = ()
    """Effects of the machine that the emulation leaves out; to be shown whenever it is used."""
    tiles: Tiles = Tiles()
    dac: Dac = Dac()
    adc: Adc = Adc()
    currents: Currents = Currents()
    mapping: Mapping = Mapping()
    devices: Devices | None = Pcm()
    """null: perfect devices that are never programmed and never drift."""
    faults: Faults = Faults()
    compensation: Compensation = Compensation()
    t_inference_s: float = Field(default=86400.0, ge=0)
    """Time of inference, in seconds after the first read (``devices.t_0_s`` after programming), or after
    programming for devices without one."""
    training: Training = Training()
    digital: DigitalCores = DigitalCores()
    costs: Costs | None = AlpineCosts()
    """What the machine's work costs in time and energy; null: not known."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: tiles of {self.tiles.size_text}>"

    @property
    def output_variance(self) -> float:
        """Variance that output noise and rounding of ADCs add to an output, all reads of its inputs counted.

        Mismatch of cells is counted as in outputs of 0, where it is greatest. In units of the product of one full-scale
        input and one full-scale weight, squared.
        """
        noise = self.adc.noise**2 * (1 + self.adc.cell_mismatch**2)
        return (noise + self.adc.rounding_variance) * sum(read**2 for read in self.dac.reads)

    @property
    def pairs_per_weight(self) -> int:
        """Pairs of devices in the unit cell of a weight."""
        return self.devices.pairs_per_weight if isinstance(self.devices, PairedDevices) else 1

    @property
    def stuck_by_tile(self) -> tuple[int, ...]:
        """Stuck cells of every tile of the one chip whose map is known; ValueError where that cannot be read."""
        rows = self.tiles.rows * self.pairs_per_weight
        return tuple(stuck_count(text, self.tiles.cols, rows) for text in self.faults.map or ())

    @property
    def cells(self) -> int:
        """Unit cells of a tile, of one pair of devices each, or of one device where there is a reference column."""
        devices, tiles = self.devices, self.tiles
        if not isinstance(devices, PairedDevices):
            return tiles.rows * tiles.cols
        return tiles.rows * (tiles.cols + (devices.pair == "reference-column")) * devices.pairs_per_weight

    @property
    def rare_effects(self) -> dict[str, RareEffect]:
        """Rare effects that it has, by the paths of their fields; the engine ``fast`` leaves them out."""
        return {
            f"{path}.{name}": replace(mark, what=mark.what.format(getattr(section, name)))
            for path, section in (("dac", self.dac), ("adc", self.adc))
            for name, mark in section.rare_fields().items()
            if getattr(section, name) != type(section).model_fields[name].default
        }

    @property
    def absent_noise(self) -> tuple[str, ...]:
        """Kinds of noise that the machine has not, each with the field that says so."""
        absent = [] if self.adc.noise > 0 else ["output noise (adc.noise: 0)"]
        if self.devices is None:
            return (*absent, "programming noise, drift and read noise (devices: null)")
        scales = {
            "programming noise": "programming_noise_scale",
            "drift": "drift_scale",
            "read noise": "read_noise_scale",
        }
        off = (f"{what} (devices.{field}: 0)" for what, field in scales.items() if getattr(self.devices, field, 1) == 0)
        return (*absent, *off)

    @property
    def has_ideal_wires(self) -> bool:
        """Whether currents of its devices flow through wires without resistance, as no real machine has."""
        return self.devices is not None and self.adc.sensing == "current" and self.currents.ir_drop == 0

    @property
    def draws_outputs(self) -> bool:
        """Whether the outputs of a tile have noise that is drawn for every product."""
        return self.adc.noise > 0 or self.currents.read_noise > 0

    @model_validator(mode="before")
    @classmethod
    def _unpriced_cores_are_not_described(cls, data: object) -> object:
        """A description without costs says nothing of digital cores, unless it has a section on them."""
        if isinstance(data, dict) and "costs" in data and data["costs"] is None and "digital" not in data:
            return data | {"digital": {"precision": "as-file", "high_precision": None}}
        return data

    @model_validator(mode="after")
    def _quantisers_have_a_range(self) -> "Machine":
        for side, converter in (("dac", self.dac), ("adc", self.adc)):
            if converter.bits is not None and converter.bound is None:
                raise ValueError(f"{side}.bits needs {side}.bound: a quantiser without a range is undefined")
        return self

    @model_validator(mode="after")
    def _devices_are_known_at_the_time(self) -> "Machine":
        problem = self.devices and self.devices.time_problem(self.t_inference_s)
        if problem:
            raise time_error(problem, ("t_inference_s",), self.t_inference_s)
        return self

    @model_validator(mode="after")
    def _tiles_have_a_size(self) -> "Machine":
        needing = {
            "tiles.count": self.tiles.count is not None,
            "costs (costs: null leaves them out)": self.costs is not None,
            "faults": self.faults.any,
        }
        if not self.tiles.limited and (wrong := [what for what, is_so in needing.items() if is_so]):
            raise ValueError(f"tiles.rows and tiles.cols must be numbers for {' and for '.join(wrong)}")
        return self

    @model_validator(mode="after")
    def _faults_are_of_known_cells(self) -> "Machine":
        if isinstance(self.devices, AihwkitDevices) and (self.faults.any or self.faults.differ):
            raise ValueError(
                f"faults are those of cells that lhc knows, and {self.devices.noise_model} programs whole weights:"
                " leave out the faults, or take another device model"
            )
        return self

    @model_validator(mode="after")
    def _faults_are_of_pairs(self) -> "Machine":
        if self.faults.any and self.devices is not None and not self.devices.pairs:
            raise ValueError(
                f"faults are those of pairs of cells, and a weight of {self.devices.model} is one device; leave out the"
                " faults, or take devices of pairs, such as a table of your own (lhc hardware NAME --measured FILE)"
            )
        devices = self.devices
        if self.faults.any and isinstance(devices, PairedDevices) and devices.pair not in ("one-sided", "two-sided"):
            raise ValueError(
                f"faults are those of pairs of cells, and with devices.pair: {devices.pair} a weight has one cell of"
                " its own; take one-sided or two-sided, or leave out the faults"
            )
        if self.faults.any and self.tiles.rows * self.tiles.cols * self.pairs_per_weight > MOST_FAULTY:
            raise ValueError(f"faults are drawn cell by cell: a tile may have at most {MOST_FAULTY} pairs")
        return self

    @model_validator(mode="after")
    def _tiles_of_a_chip_are_known(self) -> "Machine":
        faults, tiles = self.faults, self.tiles
        if faults.differ and tiles.count is None:
            raise ValueError("tiles that differ (faults.map, tile_noise, tile_spread) need tiles.count: how many")
        for name, each in (("map", faults.map), ("tile_noise", faults.tile_noise)):
            if each is not None and len(each) != tiles.count:
                raise ValueError(f"faults.{name} describes {len(each)} tiles, and tiles.count is {tiles.count}")
        _ = self.stuck_by_tile  # every text of a map can be read
        if faults.tiles and tiles.count is not None and max(faults.tiles) >= tiles.count:
            raise ValueError(f"tile {max(faults.tiles)}: the chip has tiles 0 to {tiles.count - 1}")
        return self

    @model_validator(mode="after")
    def _currents_are_those_of_a_range(self) -> "Machine":
        if self.currents.any and (self.adc.range == "column" or self.adc.columns is not None):
            raise ValueError("adc.range: column cannot be given with currents, whose noise is that of one range")
        return self

    @model_validator(mode="after")
    def _voltages_are_of_pairs(self) -> "Machine":
        if self.adc.sensing == "current":
            return self
        devices = self.devices
        pairs = devices is None or (isinstance(devices, PairedDevices) and devices.pair in ("one-sided", "two-sided"))
        wrong = {
            "devices of pairs (one-sided or two-sided)": not pairs,
            "compensation.drift: none, whose read-outs are of currents": self.compensation.drift != "none",
            "mapping.slices: 1": self.mapping.slices > 1,
            "currents that do not depend on weights": self.currents.by_weight,
            "either adc.noise or currents.read_noise": self.adc.noise > 0 and self.currents.read_noise > 0,
        }
        if needed := [what for what, is_so in wrong.items() if is_so]:
            raise ValueError(f"adc.sensing: voltage needs {needed[0]}")
        return self

    @model_validator(mode="after")
    def _cells_mismatch_in_noise_of_products(self) -> "Machine":
        wrong = {
            "compensation.drift: none, whose read-outs do not have it": self.compensation.drift != "none",
            "adc.sensing: current": self.adc.sensing != "current",
            "no currents": self.currents.any,
        }
        if self.adc.cell_mismatch > 0 and (needed := [what for what, is_so in wrong.items() if is_so]):
            raise ValueError(f"adc.cell_mismatch needs {needed[0]}")
        return self

    @model_validator(mode="after")
    def _unipolar_sums_are_never_negative(self) -> "Machine":
        signed = self.mapping.code != "twos-complement" and self.offset == 0
        wrong = {
            "dac.code: twos-complement or unsigned": self.dac.code == "sign-magnitude",
            "mapping.code: twos-complement, or devices.pair: digital-offset": signed,
        }
        if self.adc.polarity == "unipolar" and (needed := [what for what, is_so in wrong.items() if is_so]):
            raise ValueError(f"adc.polarity: unipolar needs {needed[0]}: sums that are never negative")
        return self

    @model_validator(mode="after")
    def _zeros_have_scales(self) -> "Machine":
        wrong = {
            "dac.scaling: static or none": self.dac.scaling == "abs_max",
            "mapping.columnwise: false": self.mapping.columnwise,
            "adc.sensing: current": self.adc.sensing != "current",
        }
        if not self.adc.zero_skipping and (needed := [what for what, is_so in wrong.items() if is_so]):
            raise ValueError(f"adc.zero_skipping: false needs {needed[0]}: zeros have no scale of their own")
        return self

    @property
    def offset(self) -> float:
        """Offset subtracted behind the ADC, in units of the greatest weight of a tile; 0 for none."""
        return self.devices.offset if isinstance(self.devices, PairedDevices) else 0.0

    @model_validator(mode="after")
    def _cells_are_counted(self) -> "Machine":
        if self.cells == self.tiles.rows * self.tiles.cols and self.offset == 0:
            return self
        apart = (
            self.pairs_per_weight > 1 or self.offset > 0
        )  # constant read noise is that of a weight, reference or not
        if self.currents.by_weight or (apart and self.currents.any):
            raise ValueError(
                "currents are those of one pair a weight: they cannot be given with devices.pair: reference-column or"
                " digital-offset, or with devices.pairs_per_weight; constant read noise can be, with reference-column"
            )
        if self.costs is not None and not self.costs.slices:
            raise ValueError(
                f"cost model {self.costs.model!r} does not count unit cells (devices.pair: reference-column or"
                " digital-offset, devices.pairs_per_weight); costs: null leaves costs out"
            )
        return self

    @model_validator(mode="after")
    def _offset_is_that_of_one_read(self) -> "Machine":
        if self.offset and (self.adc.bound_management != "none" or self.adc.range == "column" or self.adc.columns):
            raise ValueError(
                "devices.pair: digital-offset needs adc.bound_management: none, and adc.range: fixed or layer: the sum"
                " of the inputs of one read is subtracted, and all columns have it"
            )
        if self.offset and self.compensation.drift == "global-exact":
            raise ValueError(
                "devices.pair: digital-offset cannot be given with compensation.drift: global-exact, whose reference is"
                " weights without their offset"
            )
        return self

    @model_validator(mode="after")
    def _slices_fit(self) -> "Machine":
        sliced = self.mapping.slices > 1 or self.dac.slice_bits is not None
        if sliced and self.costs is not None and not self.costs.slices:
            raise ValueError(
                f"cost model {self.costs.model!r} does not count slices (mapping.slices, dac.slice_bits); costs: null"
                " leaves costs out"
            )
        if sliced and self.currents.read_noise > 0:
            raise ValueError(
                "currents.read_noise is that of whole weights and inputs: it cannot be given with mapping.slices and"
                " dac.slice_bits"
            )
        if self.dac.slice_bits is not None and self.adc.bound_management != "none":
            raise ValueError("dac.slice_bits needs adc.bound_management: none: no read of a slice is repeated")
        return self


def time_error(problem: str, where: tuple[str | int, ...], t_s: float) -> ValidationError:
    """Problem with a time of inference, at a path of a description."""
    wrong = PydanticCustomError("time", "{problem}", {"problem": problem})
    return ValidationError.from_exception_data("Hardware", [InitErrorDetails(type=wrong, loc=where, input=t_s)])
