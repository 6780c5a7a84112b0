"""Text in a model file that is none.

ONNX promises UTF-8. protobuf reads a string that is something else all the same, and hands it out as bytes.
"""

from collections.abc import Iterator
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

__all__ = ["not_text"]


def not_text(message: Message) -> Iterator[tuple[str, bytes]]:
    """Strings of a message and of those in it that are no UTF-8, each with the name of its field.

    Fields of bytes, which hold weights, are not touched: protobuf would copy them.
    """
    texts, inner = _fields(message.DESCRIPTOR)
    for name in texts:
        value = getattr(message, name)
        values = (value,) if isinstance(value, str | bytes) else value
        yield from ((name, one) for one in values if isinstance(one, bytes))
    for name, repeated in inner:
        if repeated:
            for one in getattr(message, name):
                yield from not_text(one)
        elif message.HasField(name):
            yield from not_text(getattr(message, name))


@cache
def _fields(kind: Descriptor) -> tuple[tuple[str, ...], tuple[tuple[str, bool], ...]]:
    """Names of the fields of text, and of those of messages with whether they are repeated."""
    texts = tuple(field.name for field in kind.fields if field.type == FieldDescriptor.TYPE_STRING)
    inner = [field for field in kind.fields if field.type == FieldDescriptor.TYPE_MESSAGE]
    return texts, tuple((field.name, _repeated(field)) for field in inner)


def _repeated(field: FieldDescriptor) -> bool:
    """Newer releases of protobuf have a property for it, and will lose the label."""
    known = getattr(field, "is_repeated", None)
    return bool(field.label == FieldDescriptor.LABEL_REPEATED if known is None else known)
