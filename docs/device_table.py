"""The table of fields of devices in hardware.md, made from the models of devices themselves.

python docs/device_table.py          say whether the page is what the models say; exit code 1 if not
python docs/device_table.py --write  write it anew
"""

import ast
import inspect
import re
from collections.abc import Mapping

from made_part import MadePart
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lhc.hardware.device_model import PairedDevices
from lhc.hardware.devices import DEVICE_MODELS
from lhc.hardware.weight_noise import Regime

UNITS = {"us": "µS", "s": "s", "percent": "%"}
"""By the end of a field's name."""


def table() -> str:
    """A row for every field, its unit and what it means, with its default by model; what models share stands once."""
    rows: dict[str, dict[tuple[str, str], dict[str, list[str]]]] = {}
    for model, kind in DEVICE_MODELS.items():
        inner = _fields(Regime) if kind.model_fields.get("regimes") else {}
        for name, (field, text) in {**_fields(kind), **{f"regimes: {k}": v for k, v in inner.items()}}.items():
            unit = UNITS.get(name.rpartition("_")[2], "")
            defaults = rows.setdefault(name, {}).setdefault((unit, text), {})
            defaults.setdefault(_default(field), []).append(f"`{model}`")
    found = ["| field of `devices` | unit | meaning | default, by model |", "|---|---|---|---|"]
    for name, meanings in rows.items():
        for (unit, text), defaults in meanings.items():
            by_model = "; ".join(f"{', '.join(models)}: {default}" for default, models in defaults.items())
            found.append(f"| `{name}` | {unit} | {text} | {by_model} |")
    return "\n".join(found)


def _fields(kind: type[BaseModel]) -> Mapping[str, tuple[FieldInfo, str]]:
    """Fields with their meaning, but those that all pairs of devices have alike, which the page has elsewhere."""
    texts: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if issubclass(one, BaseModel) and one is not BaseModel:
            texts |= _texts(one)
    alike = _texts(PairedDevices)
    return {
        name: (field, texts[name])
        for name, field in kind.model_fields.items()
        if name != "model" and texts[name] != alike.get(name)
    }


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
    value = field.default
    return f"[{', '.join(f'{one:g}' for one in value)}]" if isinstance(value, tuple) else _number(value)


def _number(value: object) -> str:
    return re.sub(r"e([+-])0", r"e\1", f"{value:g}") if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    MadePart("hardware.md", "devices", "device_table.py").main(table())
