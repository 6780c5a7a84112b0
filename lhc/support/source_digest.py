"""Digest of a user's function: of its module, and of every module of the user's that this imports, transitively.

The standard library is left out, and so is lhc, whose version and code are facts of their own; of an installed package
the version counts. Imports are read from the source, those within functions too, so that nothing is executed.
"""

import ast
import inspect
import pickle
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from hashlib import sha256
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import packages_distributions
from importlib.util import resolve_name
from pathlib import Path
from textwrap import dedent
from types import CodeType, ModuleType

from lhc.support.installed_packages import version_of
from lhc.support.load_by_name import current_folder_importable

_SCRIPT = "__main__"
_CONSTANTS = (bool, int, float, complex, str, bytes, tuple, frozenset, type(None))
_IMPORTERS = ("import_module", "__import__")


def source_digest(function: Callable[..., object], module: str | None = None) -> str | None:
    """Digest of a function's source, with all modules of the user's that it rests on.

    Of a script or a notebook, whose other lines change often, it is the function with the functions, classes and plain
    constants that it names, and what it imports. Arguments that are bound (``functools.partial``, closures) count by
    their pickled values. Not in it: the state of an object, and files that a module reads. A module that was edited
    after it was imported has the digest of the new source.

    Args:
        module: where it was found by its name; it may bind arguments of a function of another module.

    Returns:
        12 hexadecimal digits; None where there is no source.
    """
    found = _Found()
    with current_folder_importable():
        own = [found.add_function(layer) for layer in _layers(function)]
        found.add_bound(function)
        by_name = module is not None and found.add_module(module)
    return found.digest() if own[-1] or by_name else None


def module_digest(name: str) -> str | None:
    """Digest of a module's source, with all modules of the user's that it imports; it is not imported for that.

    Returns:
        12 hexadecimal digits; None where there is no source.
    """
    found = _Found()
    with current_folder_importable():
        return found.digest() if found.add_module(name) else None


def _layers(function: Callable[..., object]) -> Iterator[object]:
    """The functions or classes that are called: wrappers, the outermost first, then what they wrap."""
    while True:
        if isinstance(function, partial):
            function = function.func
            continue
        yield function if inspect.isroutine(function) or inspect.isclass(function) else type(function)
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is None:
            return
        function = wrapped


def _bound(function: object, seen: frozenset[int] = frozenset()) -> Iterator[object]:
    """Arguments of a partial function, and what the cells of a closure hold, functions by their names and code.

    Args:
        seen: identities of the functions that hold this one: a function may refer to itself.
    """
    if id(function) in seen:
        return
    seen |= {id(function)}
    if isinstance(function, partial):
        yield from function.args
        yield from sorted(function.keywords.items())
        yield from _bound(function.func, seen)
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # not filled yet
            held = cell.cell_contents
            if not (inspect.isroutine(held) or isinstance(held, partial)):
                yield held
                continue
            code = getattr(held, "__code__", None)
            yield getattr(held, "__qualname__", ""), None if code is None else code.co_code
            yield from _bound(held, seen)


@dataclass
class _Found:
    """Sources by name; versions of installed packages by name."""

    sources: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        """Digest of everything found, in the order of names."""
        digest = sha256()
        for name, source in sorted(self.sources.items()):
            digest.update(f"{name}\0{len(source)}\0".encode() + source)
        digest.update(repr(sorted(self.versions.items())).encode())
        return digest.hexdigest()[:12]

    def add_function(self, named: object) -> bool:
        """Add a function or class with all that it rests on; False where it has no source."""
        of = getattr(named, "__globals__", {}).get("__name__") or getattr(named, "__module__", None)
        return self.add_of_script(named) if of == _SCRIPT else self.add_module(str(of or ""))

    def add_bound(self, function: Callable[..., object]) -> None:
        """Add the values that are bound to a function, as far as they can be pickled."""
        for number, value in enumerate(_bound(function)):
            try:
                self.sources[f"bound:{number}"] = pickle.dumps(value)
            except Exception:  # an object of the user's can raise anything
                self.sources[f"bound:{number}"] = type(value).__qualname__.encode()

    def add_module(self, name: str) -> bool:
        """Add a module with all that it imports; False where it has no file."""
        spec = _spec(name)
        read = None if spec is None else getattr(spec.loader, "get_data", None)
        if spec is None or spec.origin is None or read is None:
            return False
        top = name.partition(".")[0]
        if _is_installed(top):
            self.versions[top] = _version_of_module(top)
            return True
        if name in self.sources:
            return True
        try:
            self.sources[name] = read(spec.origin)
        except OSError:  # removed since it was imported
            return False
        self._add_imported(self.sources[name], spec.parent or "", *_with_packages(name))
        return True

    def add_of_script(self, named: object) -> bool:
        """Add a function or class of the script with what it names there; False where it has no source."""
        try:
            source = inspect.getsource(named)  # type: ignore[arg-type]  # it raises TypeError for what has none
        except (OSError, TypeError):
            return False
        place = f"{_SCRIPT}:{getattr(named, '__qualname__', '')}"
        if place in self.sources:
            return True
        self.sources[place] = source.encode()
        plain = dedent(source).encode()
        self._add_imported(plain, "")
        values = vars(sys.modules[_SCRIPT])
        for name in (_names(_parsed(plain)) | _names_of_code(getattr(named, "__code__", None))) & values.keys():
            self._add_value(name, values[name])
        return True

    def _add_imported(self, source: bytes, package: str, *others: str) -> None:
        """Add the modules that a source imports, and these others, but for those that are left out."""
        for name in (*_imported(source, package), *others):
            if not _is_left_out(name):
                self.add_module(name)

    def _add_value(self, name: str, value: object) -> None:
        """Add what a name of the script stands for."""
        if isinstance(value, _CONSTANTS):
            self.sources[f"{_SCRIPT}:{name}="] = repr(value).encode()
            return
        module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if module == _SCRIPT:
            self.add_of_script(value if inspect.isroutine(value) or inspect.isclass(value) else type(value))
        elif isinstance(module, str) and not _is_left_out(module):
            self.add_module(module)


