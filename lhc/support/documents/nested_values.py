"""Lists and mappings as YAML and JSON have them: their fields by path, and their size."""

__all__ = ["fields_by_path", "holds_more"]


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


def holds_more(document: object, most: int) -> bool:
    """Whether lists and mappings hold more values than that, at every depth; what is repeated counts every time."""
    values, waiting = 0, [document]
    while waiting and values <= most:
        value = waiting.pop()
        inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        values += len(inside)
        waiting += inside
    return values > most
