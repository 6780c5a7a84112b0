"""`Hardware`: the whole description of a machine, from and to YAML and aihwkit."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import deepcopy
from functools import lru_cache
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError, model_validator

from lhc.errors import ConfigError, UsageError
from lhc.hardware.aihwkit_config.rpu_config import build, read
from lhc.hardware.aihwkit_config.user_aihwkit_objects import loaded_classes
from lhc.hardware.description.overrides import Override, problems
from lhc.hardware.description.presets import nearest_presets, preset_names, preset_text
from lhc.hardware.description.tiles_and_converters import UNLIMITED, LeftOut
from lhc.hardware.description.uniform_machine import Machine, time_error
from lhc.hardware.tile_geometry import free_copies, held_rows, tile_rows, tiles_for
from lhc.support.documents import fields_by_path, read_yaml, set_by_path, write_yaml
from lhc.support.load_by_name import load_object
from lhc.support.number_formatting import time_text
from lhc.support.source_digest import source_digest

if TYPE_CHECKING:
    from aihwkit.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig

_OBJECT = re.compile(r"[\w.]+:\w+")
"""``module:name``."""
_SHOWN = 5
"""Fields of an edited preset that are named."""
_NO_IR_DROP = LeftOut(
    name="IR drop",
    size="currents.ir_drop is 0",
    text="results are too good, most where layers have copies",
)


@lru_cache(maxsize=32)  # PyYAML takes 8 ms for a machine; presets are read again and again
def _document(text: str, where: str) -> object:
    """A description's YAML as plain values, which all callers share and must not change."""
    return read_yaml(text, where)