def _parsed(source: bytes) -> ast.Module:
    """Empty where it is no Python: an extension, or a part of a line."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.Module([], [])


@lru_cache(maxsize=256)  # the metric is asked about with every result
def _imported(source: bytes, package: str) -> tuple[str, ...]:
    """Names that may be modules: those imported, the packages around them, and what is imported from a module."""
    return tuple(
        dict.fromkeys(name for found in _written_imports(_parsed(source), package) for name in _with_packages(found))
    )


def _written_imports(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found = [one.name for one in names]
            case ast.ImportFrom(module=module, names=names, level=level):
                try:
                    base = resolve_name("." * level + (module or ""), package)
                except ImportError:  # beyond its package: it fails when it is imported, too
                    continue
                found = [base, *(f"{base}.{one.name}" for one in names)]
            case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]) if _called(func) in _IMPORTERS:
                found = [name]
            case _:
                continue
        yield from found


def _with_packages(name: str) -> list[str]:
    """A module and the packages around it, whose ``__init__`` runs before it."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _names_of_code(code: object) -> set[str]:
    """Names in compiled code; the source of a lambda may be a part of a statement, which is not parsed."""
    if not isinstance(code, CodeType):
        return set()
    return set(code.co_names).union(*map(_names_of_code, code.co_consts))


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _spec(name: str) -> ModuleSpec | None:
    """Where a module is, loaded or not; it is not imported for that. None: there is none."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        spec: ModuleSpec | None = getattr(loaded, "__spec__", None)
        return spec
    parent, _, _ = name.rpartition(".")
    if not parent:
        return PathFinder.find_spec(name) if name else None
    around = _spec(parent)
    places = None if around is None else around.submodule_search_locations
    return None if places is None else PathFinder.find_spec(name, list(places))


def _is_left_out(name: str) -> bool:
    """Whether a module that another imports is lhc's, or one of the standard library."""
    top = name.partition(".")[0]
    spec = _spec(top)
    if top == "lhc" or spec is None:
        return top == "lhc"
    return spec.origin in ("built-in", "frozen") or _folder(spec) in _standard_library()


def _is_installed(top: str) -> bool:
    """Whether a package lies where installers put packages."""
    spec = _spec(top)
    folder = None if spec is None else _folder(spec)
    return folder is not None and (folder in _standard_library() or _holds_distributions(folder))


def _folder(spec: ModuleSpec) -> Path | None:
    """The folder on the search path in which a package or module lies."""
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).parent
    return None if spec.origin is None else Path(spec.origin).parent


@cache
def _standard_library() -> frozenset[Path]:
    folders = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    return frozenset(folders | {folder / "lib-dynload" for folder in folders})


@cache
def _holds_distributions(folder: Path) -> bool:
    """An editable installation leaves no ``.dist-info`` beside its source, which is the user's."""
    known = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    known.add(site.getusersitepackages())
    return str(folder) in known or any(folder.glob("*.dist-info"))


@cache
def _version_of_module(top: str) -> str:
    """Version of the distribution that brings a module; ``none`` where it is not known."""
    found = version_of(top)
    if found != "none":
        return found
    return ", ".join(version_of(name) for name in sorted(set(packages_distributions().get(top, ())))) or found
