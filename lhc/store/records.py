"""The bytes of a result log: records one after another, each found and checked by itself.

A record is a header of 100 bytes, a description and a value. Numbers are little-endian and unsigned:

======  =====  ====================================================================
offset  bytes  what
======  =====  ====================================================================
0       8      ``89 4C 48 43 0D 0A 1A 0A``, by which a record is found
8       4      CRC-32 of bytes 12 to 99
12      4      kind: 1 a result, 2 a context (facts that results share)
16      4      m, length of the description
20      4      CRC-32 of the description
24      8      n, length of the value; 0 for a context
32      4      CRC-32 of the value
36      32     SHA-256: key of the result, or the context's own fingerprint
68      32     fingerprint of the context that this lies within; zeros: none
100     m      JSON: ``dtype``, ``shape`` and ``facts`` of a result, ``facts`` of a context
100+m   n      elements in C order, of one of `DTYPES`
======  =====  ====================================================================

Reading trusts nothing: lengths are checked against the file before memory is taken, element types come from a closed
list, nothing is unpickled. Where a record is damaged, the next one is found by its first eight bytes and checksum.
"""

import logging
import math
import os
from collections.abc import Iterator
from io import FileIO
from struct import Struct
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError
from lhc.store.facts import Facts, JsonValue, canonical, parse_facts

__all__ = [
    "CONTEXT",
    "DTYPES",
    "NOTHING",
    "RESULT",
    "Array",
    "DamagedRecordError",
    "Description",
    "Header",
    "encode_context",
    "encode_result",
    "read_description",
    "read_value",
    "scan",
]

Array = npt.NDArray[Any]

log = logging.getLogger("lhc")

MAGIC = b"\x89LHC\r\n\x1a\n"
RESULT, CONTEXT = 1, 2
NOTHING = bytes(32)
"""In the place of a fingerprint: none."""
DTYPES = frozenset({"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"})
"""Element types of values."""
MAX_DESCRIPTION_BYTES = 2**24
MAX_VALUE_BYTES = 2**31
MAX_DIMENSIONS = 32

_HEADER = Struct("<8sIIIIQI32s32s")
_CHECKED = Struct("<IIIQI32s32s")
_CHECKED_FROM = _HEADER.size - _CHECKED.size
_WINDOW = 2**16
"""Bytes read at once while records are looked for."""


class DamagedRecordError(Exception):
    """A record is not what its checksums say."""


class Header(NamedTuple):
    """The fixed part of a record; fields as in the table above."""

    kind: int
    description_bytes: int
    description_crc: int
    value_bytes: int
    value_crc: int
    key: bytes
    within: bytes

    @property
    def size(self) -> int:
        """Bytes of the whole record."""
        return _HEADER.size + self.description_bytes + self.value_bytes


class Description(NamedTuple):
    """What a record says of itself; ``dtype`` and ``shape`` are empty for a context."""

    header: Header
    dtype: str
    shape: tuple[int, ...]
    facts: Facts


def encode_result(key: bytes, value: Array, facts: Facts, within: bytes) -> bytes:
    """The record of a result.

    Args:
        key: SHA-256 of what it depends on, 32 bytes.
        value: the result.
        facts: what tells it from the others within its context.
        within: fingerprint of that context, or `NOTHING`.

    Raises:
        DataError: the element type is none of `DTYPES`, or the value or its facts are too large.
    """
    array = np.asarray(value, order="C")
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    dtype = array.dtype.str
    if dtype not in DTYPES or array.ndim > MAX_DIMENSIONS:
        raise DataError(f"arrays of {array.dtype} with {array.ndim} axes cannot be kept as results")
    description: dict[str, JsonValue] = {"dtype": dtype, "shape": array.shape, "facts": facts}
    return _encode(RESULT, key, within, description, array.reshape(-1).view(np.uint8).data)


def encode_context(key: bytes, facts: Facts, within: bytes) -> bytes:
    """The record of a context.

    Args:
        key: its fingerprint, 32 bytes.
        facts: what it says.
        within: fingerprint of the context that it adds to, or `NOTHING`.

    Raises:
        DataError: the facts are too large.
    """
    return _encode(CONTEXT, key, within, {"facts": facts}, memoryview(b""))


