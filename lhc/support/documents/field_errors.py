"""Errors of a field in a document, and what to write instead."""

from pydantic_core import ErrorDetails

__all__ = ["field_problem"]

_KINDS = {
    "a whole number": ("int_parsing", "int_type", "int_from_float"),
    "a number": ("float_parsing", "float_type"),
    "a finite number": ("finite_number",),
    "true or false": ("bool_parsing", "bool_type"),
    "a text": ("string_type",),
    "a list": ("list_type", "tuple_type"),
    "fields with their values": ("dict_type", "model_type", "model_attributes_type"),
}
_SAID = {kind: f"write {what}" for what, kinds in _KINDS.items() for kind in kinds} | {
    "missing": "is missing",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "choose {expected}",
}


def field_problem(detail: ErrorDetails) -> str:
    """One problem that pydantic found; in pydantic's words where there are no better ones.

    >>> field_problem({"type": "greater_than", "loc": (), "msg": "Input should be …", "input": 0, "ctx": {"gt": 1}})
    'must be above 1'
    """
    try:
        return _SAID[detail["type"]].format(**detail.get("ctx", {}))
    except KeyError:  # another kind of problem, or one that was moved without what it is about
        return detail["msg"].removeprefix("Value error, ").replace("Input should be ", "must be ")
