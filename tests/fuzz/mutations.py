"""Seeded mutations of model files, lhc's metadata, npz files and YAML files."""

import io
import json
import re
import struct
import zipfile
from collections.abc import Callable
from random import Random

import onnx
from google.protobuf.message import Message

__all__ = [
    "KINDS",
    "forged",
    "mutate_bytes",
    "mutate_members",
    "mutate_metadata",
    "mutate_model",
    "mutate_npz",
    "mutate_text",
]

NUMBERS = (0, 1, -1, 2, 3, 7, 127, 255, 2**16, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
FLOATS = (0.0, -1.0, 1e-45, 1e38, float("inf"), float("-inf"), float("nan"))
TEXTS: tuple[str, ...] = (
    "",
    "x",
    "Conv",
    "MatMul",
    "Gemm",
    "If",
    "Loop",
    "../../etc/passwd",
    "/etc/passwd",
    "\0",
    "é" * 40,
    "a" * 5000,
)
TEXTS += ("com.microsoft", "lhc.plan", "{" * 3000, "1e999", "analog", "weights.bin", "float", "NaN")
KINDS = {
    "structure": 50,
    "model": 14,
    "bytes": 6,
    "metadata": 6,
    "hardware": 7,
    "plan": 5,
    "npz": 4,
    "npy": 3,
    "report": 2,
    "gguf": 3,
}
"""Kinds of mutations and how many of a hundred are of each."""


def mutate_bytes(data: bytes, rng: Random) -> bytes:
    """Bits flipped, parts cut out, doubled, moved or overwritten; anywhere."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(max(1, len(changed)))
        length = min(rng.choice((1, 2, 8, 64, 1000)), len(changed) - at)
        kind = rng.randrange(6)
        if kind == 0 and changed:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at : at + length]
        elif kind == 2:
            changed[at:at] = changed[at : at + length]
        elif kind == 3:
            changed[at : at + length] = rng.randbytes(length)
        elif kind == 4:
            changed[at:at] = b"\xff" * rng.randrange(1, 10)
        else:
            del changed[rng.randrange(len(changed) // 2, len(changed) + 1) :]
    return bytes(changed)


def _messages(message: Message, found: list[Message], most: int = 20000) -> list[Message]:
    """A message and all those in it."""
    found.append(message)
    for descriptor, value in message.ListFields():
        if len(found) < most and descriptor.message_type is not None:
            for inner in value if descriptor.is_repeated else (value,):
                _messages(inner, found, most)
    return found


def mutate_model(data: bytes, rng: Random) -> bytes:
    """A model that is still a protobuf, with some of its fields changed."""
    model = onnx.ModelProto.FromString(data)
    messages = _messages(model, [])
    by_type: dict[str, list[Message]] = {}
    for message in messages:
        by_type.setdefault(message.DESCRIPTOR.name, []).append(message)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        # Every type of message is as likely: else nearly all would be tensors.
        _change(rng.choice(by_type[rng.choice(sorted(by_type))]), rng)
    return bytes(model.SerializeToString())


def _change(message: Message, rng: Random) -> None:
    fields = list(message.DESCRIPTOR.fields)
    present = [descriptor for descriptor, _ in message.ListFields()]
    descriptor = rng.choice(present) if present and rng.random() < 0.7 else rng.choice(fields)
    if descriptor.is_repeated:
        _change_list(getattr(message, descriptor.name), descriptor, rng)
    elif descriptor.message_type is not None:
        message.ClearField(descriptor.name)
        if rng.random() < 0.5:
            getattr(message, descriptor.name).SetInParent()
    elif rng.random() < 0.2:
        message.ClearField(descriptor.name)
    else:
        _set(lambda value: setattr(message, descriptor.name, value), descriptor, getattr(message, descriptor.name), rng)


def _change_list(values: "list[object]", descriptor: object, rng: Random) -> None:
    kind = rng.randrange(5)
    at = rng.randrange(len(values)) if values else 0
    if values and kind == 0:
        del values[at]
    elif values and kind == 1:
        other = values[rng.randrange(len(values))]
        if isinstance(other, Message):
            values.insert(at, other)  # a copy: written twice, in another order
        else:
            values[at] = other
    elif values and kind == 2:
        del values[at:]
    elif isinstance(values[at] if values else None, Message) or getattr(descriptor, "message_type", None) is not None:
        if kind == 3 and hasattr(values, "add"):
            values.add()
    elif values and kind == 3:
        _set(lambda value: values.__setitem__(at, value), descriptor, values[at], rng)
    else:
        _set(values.append, descriptor, None, rng)


def _set(put: Callable[[object], object], descriptor: object, old: object, rng: Random) -> None:
    choices: list[object] = [*NUMBERS, *FLOATS, *TEXTS, *(text.encode() for text in TEXTS[:8])]
    if isinstance(old, int):
        choices += [old + 1, old - 1, -old] * 20
    if isinstance(old, bytes) and old:
        choices += [old[: len(old) // 2], old * 2, mutate_bytes(old, rng)] * 20
    for _ in range(50):  # until one is of the field's type
        try:
            put(rng.choice(choices))
        except (TypeError, ValueError):
            continue
        return


def mutate_metadata(data: bytes, rng: Random) -> bytes:
    """An annotated model whose ``lhc.*`` values are forged."""
    model = onnx.ModelProto.FromString(data)
    entries = [e for holder in (model, *model.graph.node) for e in holder.metadata_props if e.key.startswith("lhc.")]
    whole = [entry for entry in model.metadata_props if entry.key in ("lhc.plan", "lhc.hardware", "lhc.result")]
    for _ in range(rng.choice((1, 1, 2, 4))):
        entry = rng.choice(whole if whole and rng.random() < 0.7 else entries)
        kind = rng.randrange(5)
        if kind == 0:
            entry.value = rng.choice(TEXTS).replace("\0", "0")
        elif kind == 1:
            entry.value = mutate_text(entry.value, rng)
        elif kind == 2:
            entry.key = rng.choice(("lhc.plan", "lhc.schema", "lhc.hardware", "lhc.source", "lhc.result", "lhc.new"))
        else:
            entry.value = forged(entry.value, rng)
    return bytes(model.SerializeToString())


def forged(text: str, rng: Random) -> str:
    """JSON with one of its values replaced; other text as it is."""
    try:
        document = json.loads(text)
    except ValueError:
        return text + "0"
    holders = [document]
    for holder in holders:
        inner = holder.values() if isinstance(holder, dict) else holder if isinstance(holder, list) else ()
        holders += [value for value in inner if isinstance(value, dict | list)]
    holder = rng.choice([h for h in holders if h and isinstance(h, dict | list)] or [None])
    new: object = rng.choice([*NUMBERS, *FLOATS, *TEXTS, None, True, [], {}, [[]] * 1000, {"x": {"x": {}}}])
    if isinstance(holder, dict):
        key = rng.choice(sorted(holder))
        if rng.random() < 0.2:
            holder[rng.choice(TEXTS)] = new
        elif rng.random() < 0.2:
            del holder[key]
        else:
            holder[key] = new
    elif isinstance(holder, list):
        holder[rng.randrange(len(holder))] = new
    return json.dumps(document)


def mutate_text(text: str, rng: Random) -> str:
    """Words replaced, lines dropped, doubled or indented."""
    lines = text.splitlines() or [""]
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(lines))
        words = re.findall(r"[\w.+-]+", lines[at])
        kind = rng.randrange(7)
        if kind == 0 and words:
            new = str(
                rng.choice([*NUMBERS, *FLOATS, *TEXTS, "null", "!!python/object/apply:os.system [echo]", "[1, 2]"])
            )
            lines[at] = lines[at].replace(rng.choice(words), new, 1)
        elif kind == 1:
            del lines[at]
            lines = lines or [""]
        elif kind == 2:
            lines.insert(at, lines[rng.randrange(len(lines))])
        elif kind == 3:
            lines[at] = " " * rng.randrange(1, 5) + lines[at]
        elif kind == 4:
            lines.insert(
                at, rng.choice(("x: &a [*a, *a]", "? [", "!!binary x", "- - - -", "\t", "<<: {a: b}", "%YAML 9"))
            )
        elif kind == 5:
            lines[at] = mutate_bytes(lines[at].encode(), rng).decode("utf-8", "replace")
        else:
            lines.insert(at, _bomb())
    return "\n".join(lines)


def _bomb() -> str:
    """YAML aliases that stand for 10⁹ values."""
    lines = ["b0: &b0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 10)}]" for i in range(1, 9)]
    return "\n".join(lines)


def mutate_npz(data: bytes, rng: Random) -> bytes:
    """Members of an npz with other headers, or the archive itself damaged."""
    if rng.random() < 0.3:
        return mutate_bytes(data, rng)
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in mutate_members(data, rng).items():
            archive.writestr(member, content)
    return result.getvalue()


def mutate_members(data: bytes, rng: Random) -> dict[str, bytes]:
    """The arrays of an npz as npy files by name, one of them damaged."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    kind = rng.randrange(6)
    if kind == 0:
        members[name] = mutate_bytes(members[name][:128], rng) + members[name][128:]
    elif kind == 1:
        members[name] = _with_header(members[name], rng)
    elif kind == 2:
        members[rng.choice(("../../x.npy", "/tmp/x.npy", "x", name.upper()))] = members[name]
    elif kind == 3:
        members[name] = b"\x80\x04\x95" + rng.randbytes(20)
    elif kind == 4:
        members[name] = members[name][:128] + b"\0" * rng.choice((0, 10**6, 10**8))
    else:
        members.pop(name)
    return members


def _with_header(content: bytes, rng: Random) -> bytes:
    (length,) = struct.unpack_from("<H", content, 8)
    kinds = ("|O", "<f4", "<f8", "<i8", "|S5", "<U9", "<M8[s]", "<c8", "x", "<f4, <f4")
    shapes = (
        "(40, 8, 8)",
        "(2**40,)",
        "(1000000000000,)",
        "()",
        "(-1, 4)",
        "(4,)",
        "(0, 1, 8, 8)",
        "(9223372036854775807, 9)",
    )
    header = f"{{'descr': '{rng.choice(kinds)}', 'fortran_order': {rng.choice(('False', 'True', '9'))}, 'shape': "
    header += f"{rng.choice(shapes)}, }}"
    return content[:10] + header.ljust(length - 1)[: length - 1].encode() + b"\n" + content[10 + length :]