def _encode(kind: int, key: bytes, within: bytes, description: Facts, value: memoryview) -> bytes:
    text = canonical(description).encode()
    if len(text) > MAX_DESCRIPTION_BYTES or value.nbytes > MAX_VALUE_BYTES:
        raise DataError(f"{value.nbytes} bytes of values and {len(text)} of facts are too large for one result")
    checked = _CHECKED.pack(kind, len(text), crc32(text), value.nbytes, crc32(value), key, within)
    return b"".join((MAGIC, crc32(checked).to_bytes(4, "little"), checked, text, value))


def _parse(data: bytes, at: int) -> Header | None:
    if len(data) - at < _HEADER.size or not data.startswith(MAGIC, at):
        return None
    _, crc, *fields = _HEADER.unpack_from(data, at)
    header = Header(*fields)
    if crc32(data[at + _CHECKED_FROM : at + _HEADER.size]) != crc:
        return None
    if header.description_bytes > MAX_DESCRIPTION_BYTES or header.value_bytes > MAX_VALUE_BYTES:
        return None
    return header


def scan(file: FileIO, start: int, size: int) -> Iterator[tuple[int, Header]]:
    """Complete records from an offset on, as offset and header; values are passed over unread.

    An incomplete record at the end (killed, or just being written) ends the scan; a damaged one elsewhere is skipped
    with a warning.

    Args:
        file: open for reading.
        start: where a record should begin, in bytes.
        size: of the file, in bytes.
    """
    at, window, base = start, b"", start
    while at < size:
        if not base <= at <= base + len(window) - _HEADER.size:
            window, base = _read(file, at, _WINDOW), at
        header = _parse(window, at - base)
        if header is None or at + header.size > size:
            found = _next(file, at + 1, size)
            if found is None:
                log.debug("%s: %d bytes at the end are no complete record", file.name, size - at)
                return
            log.warning("%s: %d damaged bytes at %d skipped", file.name, found - at, at)
            at = found
            continue
        yield at, header
        at += header.size


def _next(file: FileIO, start: int, size: int) -> int | None:
    """Offset of the next complete record."""
    for base in range(start, size, _WINDOW):
        window = _read(file, base, _WINDOW + len(MAGIC) - 1)
        at = window.find(MAGIC)
        while at >= 0:
            header = _parse(_read(file, base + at, _HEADER.size), 0)
            if header is not None and base + at + header.size <= size:
                return base + at
            at = window.find(MAGIC, at + 1)
    return None


def _read(file: FileIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


def read_description(file: FileIO, at: int, key: bytes) -> Description:
    """What the record of this key at an offset says of itself.

    Raises:
        DamagedRecordError: it is not as it was written.
    """
    header = _parse(_read(file, at, _HEADER.size), 0)
    if header is None or header.key != key or at + header.size > os.fstat(file.fileno()).st_size:
        raise DamagedRecordError("it is not there")
    text = _read(file, at + _HEADER.size, header.description_bytes)
    if crc32(text) != header.description_crc:
        raise DamagedRecordError("the description's checksum is wrong")
    try:
        fields = parse_facts(text)
    except ValueError as error:
        raise DamagedRecordError(f"its description: {error}") from error
    dtype, shape, facts = fields.get("dtype", ""), fields.get("shape", []), fields.get("facts")
    if not isinstance(facts, dict) or not isinstance(dtype, str) or not isinstance(shape, list):
        raise DamagedRecordError("its description lacks fields")
    if len(shape) > MAX_DIMENSIONS or not all(type(length) is int and length >= 0 for length in shape):
        raise DamagedRecordError(f"shape {shape[:MAX_DIMENSIONS]}")
    return Description(header, dtype, tuple(shape), facts)


def read_value(file: FileIO, at: int, key: bytes) -> Array:
    """The value of the result of this key at an offset.

    Raises:
        DamagedRecordError: it is not as it was written.
    """
    header, dtype, shape, _ = read_description(file, at, key)
    if dtype not in DTYPES or math.prod(shape) * np.dtype(dtype).itemsize != header.value_bytes:
        raise DamagedRecordError(f"{header.value_bytes} bytes are no {shape} of {dtype!r}")
    data = np.empty(header.value_bytes, np.uint8)
    file.seek(at + _HEADER.size + header.description_bytes)
    rest = data.data
    while rest and (count := file.readinto(rest)):
        rest = rest[count:]
    if rest or crc32(data.data) != header.value_crc:
        raise DamagedRecordError("the value's checksum is wrong")
    try:
        array = data.view(dtype).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise DamagedRecordError(f"shape {shape}") from error
    return array.astype(array.dtype.newbyteorder("="), copy=False)
