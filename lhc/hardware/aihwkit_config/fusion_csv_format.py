"""The CSV that aihwkit exchanges with the composer of IBM's Fusion chip (``aihwkit.utils.export``), read and written.

Five lines describe the layers, a value a layer: number, class, weights, outputs (height), inputs (width); the sixth has
their names. Then every layer has a line with its conductances in µS, tile after tile in aihwkit's order (inputs, then
outputs), each output by output. What is written for the chip are targets,

    g = |w| g_max / max |w|    (of the output, on its tile),

as aihwkit's ``FusionConductanceConverter`` has them; what comes back has the same form. Signs are not in it.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError, UsageError
from lhc.hardware.tile_geometry import split_sizes

G_MAX_US = 40.0
"""aihwkit's default; the chip takes 10 to 40 µS."""
_LEAST = np.float32(1e-10)
"""aihwkit's bound on a column's greatest weight."""
_FIELDS = ("id", "class", "num_weights", "height", "width")


@dataclass(frozen=True)
class FusionLayer:
    """A layer of such a file.

    Attributes:
        number: among the modules of the network.
        kind: aihwkit's class.
        height: outputs.
        width: inputs.
        conductances_us: µS, in the order of the file.
    """

    name: str
    number: int
    kind: str
    height: int
    width: int
    conductances_us: tuple[float, ...]


def fusion_conductances(
    matrix: npt.NDArray[np.float32], rows: int, cols: int, omega: float = 1.0, g_max_us: float = G_MAX_US
) -> tuple[float, ...]:
    """Targets of a matrix ``(outputs, inputs)`` on tiles of so many inputs and outputs, in aihwkit's arithmetic.

    Args:
        matrix: in single precision.
        rows: inputs of a tile.
        cols: outputs of a tile.
        omega: what the greatest weight of an output is mapped to.
        g_max_us: its conductance, in µS.

    Raises:
        UsageError: a conductance that the chip does not have.
    """
    if not 10 <= g_max_us <= 40:
        raise UsageError(f"g_max of the Fusion chip is 10 to 40 µS, got {g_max_us:g}")
    found: list[float] = []
    for inputs in _parts(matrix.shape[1], rows):
        for outputs in _parts(len(matrix), cols):
            block = matrix[outputs, inputs]
            greatest = np.abs(block).max(axis=1, keepdims=True)
            mapped = block / np.where(greatest > 0, greatest / np.float32(omega), np.float32(1))
            scale = np.float32(g_max_us) / np.maximum(np.abs(mapped).max(axis=1, keepdims=True), _LEAST)
            found += np.minimum(np.abs(mapped * scale), np.float32(g_max_us)).ravel().tolist()
    return tuple(found)


def _parts(size: int, most: int) -> list[slice]:
    ends = np.cumsum([0, *split_sizes(size, most)])
    return [slice(int(a), int(b)) for a, b in pairwise(ends)]


def fusion_text(layers: Sequence[FusionLayer]) -> str:
    """The file; its lines end as aihwkit ends them, so it is to be written without changing them."""
    described = zip(
        *((one.number, one.kind, len(one.conductances_us), one.height, one.width) for one in layers), strict=True
    )
    found = io.StringIO()
    found.write("".join(f"{','.join(map(str, line))}\n" for line in described))
    lines = csv.writer(found)
    lines.writerow([one.name for one in layers])
    lines.writerows(one.conductances_us for one in layers)
    return found.getvalue()


def read_fusion(path: Path) -> tuple[FusionLayer, ...]:
    """The layers of a file.

    Raises:
        DataError: it cannot be read, or is not of this form.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV: {error}") from error
    count = len(lines[0]) if lines else 0
    if len(lines) != len(_FIELDS) + 1 + count or any(len(line) != count for line in lines[: len(_FIELDS) + 1]):
        raise DataError(
            f"{path}: a Fusion CSV of {count} layers has {len(_FIELDS)} lines that describe them, one with their"
            " names, and a line of conductances each"
        )
    described = zip(*lines[: len(_FIELDS) + 1], strict=True)
    return tuple(_layer(one, line, path) for one, line in zip(described, lines[len(_FIELDS) + 1 :], strict=True))


def _layer(described: Sequence[str], line: Sequence[str], path: Path) -> FusionLayer:
    number, kind, weights, height, width, name = described
    try:
        found = FusionLayer(name, int(number), kind, int(height), int(width), tuple(map(float, line)))
        wanted = int(weights)
    except ValueError as error:
        raise DataError(f"{path}: layer {name!r}: numbers are wanted ({error})") from error
    if not len(line) == wanted == found.height * found.width or not np.isfinite(found.conductances_us).all():
        raise DataError(
            f"{path}: layer {name!r} has {len(line)} conductances, and its {found.height} x {found.width} weights need"
            " as many, all finite"
        )
    return found
