"""The tables of fields in hardware-fields.md, made from the sections of hardware descriptions themselves.

python docs/hardware_tables.py          say whether the page is what the sections say; exit code 1 if not
python docs/hardware_tables.py --write  write it anew
"""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping

from made_part import MadePart
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lhc.hardware import AlpineCosts, Assumed, DianaCosts, Known
from lhc.hardware.circuits.currents import Currents
from lhc.hardware.circuits.faults import Faults
from lhc.hardware.description.digital import DigitalCores
from lhc.hardware.description.overrides import Override
from lhc.hardware.description.tiles_and_converters import Adc, Compensation, Dac, LeftOut, Section, Tiles, Training
from lhc.hardware.description.tiles_and_converters import Mapping as WeightMapping
from lhc.hardware.devices.noise_by_weight_magnitude import Regime
from lhc.hardware.devices.pcm_and_reram import DEVICE_MODELS
from lhc.hardware.devices.unit_cell import PairedDevices

SECTIONS: Mapping[str, type[BaseModel]] = {
    "tiles": Tiles,
    "dac": Dac,
    "adc": Adc,
    "currents": Currents,
    "mapping": WeightMapping,
    "faults": Faults,
    "compensation": Compensation,
    "training": Training,
    "digital": DigitalCores,
    "left_out": LeftOut,
    "overrides": Override,
}
UNITS = {"us": "µS", "s": "s", "percent": "%"}
"""By the end of a field's name."""


def tables() -> str:
    """A heading, a sentence and a table for every section; devices have a page's part of their own."""
    return "\n\n".join(f"## {name}\n\n{_sentence(kind)}\n\n{_table(name, kind)}" for name, kind in SECTIONS.items())


def _sentence(kind: type[BaseModel]) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def _table(name: str, kind: type[BaseModel]) -> str:
    rows = [
        f"| `{field}` | {_unit(field)} | {text} | {_default(info)} |" for field, (info, text) in _fields(kind).items()
    ]
    return "\n".join([f"| field of `{name}` | unit | meaning | default |", "|---|---|---|---|", *rows])


def device_table() -> str:
    """A row for every field, its unit and what it means, with its default by model; what models share stands once."""
    alike = _texts(PairedDevices)
    rows: dict[str, dict[tuple[str, str], dict[str, list[str]]]] = {}
    for model, kind in DEVICE_MODELS.items():
        inner = _fields(Regime) if kind.model_fields.get("regimes") else {}
        for name, (field, text) in {**_fields(kind), **{f"regimes: {k}": v for k, v in inner.items()}}.items():
            by = "models of pairs" if text == alike.get(name) else f"`{model}`"
            models = rows.setdefault(name, {}).setdefault((_unit(name), text), {}).setdefault(_default(field), [])
            if by not in models:
                models.append(by)
    found = ["| field of `devices` | unit | meaning | default, by model |", "|---|---|---|---|"]
    for name, meanings in rows.items():
        for (unit, text), defaults in meanings.items():
            by_model = "; ".join(f"{', '.join(models)}: {default}" for default, models in defaults.items())
            found.append(f"| `{name}` | {unit} | {text} | {by_model} |")
    return "\n".join(found)


def cost_table() -> str:
    """Every number of both cost models, with its unit, and its source or why it is assumed."""
    models = (("alpine", AlpineCosts()), ("diana", DianaCosts()))
    rows = [f"| `{model}` | {row} |" for model, section in models for row in _numbers_of(section)]
    head = "| `costs.model` | field | unit | known from, or **assumed** because | default |"
    return "\n".join([head, "|---|---|---|---|---:|", *rows])


def _numbers_of(section: Section, path: str = "") -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _numbers_of(value, f"{name}.")
        for mark in field.metadata:
            if isinstance(mark, Known | Assumed):
                source = mark.source if isinstance(mark, Known) else f"**assumed**: {mark.reason}"
                number = _number(value) if isinstance(value, bool | str) else f"{value:,}".removesuffix(".0")
                yield f"`{path}{name}` | {mark.unit} | {source} | {number}"


def _unit(field: str) -> str:
    return UNITS.get(field.rpartition("_")[2], "")


def _fields(kind: type[BaseModel]) -> Mapping[str, tuple[FieldInfo, str]]:
    """Fields with their meaning."""
    texts: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if issubclass(one, BaseModel) and one is not BaseModel:
            texts |= _texts(one)
    return {name: (field, texts[name]) for name, field in kind.model_fields.items() if name != "model"}


def _texts(kind: type[BaseModel]) -> dict[str, str]:
    """What stands below each field of a class, on one line."""
    (body,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            words = " ".join(str(text.value.value).split()).replace("``", "`").replace("|", "\\|")
            found[field.target.id] = words.removesuffix(".")
    return found


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "{}"
    value = field.default
    if isinstance(value, tuple):
        return f"[{', '.join(f'{one:g}' for one in value)}]"
    return _number(value)


def _number(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return re.sub(r"e([+-])0", r"e\1", f"{value:g}") if isinstance(value, float | int) else f"`{value}`"


if __name__ == "__main__":
    MadePart("hardware-fields.md", "devices", "hardware_tables.py").main(device_table())
    MadePart("hardware-fields.md", "sections", "hardware_tables.py").main(tables())
    MadePart("hardware-fields.md", "costs", "hardware_tables.py").main(cost_table())