class Hardware(Machine):
    """A machine with analog tiles."""

    overrides: tuple[Override, ...] = ()
    """What is different for some layers, applied in order."""

    @model_validator(mode="after")
    def _overrides_fit(self) -> "Hardware":
        for number, override in enumerate(self.overrides):
            machine = self._with(override, number)
            problem = machine.devices and machine.devices.time_problem(self.t_inference_s)
            if problem:
                raise time_error(problem, ("overrides", number, "devices"), self.t_inference_s)
        return self

    def _with(self, override: Override, number: int) -> "Hardware":
        return self.model_copy(update=override.apply(self, ("overrides", number)) | {"overrides": ()})

    def variants(self) -> "tuple[Hardware, ...]":
        """The machine, and with each of its overrides."""
        return (self, *(self._with(override, number) for number, override in enumerate(self.overrides)))

    @property
    def most_cells(self) -> int:
        """Unit cells of a tile, of the layers that need most."""
        return max(machine.cells for machine in self.variants())

    @property
    def is_stochastic(self) -> bool:
        """Whether two draws can differ, in any layer."""
        return any(
            m.devices is not None or m.draws_outputs or m.faults.any or m.adc.capacitor_mismatch
            for m in self.variants()
        )

    @property
    def has_mismatch(self) -> bool:
        """Whether steps of an ADC differ from each other, in any layer."""
        return any(machine.adc.capacitor_mismatch > 0 for machine in self.variants())

    @property
    def needs_calibration(self) -> bool:
        """Whether input ranges must be calibrated on data, for any layer."""
        return any(machine.dac.scaling == "static" for machine in self.variants())

    @property
    def calibrates_adcs(self) -> bool:
        """Whether ranges of ADCs are calibrated on data, for any layer; layers may be calibrated already."""
        return any(machine.adc.to_calibrate for machine in self.variants())

    def with_adc_bounds(
        self, bounds: Mapping[str, float], columns: Mapping[str, tuple[float, ...]] | None = None
    ) -> "Hardware":
        """The same machine with calibrated ranges of the ADCs of these layers, by name.

        Args:
            columns: range of every output as a share of the bound, of the layers that have such.
        """
        found = []
        for name, bound in bounds.items():
            shares = {"columns": columns[name]} if columns and name in columns else {}
            found.append(Override(layers=escape(name), adc={"bound": bound, "range": "calibrated", **shares}))
        return self.model_copy(update={"overrides": (*self.overrides, *found)})

    def with_signs(self, signed: Mapping[str, bool]) -> "Hardware":
        """The same machine where it is known if inputs of these layers, by name, are ever negative."""
        codes = ((n, self.for_layer(n).dac.code if is_signed else "unsigned") for n, is_signed in signed.items())
        found = (Override(layers=escape(n), dac={"signs": "calibrated", "code": code}) for n, code in codes)
        return self.model_copy(update={"overrides": (*self.overrides, *found)})

    @property
    def as_described(self) -> "Hardware":
        """The same machine as its user described it: without ranges, signs and tiles that were found for layers."""
        return self.with_open_ranges.unarranged

    @property
    def with_open_ranges(self) -> "Hardware":
        """The same machine as it was before ranges and signs were calibrated for layers."""
        kept = tuple(o for o in self.overrides if "calibrated" not in (o.adc.get("range"), o.dac.get("signs")))
        return self.model_copy(update={"overrides": kept})

    @property
    def unarranged(self) -> "Hardware":
        """The same machine with those tiles alone given to layers that a user gave them."""
        kept = tuple(one for one in self.overrides if one.on_tiles is None or one.on_tiles_by == "user")
        return self.model_copy(update={"overrides": kept})

    @property
    def arranged_by(self) -> str | None:
        """By what lhc gave tiles of a chip to layers; None where it did not."""
        return next((one.on_tiles_by for one in self.overrides if one.on_tiles_by != "user"), None)

    def with_tiles(self, tiles: Mapping[str, tuple[int, ...]], by: Literal["file", "sensitivity"]) -> "Hardware":
        """The same machine with these tiles of its chip given to layers, by name."""
        given = tuple(Override(layers=escape(name), on_tiles=on, on_tiles_by=by) for name, on in tiles.items())
        return self.model_copy(update={"overrides": (*self.overrides, *given)})

    def with_names(self, names: Mapping[str, str], gone: Collection[str]) -> "Hardware":
        """The same machine for a network whose layers have other names, some of which are gone.

        Args:
            names: the earlier name of a layer, and the present one.
            gone: earlier names; overrides of these alone are left out.
        """
        found: list[Override] = []
        for one in self.overrides:
            now = [name for before, name in names.items() if one.matches(before)]
            if set(filter(one.matches, names.values())) != set(now):
                found += (one.model_copy(update={"layers": escape(name)}) for name in now)
            elif now or not any(map(one.matches, gone)):
                found.append(one)
        return self.model_copy(update={"overrides": tuple(found)})

    @property
    def with_tiles_alike(self) -> "Hardware":
        """The same machine with tiles that do not differ, and no stuck cells of a map."""
        alike = {"map": None, "tile_noise": None, "tile_spread": 0.0}
        return self.model_copy(update={"faults": self.faults.model_copy(update=alike)})

    def any_layer(self, has: Callable[[Machine], bool]) -> bool:
        """Whether any layer's machine has something."""
        return any(map(has, self.variants()))

    @property
    def effects_left_out(self) -> tuple[LeftOut, ...]:
        """``left_out``, and IR drop where it is not named there and any layer's machine has ideal wires."""
        named = any(effect.name == _NO_IR_DROP.name for effect in self.left_out)
        no_ir_drop = not named and self.any_layer(lambda machine: machine.has_ideal_wires)
        return (*self.left_out, _NO_IR_DROP) if no_ir_drop else self.left_out

    @property
    def corrects_outputs(self) -> bool:
        """Whether outputs of chips are corrected on calibration samples, in any layer."""
        return self.is_stochastic and any(machine.compensation.outputs != "none" for machine in self.variants())

    @property
    def geometry(self) -> "Hardware":
        """The same tiles and mapping of whole weights, without noise, quantisers and bounds: for the parity gate."""
        return self.with_whole_weights().targets

    @property
    def targets(self) -> "Hardware":
        """The machine's geometry with its cells and slices: tiles hold the targets that its own are programmed to."""
        overrides = tuple(Override(layers=o.layers, mapping=o.mapping) for o in self.overrides if o.mapping)
        perfect = Hardware.load("ideal")
        return perfect.model_copy(update={"tiles": self.tiles, "mapping": self.mapping, "overrides": overrides})

    def with_whole_weights(self) -> "Hardware":
        """The same machine with cells that hold any weight, not rounded and not sliced, for all layers."""
        off = {"cell_bits": None, "slices": 1, "code": "sign-magnitude"}
        overrides = tuple(
            o.model_copy(update={"mapping": {k: v for k, v in o.mapping.items() if k not in off}})
            for o in self.overrides
        )
        return self.model_copy(update={"mapping": self.mapping.model_copy(update=off), "overrides": overrides})

    def infers_as(self, other: "Hardware") -> bool:
        """Whether two machines differ at most in how networks are trained for them."""
        return self.model_copy(update={"training": other.training}) == other

    def with_drift_compensation_alone(self) -> "Hardware":
        """The same machine without copies of weights and without corrections of outputs, for all layers."""
        return self._compensated(copies=False, outputs="none")

    @property
    def without_output_correction(self) -> "Hardware":
        """The same machine whose chips correct no outputs, for all layers."""
        return self._compensated(outputs="none")

    @property
    def calibrated_once(self) -> "Hardware":
        """The same machine whose outputs are calibrated at the first read alone, for all layers."""
        return self._compensated(when="programming", time_s=None)

    def _compensated(self, **fields: object) -> "Hardware":
        """The same machine with these fields of its compensation, for all layers."""
        overrides = tuple(
            o.model_copy(update={"compensation": {k: v for k, v in o.compensation.items() if k not in fields}})
            for o in self.overrides
        )
        return self.model_copy(
            update={"compensation": self.compensation.model_copy(update=fields), "overrides": overrides}
        )

    def for_layer(self, name: str) -> "Hardware":
        """The machine as a layer of that name has it: with the overrides that match, and none left.

        Raises:
            ConfigError: overrides that fit each by itself contradict one another.
        """
        if not self.overrides:
            return self
        try:
            machine = self.model_copy(update={"overrides": ()})
            for number, override in enumerate(self.overrides):
                if override.matches(name):
                    machine = machine.model_copy(update=override.apply(machine, ("overrides", number)))
            return Hardware.model_validate(machine.model_dump())
        except ValidationError as error:
            raise ConfigError(f"hardware {self.name!r}, layer {name!r}: {problems(error)}") from error

    def unmatched_overrides(self, names: Iterable[str]) -> list[str]:
        """Patterns of overrides that match none of these layers."""
        names = list(names)
        return [override.layers for override in self.overrides if not any(map(override.matches, names))]

    def check_time(self, t_s: float) -> None:
        """Make sure that a time of inference is one, and that the devices of every layer are known at it.

        Args:
            t_s: seconds, counted as ``t_inference_s``.

        Raises:
            UsageError: they are not.
        """
        if isinstance(t_s, str):
            raise UsageError(f"a time of inference is a number of seconds, such as 86400.0, not {t_s!r}")
        if not 0 <= t_s < float("inf"):
            raise UsageError(f"the time of inference must be at least 0 s and finite, got {t_s}")
        for machine in self.variants():
            if problem := machine.time_problem(t_s):
                raise UsageError(f"hardware {self.name!r} after {time_text(t_s)}: {problem}")

    def time_problem(self, t_s: float) -> str | None:
        """Reason why devices or outputs of the machine without its overrides are not known at a time; None: they are.

        Args:
            t_s: seconds, counted as ``t_inference_s``.
        """
        first = self.compensation.time_s
        if self.compensation.when == "age" and first is not None and t_s < first and self.corrects_outputs:
            return f"outputs are calibrated once, after {time_text(first)} (compensation.when: age); name a later time"
        return None if self.devices is None else self.devices.time_problem(t_s)

    def knows(self, t_s: float) -> bool:
        """Whether the devices of every layer are known at a time, in seconds counted as ``t_inference_s``."""
        return not any(machine.time_problem(t_s) for machine in self.variants())

    @property
    def copies_obstacle(self) -> str | None:
        """Reason why a layer of this machine has no copies of its weights; None where it may have some."""
        if not self.compensation.copies:
            return "compensation.copies is false"
        if self.tiles.rows == UNLIMITED:
            return "tiles.rows is null: tiles have as many rows as their layers need, and no free ones"
        if self.devices is None and not self.faults.any:
            return "its devices are perfect, so that copies bring nothing"
        if self.mapping.slices > 1:
            return "mapping.slices spreads every weight over tiles"
        if self.offset > 0:
            return "devices.pair: digital-offset subtracts the sum of the inputs of single rows"
        if self.currents.by_weight:
            return "its currents are computed by single rows, and only the sum of the copies of a weight is known"
        if self.adc.sensing == "voltage":
            return "adc.sensing: voltage reads means of rows, which copies do not make greater"
        if self.adc.range != "fixed":
            return "adc.range is calibrated for the weights once"
        if self.adc.bound is not None and self.adc.bound_management == "none":
            return "adc.bound_management is none, so that the sum of copies could saturate the ADC"
        return None

    def takes_copies_of(self, other: "Hardware") -> bool:
        """Whether copies of weights that were chosen for another machine can stay: its tiles hold them likewise."""

        def holding(one: Hardware) -> object:
            return one.tiles, one.mapping, one.copies_obstacle

        return self._by_layer(holding) == other._by_layer(holding)

    def takes_ranges_of(self, other: "Hardware") -> bool:
        """Whether static ranges of inputs that were found for another machine can stay: its DACs are the same."""

        def driving(one: Hardware) -> object:
            return one.tiles, one.mapping, one.dac

        return self.with_open_ranges._by_layer(driving) == other.with_open_ranges._by_layer(driving)

    def _by_layer(self, facts: Callable[["Hardware"], object]) -> tuple[tuple[str, object], ...]:
        """Facts of the machine, and of the overrides in which they differ, each with the pattern of its layers."""
        own, *others = map(facts, self.variants())
        named = zip((one.layers for one in self.overrides), others, strict=True)
        return ("", own), *((layers, found) for layers, found in named if found != own)

    def free_copies(self, name: str, rows: int) -> int:
        """Most copies of a layer's weights in the tiles that it takes anyway; one where it may have no others.

        Args:
            name: of the layer.
            rows: its inputs.
        """
        machine = self.for_layer(name)
        return 1 if machine.copies_obstacle else free_copies(rows, machine.tiles.rows)

    def tiles_for(self, rows: int, cols: int, copies: int = 1) -> int:
        """Tiles of a layer's matrix with that many inputs and outputs, split as aihwkit splits it, all slices counted.

        Raises:
            ConfigError: there are overrides: layers may have slices of their own, see `for_layer`.
        """
        if self.overrides:
            raise ConfigError(f"hardware {self.name!r} differs from layer to layer (overrides): ask for_layer(name)")
        return tiles_for(rows, cols, (self.tiles.rows, self.tiles.cols), copies, self.mapping.slices)

    def tile_rows(self, rows: int, copies: int = 1) -> int:
        """Rows of tiles of a layer's matrix with that many inputs, all slices counted."""
        return self.mapping.slices * tile_rows(rows, self.tiles.rows, copies)

    def held_rows(self, rows: int, copies: int = 1) -> int:
        """Weights that products with one output of such a matrix take, at most, all slices counted."""
        return self.mapping.slices * held_rows(rows, self.tiles.rows, copies)

    @property
    def user_code(self) -> dict[str, str | None]:
        """Digests of the source of the classes of users' modules that it names, those that are imported here."""
        classes = loaded_classes(self.model_dump(include={"devices", "compensation", "overrides"}))
        return {name: source_digest(kind) for name, kind in sorted(classes.items())}

    def to_yaml(self) -> str:
        """The whole description as YAML that ``Hardware.load`` reads back."""
        return write_yaml(self.model_dump(mode="json"))

    @classmethod
    def load(cls, where: "str | Path | Hardware | InferenceRPUConfig") -> "Hardware":
        """A machine, whatever a user names it by.

        Args:
            where: a preset by name, a YAML file by path, a description, an aihwkit configuration for inference, or
                ``module:name`` of one of these two, or of what makes one when it is called.

        Raises:
            UsageError: none of these.
            ConfigError: not YAML, or a field is wrong; the message names it by its path. Or a configuration has
                settings that a description cannot say, see `from_rpu_config`.
        """
        if not isinstance(where, str | Path):
            return cls._of_object(where)
        if str(where) in preset_names():
            return cls.parse(preset_text(str(where)), f"preset {where}")
        path = Path(str(where))
        if not path.is_file() and _OBJECT.fullmatch(str(where)):
            return cls._named(str(where))
        if path.suffix in (".yaml", ".yml") and not path.exists():
            raise UsageError(f"{path}: no such file; {nearest_presets(str(where))}")
        if not path.is_file():
            raise UsageError(
                f"unknown hardware {str(where)!r}: neither a preset, a YAML file, nor module:name of an aihwkit"
                f" configuration; {nearest_presets(str(where))}"
            )
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as text, as a machine's YAML is: {error}") from error
        return cls.parse(text, str(path))._as_edited(path)

    @classmethod
    def _named(cls, name: str) -> "Hardware":
        """The machine that a module holds, or makes."""
        found = load_object(name, "--hardware")
        if callable(found):
            try:
                found = found()
            except Exception as error:  # a user's function can raise anything
                raise UsageError(f"--hardware {name}: fails: {type(error).__name__}: {error}") from error
        return cls._of_object(found, name)

    @classmethod
    def _of_object(cls, given: object, name: str = "") -> "Hardware":
        if isinstance(given, Hardware):
            return given
        kind = type(given)
        if any(base.__module__.startswith("aihwkit.") for base in kind.__mro__):
            return cls.from_rpu_config(given, kind.__name__, source=f"the aihwkit configuration {kind.__name__}")
        raise UsageError(
            f"{name or repr(given):.60} (of type {kind.__name__}) is no hardware: give a preset's name, a YAML file, an"
            " lhc.Hardware or an aihwkit InferenceRPUConfig"
        )

    def _as_edited(self, path: Path) -> "Hardware":
        """The machine of a file as what it is, where it has the description of a preset, but other numbers."""
        mine = self.numbers
        for preset in (Hardware.load(name) for name in preset_names() if self.description):
            theirs = preset.numbers
            changed = [field for field in {**theirs, **mine} if theirs.get(field) != mine.get(field)]
            if preset.description != self.description or not changed:
                continue
            more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
            told = {
                "description": f"{preset.name}, edited: {', '.join(changed[:_SHOWN])}{more}",
                "source": preset.source_beside(f"edited: {path.name}"),
            }
            return self.model_copy(
                update=told | ({"name": f"{self.name}-{path.stem}"} if self.name == preset.name else {})
            )
        return self

    def source_beside(self, part: str) -> str:
        """Source of the machine's numbers but for a part that names its own: "all else" is said once."""
        own = self.source or self.name
        return f"{part}; {own}" if "; all else: " in own else f"{part}; all else: {own}"

    @property
    def numbers(self) -> dict[str, object]:
        """All fields by their path but words about the machine."""
        return fields_by_path(self.model_dump(mode="json", exclude={"name", "description", "source"}))

    @classmethod
    def parse(cls, text: str, where: str) -> "Hardware":
        """Read YAML (or JSON); ``where`` names the text in errors.

        Raises:
            ConfigError: as in `load`.
        """
        if not text.strip():
            raise ConfigError(f"{where}: is empty; 'lhc … > FILE' empties FILE first, so lhc cannot read it as well")
        data = deepcopy(_document(text, where))
        if not isinstance(data, dict):
            raise ConfigError(f"{where}: a hardware description is a mapping of fields; see 'lhc hardware lionheart'")
        if {"hardware", "layers"} <= data.keys():
            raise ConfigError(
                f"{where}: a plan, not a hardware description; give it with --plan ('lhc hardware NAME' prints a"
                " description)"
            )
        return cls._of(data, where)

    def with_fields(self, changed: Mapping[str, object]) -> "Hardware":
        """The machine with some fields or sections in other words, checked as a whole.

        Raises:
            ConfigError: it contradicts itself then.
        """
        return self._of({**self.model_dump(), **changed}, f"hardware {self.name!r}")

    def with_numbers(self, numbers: Mapping[str, float]) -> "Hardware":
        """The machine with other numbers, by their paths (``adc.bits``), checked as a whole.

        Args:
            numbers: of fields that it has, see `lhc.pipeline.inputs.varied_fields`.

        Raises:
            ConfigError: a number is out of its bounds, or the machine contradicts itself then.
        """
        document = self.model_dump()
        for path, number in numbers.items():
            set_by_path(document, path, number)
        return self._of(document, f"hardware {self.name!r}")

    @classmethod
    def _of(cls, data: dict[str, object], where: str) -> "Hardware":
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError(f"{where}: {problems(error, cls)}") from error

    def to_rpu_config(self) -> "TorchInferenceRPUConfig":
        """The same tile as an aihwkit configuration for its torch tile.

        Devices that are never programmed (``devices: null``) become a noise model with all effects off; of ``faults``,
        sensed voltages (the ADC stays in their unit), mismatch of cells and clipping at 0 a configuration says nothing.

        Raises:
            ConfigError: there are overrides: a configuration describes one layer, see `for_layer`.
            MissingDependencyError: aihwkit is not installed.
        """
        if self.overrides:
            raise ConfigError(
                f"hardware {self.name!r} differs from layer to layer (overrides): convert hardware.for_layer(name)"
            )
        return build(self)

    @classmethod
    def from_rpu_config(
        cls,
        config: "InferenceRPUConfig",
        name: str = "custom",
        *,
        description: str = "",
        source: str = "",
        t_inference_s: float | None = None,
        leave_out: Iterable[str] = (),
    ) -> "Hardware":
        """A machine from an aihwkit configuration (`InferenceRPUConfig` and what is derived from it).

        Args:
            config: how a tile computes.
            name, description: of the machine.
            source: where the numbers come from.
            t_inference_s: time of inference, in s, a day by default; aihwkit's configuration has none.
            leave_out: settings that lhc cannot represent and that are to be left out, each with all whose path starts
                so (``forward.w_noise``); those that matter for inference are listed in the machine's ``left_out``.

        Raises:
            ConfigError: a setting differs from what a description can say; the message names all such settings.
            UsageError: ``leave_out`` names a setting that needs not be left out.
            MissingDependencyError: aihwkit is not installed.
        """
        fields: dict[str, object] = {"name": name, "description": description, "source": source}
        if t_inference_s is not None:
            fields["t_inference_s"] = t_inference_s
        machine = read(config, fields, tuple(leave_out))
        return cls.model_validate({field: getattr(machine, field) for field in machine.model_fields_set})
