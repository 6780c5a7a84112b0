"""Lists and mappings as YAML and JSON have them: their fields by path, and their size."""

from typing import Any

__all__ = ["fields_by_path", "holds_more", "set_by_path"]


def fields_by_path(document: object, path: str = "") -> dict[str, object]:
    """Fields of a nested document by their path; a list of values, or a table of them, is one field.

    >>> fields_by_path({"tiles": {"rows": 256}, "layers": [{"dac": 8}], "times": [1, 2], "none": []})
    {'tiles.rows': 256, 'layers.0.dac': 8, 'times': [1, 2]}
    """
    values = isinstance(document, list) and document and not any(isinstance(inner, dict) for inner in document)
    if values or not isinstance(document, dict | list):
        return {path: document}
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    found: dict[str, object] = {}
    for key, inner in inside:
        found |= fields_by_path(inner, f"{path}.{key}" if path else str(key))
    return found


def set_by_path(document: dict[str, Any], path: str, value: object) -> None:
    """Set a field of a nested document that has the mapping it lies in.

    >>> document = {"adc": {"bits": 8}}
    >>> set_by_path(document, "adc.bits", 6)
    >>> document
    {'adc': {'bits': 6}}
    """
    *sections, name = path.split(".")
    inside = document
    for section in sections:
        inside = inside[section]
    inside[name] = value


def holds_more(document: object, most: int) -> bool:
    """Whether lists and mappings hold more values than that, at every depth; what is repeated counts every time."""
    values, waiting = 0, [document]
    while waiting and values <= most:
        value = waiting.pop()
        inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        values += len(inside)
        waiting += inside
    return values > most
