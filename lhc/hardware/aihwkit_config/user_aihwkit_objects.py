"""aihwkit objects of the user's own in a description: noise models, conductance converters, drift compensations.

A description is text, and is read back by other processes and on other days. So an object is written as the name of its
class, ``module:Class``, and the values of its attributes. It is made again as scikit-learn makes its estimators: what
the constructor takes under the name of an attribute it gets, and then every attribute is set. Whether that gives the
same object is checked when it is written.

A description may come from anywhere, an annotated model too, and importing a module runs its code. So lhc imports no
module that a description names, but aihwkit's own and those of classes that an installed package offers, by entry
points in the group ``lhc.devices``. Others must be imported already: by ``--hardware module:name``, by
``lhc --import module``, or by an ``import`` in Python. `import_modules` hands the names on to worker processes.
"""

# ruff: noqa: ANN401 (aihwkit is untyped)

import inspect
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, JsonValue

from lhc.errors import ConfigError, UsageError
from lhc.hardware.description.tiles_and_converters import ClassName, Parameters, UserObject
from lhc.hardware.devices.device_base import DeviceModel
from lhc.seeds import GENERATOR_LOCK
from lhc.support.installed_packages import installed_values
from lhc.support.load_by_name import current_folder_importable

TRUSTED: dict[str, None] = {}
"""Names of modules that the user had imported here, in their order; worker processes import them too."""
_OWN = "aihwkit.inference."
"""Modules of aihwkit's that a description may name: they define classes and do nothing else."""
_GROUP = "lhc.devices"
_TRIED = (4, 3)
"""Outputs and inputs of the tile that a noise model is tried on."""
_BASES = {
    "noise_model": ("aihwkit.inference.noise.base", "BaseNoiseModel"),
    "noise_model.g_converter": ("aihwkit.inference.converter.base", "BaseConductanceConverter"),
    "drift_compensation": ("aihwkit.inference.compensation.base", "BaseDriftCompensation"),
}
Role = Literal["noise_model", "noise_model.g_converter", "drift_compensation"]
"""What an object is in aihwkit's configuration."""


class AihwkitDevices(DeviceModel):
    """A noise model of aihwkit's interface (`BaseNoiseModel`), the user's own or aihwkit's, with any converter."""

    model: Literal["aihwkit"] = "aihwkit"
    noise_model: ClassName
    """Its class, ``module:Class``."""
    parameters: Parameters = Field(default_factory=dict)
    """Arguments of its constructor, and attributes that are set afterwards."""
    g_converter: UserObject | None = None
    """Its conductance converter; null: the one that its constructor takes."""

    module = ""
    kind = ""
    attributes: ClassVar[Mapping[str, str]] = {
        "prog_noise_scale": "programming_noise_scale",
        "noise_scale": "noise_scale",
        "drift_scale": "drift_scale",
        "read_noise_scale": "read_noise_scale",
    }
    """Factors on effects, by aihwkit's names of them, which a user's class may have too."""
    identity = ("model", "noise_model")

    def made(self) -> Any:
        """The noise model, which was tried on a small tile.

        Raises:
            ConfigError: as of `made`; or it fails on weights, or gives other numbers from the same seed.
        """
        _tried(self.model_dump_json())
        return self._untried()

    def _untried(self) -> Any:
        converter = None if self.g_converter is None else made(self.g_converter, "noise_model.g_converter")
        more = {} if converter is None else {"g_converter": converter}
        return made(UserObject(type=self.noise_model, parameters=self.parameters), "noise_model", more)

    def time_problem(self, t_s: float) -> str | None:
        """Problem that the noise model itself has with a time, where its module is imported already."""
        if self.noise_model.partition(":")[0] not in sys.modules:
            return None
        try:
            return _problem_at(self.model_dump_json(), t_s)
        except ConfigError:  # it cannot be made at all, which is told where it is needed
            return None

    def scaled(self, fields: Iterable[str], value: Callable[[float], float]) -> dict[str, object]:
        """The factors of a user's class that have aihwkit's names; see `DeviceModel`."""
        wanted = set(fields)
        changed = {
            attribute: value(float(factor))
            for attribute, field in self.attributes.items()
            if field in wanted and isinstance(factor := self.parameters.get(attribute), int | float)
        }
        return {"parameters": {**self.parameters, **changed}} if changed else {}


