"""A sweep: options of ``lhc partition``, each a value or a list of values; every combination of values is a run.

    model = "digits"
    hardware = ["lionheart", "hermes"]
    max-drop = ["0.5%", "1%"]
    seed = [0, 1, 2]

Keys are flags without their dashes, as in ``lhc.toml``. Tables ``[[runs]]`` are combined each for itself; what stands
above them counts for all. An option that may be given several times (``exclude``) has a list as its value, so a list of
lists is several values of it. Runs come in the order of the file, the last key running fastest. The same run twice is
one.

The result of a run depends on its options, and on the content of the files that they name (`run_facts`).
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import file_digest, sha256
from itertools import product
from pathlib import Path

from lhc.errors import ConfigError, UsageError
from lhc.models import is_zoo_name
from lhc.onnx_io import data_files
from lhc.options.by_command import PartitionOptions
from lhc.options.declaration.config_file import checked_value, read_toml
from lhc.options.declaration.option_fields import Option, nearest, options_of, values_of
from lhc.options.shared import Execution
from lhc.options.training import Checkpointing
from lhc.store import Facts, JsonValue
from lhc.support.number_formatting import counted
from lhc.support.source_digest import module_digest

Value = str | bool | list[str]
MOST_RUNS = 1_000_000
_KEYS: Mapping[str, Option] = {one.key: one for one in options_of(PartitionOptions) if one.instead is None}
_OF_THE_SWEEP = {one.key for one in options_of(Execution)} - {"timeout"}
_TABLES = "runs"


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Attributes:
        settings: options of ``lhc partition`` by key, as a configuration file has them.
    """

    settings: Mapping[str, Value]

    def options(self, **execution: object) -> PartitionOptions:
        """The options of the run.

        Args:
            execution: of `lhc.options.shared.Execution`, by name.

        Raises:
            UsageError: they make no sense.
        """
        named = {_KEYS[key].name: value for key, value in self.settings.items()}
        return PartitionOptions(**named | execution)  # type: ignore[arg-type]  # converted and checked there


def read_sweep(source: str | Path | Mapping[str, object]) -> tuple[SweepRun, ...]:
    """The runs of a sweep.

    Args:
        source: a file, or what it would hold.

    Raises:
        UsageError: no such file, or neither a path nor a mapping.
        ConfigError: not TOML, an unknown key, a value that makes no sense, or no runs at all.
    """
    if isinstance(source, Mapping):
        where, document = "sweep", dict(source)
    elif not isinstance(source, str | Path):
        raise UsageError(
            f"the sweep is of type {type(source).__name__}; give the path of a TOML file, or a dict of what it would"
            " hold"
        )
    else:
        where, path = str(source), Path(source)
        if not path.is_file():
            raise UsageError(f"{path}: no such file; a sweep is a TOML file with options of 'lhc partition'")
        document = read_toml(path)
    tables = document.pop(_TABLES, None)
    if tables is None:
        found = list(_runs(document, where))
    elif isinstance(tables, list) and tables and all(isinstance(one, Mapping) for one in tables):
        places = [f"{where}: [[{_TABLES}]] {number}" for number in range(1, len(tables) + 1)]
        found = [run for one, place in zip(tables, places, strict=True) for run in _runs({**document, **one}, place)]
    else:
        raise ConfigError(f"{where}: {_TABLES}: write tables [[{_TABLES}]] with options of 'lhc partition'")
    return tuple({repr(sorted(run.settings.items())): run for run in found}.values())


def _runs(table: Mapping[str, object], where: str) -> Iterator[SweepRun]:
    """Every combination of the values of a table."""
    if "model" not in table:
        raise ConfigError(f'{where}: name the network: model = "digits", or a list of them')
    axes = {key: _values(key, value, where) for key, value in table.items()}
    number = 1
    for values in axes.values():
        number *= len(values)
    if number > MOST_RUNS:
        raise ConfigError(f"{where}: {number:,} runs, at most {MOST_RUNS:,} are taken; sweep fewer options at a time")
    for combination in product(*axes.values()):
        run = SweepRun(dict(zip(axes, combination, strict=True)))
        try:
            run.options()
        except UsageError as error:
            raise ConfigError(f"{where}: {error}") from error
        yield run


