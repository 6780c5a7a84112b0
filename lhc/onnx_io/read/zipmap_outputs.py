"""Outputs that are lists of maps from class to score, as scikit-learn's converters write them (ZipMap).

A ZipMap turns scores, ``(samples, classes)``, into one map a sample. What it reads is a tensor like any other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lhc.onnx_io.read.constants import Array
from lhc.onnx_model import OnnxModel


@dataclass(frozen=True)
class ClassMap:
    """Tensors behind a ZipMap output.

    Attributes:
        tensor: the scores that it is made of.
        classes: keys of the maps, in the order of the scores.
    """

    tensor: str
    classes: tuple[int | str, ...]

    def rows(self, maps: Sequence[Mapping[int | str, float]]) -> Array:
        """The scores again, ``(samples, classes)``."""
        found = [[one[key] for key in self.classes] for one in maps]
        return np.array(found, np.float32).reshape(len(maps), len(self.classes))


def class_maps(model: OnnxModel) -> dict[str, ClassMap]:
    """Outputs of ZipMap operators, by name."""
    found: dict[str, ClassMap] = {}
    for node in model.proto.graph.node:
        if (node.op_type, node.domain) != ("ZipMap", "ai.onnx.ml"):
            continue
        keys: tuple[int | str, ...] = ()
        for attribute in node.attribute:
            if attribute.name == "classlabels_int64s":
                keys += tuple(attribute.ints)
            elif attribute.name == "classlabels_strings":
                keys += tuple(text.decode() for text in attribute.strings)
        found[node.output[0]] = ClassMap(node.input[0], keys)
    return found


def scored_tensor(model: OnnxModel, output: str) -> str:
    """The tensor that holds what is scored of an output: the output itself, or the scores that its maps are made of."""
    maps = class_maps(model)
    return maps[output].tensor if output in maps else output