def made(said: UserObject, role: Role, more: Mapping[str, object] | None = None) -> Any:
    """The object that a description says.

    Args:
        role: what it is in aihwkit's configuration.
        more: arguments and attributes that are no plain values.

    Raises:
        ConfigError: its class is not there or not of that role, or cannot be made so.
    """
    kind = _imported(said.type, role)
    values = {name: _read(value) for name, value in said.parameters.items()} | dict(more or {})
    try:
        taken = _arguments(kind)
        found = kind(**{name: value for name, value in values.items() if name in taken})
        for name, value in values.items():
            setattr(found, name, value)
    except Exception as error:  # a user's class can raise anything
        raise ConfigError(
            f"{role}: {said.type} cannot be made from {', '.join(values) or 'nothing'}: {type(error).__name__}:"
            f" {error}; keep every argument of the constructor in an attribute of the same name"
        ) from error
    return found


def _arguments(kind: type) -> frozenset[str]:
    """Keyword arguments of a constructor, with those that it hands to its base by ``**others``."""
    names: set[str] = set()
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        names |= {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
        if not any(one.kind is one.VAR_KEYWORD for one in parameters):
            break
    return frozenset(names - {"self"})


def described(given: object, role: Role) -> UserObject:
    """An object as a description says it.

    Raises:
        ConfigError: its class is in no module, or an attribute cannot be written.
    """
    attributes = {name: value for name, value in vars(given).items() if name != "g_converter"}
    written = {name: _written(value, f"{role}.{name}") for name, value in attributes.items()}
    return UserObject(type=_class_name(type(given), role), parameters=written)


def devices_of(noise_model: object) -> AihwkitDevices:
    """A noise model as a description says it, made again and compared.

    Raises:
        ConfigError: as of `described`; or what is made again is another one.
    """
    said, converter = described(noise_model, "noise_model"), getattr(noise_model, "g_converter", None)
    found = AihwkitDevices(
        noise_model=said.type,
        parameters=said.parameters,
        g_converter=None if converter is None else described(converter, "noise_model.g_converter"),
    )
    _check_same(noise_model, found.made(), "noise_model")
    return found


def compensation_of(given: object) -> UserObject:
    """A drift compensation as a description says it, made again and compared.

    Raises:
        ConfigError: as of `devices_of`.
    """
    found = described(given, "drift_compensation")
    _check_same(given, compensation_made(found), "drift_compensation")
    return found


def compensation_made(said: UserObject) -> Any:
    """A drift compensation, which was tried on a small tile.

    Raises:
        ConfigError: as of `made`; or it fails on a read-out, or gives no gains.
    """
    _compensation_tried(said.model_dump_json())
    return made(said, "drift_compensation")


def _check_same(given: object, again: object, role: Role) -> None:
    names = dict.fromkeys([*vars(given), *vars(again)])
    other = [name for name in names if not equal(vars(given).get(name), vars(again).get(name))]
    if other:
        raise ConfigError(
            f"{role}: {type(given).__name__} made again from its attributes is another one: {', '.join(other)} differ;"
            " keep every argument of the constructor in an attribute of the same name"
        )


def equal(one: object, other: object) -> bool:
    """Whether two values are the same: of plain types, arrays and tensors, and objects by class and attributes."""
    if type(one) is not type(other):
        numbers = isinstance(one, int | float) and isinstance(other, int | float)  # numpy's too
        return numbers and isinstance(one, bool) == isinstance(other, bool) and one == other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if _is_tensor(one) or isinstance(one, np.ndarray):
        return _equal_arrays(one, other)
    if hasattr(one, "__dict__") and not isinstance(one, type):
        return equal(vars(one), vars(other))
    return bool(one == other)


def _equal_arrays(*pair: Any) -> bool:
    one, other = (np.asarray(value.detach().cpu()) if _is_tensor(value) else value for value in pair)
    return one.dtype == other.dtype and np.array_equal(one, other)


def _is_tensor(value: Any) -> bool:
    return type(value).__module__ == "torch" and hasattr(value, "detach")


def _class_name(kind: type, role: Role) -> str:
    """``module:Class``, by which others can import it."""
    module, name = kind.__module__, kind.__qualname__
    if module == "__main__":
        raise ConfigError(
            f"{role}: class {name} is one of a script or notebook, which no other process can import; put it in a"
            " module of its own, and import it from there"
        )
    if vars(sys.modules.get(module, sys)).get(name) is not kind:
        raise ConfigError(
            f"{role}: class {name} cannot be imported from {module} by its name: put it at the top of a module"
        )
    return f"{module}:{name}"


def _imported(name: str, role: Role) -> Any:
    """A class by its name; nothing is imported but aihwkit, and what an installed package offers."""
    where, _, attribute = name.partition(":")
    try:
        offered = where.startswith(_OWN) or name in installed_values(_GROUP)
        module = import_module(where) if offered else sys.modules.get(where)
        base = getattr(import_module(_BASES[role][0]), _BASES[role][1])
    except Exception as error:  # a package can raise anything while it is imported
        raise ConfigError(f"{role}: {name} cannot be imported: {type(error).__name__}: {error}") from error
    if module is None:
        raise ConfigError(
            f"{role}: the description names the class {name}, and lhc imports no code that a file names. If you trust"
            f" the module {where}, say 'lhc --import {where} …' or --hardware {where}:NAME with the configuration; in"
            f" Python, import {where} first"
        )
    kind = vars(module).get(attribute)  # not getattr, which runs code of modules that load parts when asked for
    if not (inspect.isclass(kind) and issubclass(kind, base)):
        raise ConfigError(f"{role}: {name} is no class derived from aihwkit's {base.__name__}")
    return kind


def import_modules(names: Iterable[str], option: str) -> None:
    """Import modules that the user trusts; they may lie in the current folder.

    Args:
        option: that named them, for errors.

    Raises:
        UsageError: one cannot be imported.
    """
    for name in names:
        try:
            with current_folder_importable():
                import_module(name)
        except Exception as error:  # a user's module can raise anything while it is imported
            raise UsageError(f"{option} {name}: cannot be imported: {type(error).__name__}: {error}") from error
        TRUSTED[name] = None


def loaded_classes(document: object) -> dict[str, type]:
    """Classes of users' modules that a description names, of those that are imported here.

    Args:
        document: the description, or a part of it, as plain values.
    """
    found = {}
    for name in _class_names(document):
        where, _, attribute = name.partition(":")
        kind = vars(sys.modules[where]).get(attribute) if where in sys.modules else None
        if not where.startswith(_OWN) and inspect.isclass(kind):
            found[name] = kind
    return found


def _class_names(document: object) -> Iterator[str]:
    if isinstance(document, Mapping):
        for key, value in document.items():
            if key in ("noise_model", "type") and isinstance(value, str) and ":" in value:
                yield value
            else:
                yield from _class_names(value)
    elif isinstance(document, list | tuple):
        for value in document:
            yield from _class_names(value)


def _written(value: object, path: str) -> JsonValue:
    """A value as JSON."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list):
        return [_written(one, path) for one in value]
    if isinstance(value, tuple):
        return {"$tuple": [_written(one, path) for one in value]}
    if isinstance(value, dict) and all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: _written(one, f"{path}.{key}") for key, one in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {"$array": _written(value.tolist(), path), "dtype": str(value.dtype)}
    if _is_tensor(value):
        tensor: Any = value
        name = str(tensor.dtype).removeprefix("torch.")
        return {"$tensor": _written(tensor.detach().cpu().tolist(), path), "dtype": name}
    raise ConfigError(
        f"{path} = {value!r:.60} (of type {type(value).__name__}) cannot be written into a description, which holds"
        " finite numbers, text, lists, mappings and arrays; let the class make it of such attributes when it needs it"
    )


def _read(value: JsonValue) -> object:
    """A value of `_written`."""
    if isinstance(value, list):
        return [_read(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$tuple"} and isinstance(value["$tuple"], list):
        return tuple(_read(one) for one in value["$tuple"])
    for kind in ("$array", "$tensor"):
        if value.keys() == {kind, "dtype"}:
            return _array(value[kind], str(value["dtype"]), kind)
    return {key: _read(one) for key, one in value.items()}


def _array(values: JsonValue, dtype: str, kind: str) -> object:
    try:
        if kind == "$tensor":
            import torch

            found = getattr(torch, dtype)
            if not isinstance(found, torch.dtype):
                raise TypeError(f"{dtype} is no type of numbers")
            return torch.tensor(values, dtype=found)
        if np.dtype(dtype).kind not in "biuf":
            raise TypeError(f"{dtype} is no type of numbers")
        return np.array(values, dtype)
    except (TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise ConfigError(f"{kind} of {dtype}: {error}") from error


@lru_cache(maxsize=64)
def _tried(text: str) -> None:
    """Try a noise model on a small tile.

    Args:
        text: of an `AihwkitDevices`, as JSON.
    """
    devices = AihwkitDevices.model_validate_json(text)
    problem = _problem_of(devices._untried())
    if problem is not None:
        raise ConfigError(f"noise_model: {devices.noise_model} {problem}, tried on a tile of 4 outputs and 3 inputs")


@lru_cache(maxsize=64)
def _compensation_tried(text: str) -> None:
    """Try a drift compensation on a small tile whose devices keep half of what they were programmed to.

    Args:
        text: of a `UserObject`, as JSON.
    """
    import torch

    said = UserObject.model_validate_json(text)
    compensation = made(said, "drift_compensation")
    weights = torch.linspace(-1, 1, _TRIED[0] * _TRIED[1]).reshape(_TRIED)
    try:
        outputs = compensation.get_readout_tensor(_TRIED[1]) @ weights.T
        gain = np.asarray(compensation.apply(outputs / 2, compensation.readout(outputs)))
    except Exception as error:  # a user's class can raise anything
        raise ConfigError(
            f"drift_compensation: {said.type} fails on the read-out of a small tile: {type(error).__name__}: {error}"
        ) from error
    if gain.shape not in ((), (1,), _TRIED[:1]) or not np.isfinite(gain).all():
        raise ConfigError(
            f"drift_compensation: {said.type} gives {gain.tolist()!r:.60} for a tile of {_TRIED[0]} outputs:"
            " one gain is wanted, or one an output"
        )


@lru_cache(maxsize=256)
def _problem_at(text: str, t_s: float) -> str | None:
    """Message of a noise model that refuses a time of inference."""
    devices = AihwkitDevices.model_validate_json(text)
    problem = _problem_of(devices.made(), t_s)
    return None if problem is None else f"{devices.noise_model} {problem}, {t_s:g} s after the first read"


def _problem_of(model: Any, t_s: float | None = None) -> str | None:
    """Problem with a noise model, on programming or some seconds later."""
    try:
        first, again = (_weights_of(model, t_s) for _ in range(2))
    except Exception as error:  # a user's class can raise anything
        return f"fails: {type(error).__name__}: {error}"
    if first.shape != _TRIED or first.dtype != np.float32 or not np.isfinite(first).all():
        return f"gives no finite weights of shape {_TRIED} in single precision, as it was given"
    if not np.array_equal(first, again):
        return (
            "gives other numbers from the same seed, so a chip is never the same again; draw from torch's global"
            " generator, as torch.randn_like does, and keep nothing between calls"
        )
    return None


def _weights_of(model: Any, t_s: float | None) -> Any:
    """A small tile after programming, or some seconds after its first read, ``(outputs, inputs)``."""
    import torch

    weights = torch.linspace(-1, 1, _TRIED[0] * _TRIED[1]).reshape(_TRIED)
    with GENERATOR_LOCK, torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(0)
        given = weights.clone()
        held, drift = model.apply_programming_noise(given)
        if t_s is not None:
            weights, given = held.clone(), held
            held = model.apply_drift_noise(given, drift, t_s)
    if not torch.equal(given, weights):
        raise ValueError("it changes the weights that it is given, which are needed again; make new ones")
    return held.numpy()