def _values(key: str, value: object, where: str) -> list[Value]:
    """The values of an option; a single one is a list of one."""
    if key in _OF_THE_SWEEP:
        raise ConfigError(f"{where}: {key}: is said once for all runs, on the command line: lhc sweep --{key} …")
    if key not in _KEYS:
        raise ConfigError(f"{where}: lhc partition has no option {key!r}{nearest(key, set(_KEYS))}")
    option = _KEYS[key]
    inner = value if isinstance(value, list) else []
    several = any(isinstance(one, list) for one in inner) if option.repeats else isinstance(value, list)
    if several and not inner:
        raise ConfigError(f"{where}: {key}: an empty list makes no run; leave the option out")
    if several and not all(isinstance(one, list) == option.repeats for one in inner):
        raise ConfigError(f"{where}: {key}: write {counted(2, 'list')} of values, or one, got {value!r}")
    return [checked_value(option, one, f"{where}: {key}") for one in (inner if several else [value])]


_NAMED = r"([A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*"
_MODULE = re.compile(_NAMED + r"(?:\{.*\})?", re.DOTALL)
"""``module:name``, with options in braces."""
_DESCRIPTIONS = (".yaml", ".yml", ".json")
"""Suffixes of files that describe hardware, and may name devices of the user's."""


def run_facts(options: PartitionOptions, outside: str = "") -> Facts:
    """Facts by which the row of a run is kept: options that are not at their defaults, by key.

    A file or folder counts by its bytes, weights beside an ONNX file and modules of the user's included; where it lies
    does not. A network of the zoo counts by its name. How the run is carried out (`Execution`, but for ``--timeout``)
    does not count.

    Args:
        outside: digest of what networks of the zoo may take from outside the package (`outside_files`).
    """
    beside = {one.name for kind in (Execution, Checkpointing) for one in options_of(kind)} - {"timeout"}
    found: Facts = {
        option.key: _content(value)
        for option, value in values_of(options)
        if option.instead is None and option.name not in beside and (option.required or value != option.default)
    }
    return {**found, "outside": outside} if any(is_zoo_name(str(value)) for value in found.values()) else found


def _content(value: object) -> JsonValue:
    if isinstance(value, list | tuple):
        return [_content(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _content(one) for name, one in value.items()}
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    path = Path(text)
    if path.is_file():
        return _file(path.absolute())
    if path.is_dir():
        files = sorted(one for one in path.rglob("*") if one.is_file())
        return {"folder": [[one.relative_to(path).as_posix(), _file(one.absolute())] for one in files], "name": text}
    named = _MODULE.fullmatch(text)
    return text if named is None else {"name": text, "code": module_digest(named[1])}


def outside_files() -> str:
    """Digest of names, sizes and times of the files below ``LHC_DATA``, where the zoo may find weights and data."""
    folder = Path(os.environ.get("LHC_DATA") or os.devnull)
    files = sorted(one for one in folder.rglob("*") if one.is_file()) if folder.is_dir() else []
    told = [(one.relative_to(folder).as_posix(), one.stat().st_size, one.stat().st_mtime_ns) for one in files]
    return sha256(repr(told).encode()).hexdigest()


def _file(path: Path) -> JsonValue:
    """Digest of a file, of those in which an ONNX file keeps weights, and of modules that a description names."""
    beside = _weights(path, *_state(path)) if path.suffix == ".onnx" else ()
    found: dict[str, JsonValue] = {"file": _digest(path, *_state(path))}
    found |= {"weights": [_digest(one, *_state(one)) for one in beside]} if beside else {}
    named = sorted(set(re.findall(_NAMED, path.read_text("utf-8", "replace")))) if path.suffix in _DESCRIPTIONS else []
    code = {name: digest for name in named if (digest := module_digest(name)) is not None}
    return found | ({"code": code} if code else {})


def _state(path: Path) -> tuple[int, int]:
    """Whether a file is still the one that was read."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=4096)
def _digest(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=4096)
def _weights(path: Path, changed: int, size: int) -> tuple[Path, ...]:
    return data_files(path)
