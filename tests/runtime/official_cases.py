"""The official ONNX backend cases, which newer versions of onnx make when asked and older ones keep as files."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

__all__ = ["OfficialCase", "official_cases"]


@dataclass(frozen=True, eq=False)
class OfficialCase:
    """A model, and for every data set its inputs and what it has to answer, in the order of the graph.

    Optional inputs at the end may be missing from a data set.
    """

    name: str
    model: onnx.ModelProto
    data: tuple[tuple[tuple[Any, ...], tuple[Any, ...]], ...]


@cache
def official_cases(kind: str) -> tuple[OfficialCase, ...]:
    """Every case of a kind (``node``, ``simple``), in the order of onnx."""
    from onnx.backend.test.loader import load_model_tests

    state = np.random.get_state()  # noqa: NPY002 - the cases draw from the global generator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.random.seed(0)  # noqa: NPY002
        cases = load_model_tests(kind=kind)
    np.random.set_state(state)  # noqa: NPY002
    found = []
    for case in cases:
        if case.model is None:
            assert case.model_dir is not None
            found.append(_read(case.name, Path(case.model_dir)))
        else:
            assert case.data_sets is not None
            data = tuple((tuple(inputs), tuple(outputs)) for inputs, outputs in case.data_sets)
            found.append(OfficialCase(case.name, case.model, data))
    return tuple(found)


def _read(name: str, folder: Path) -> OfficialCase:
    model = onnx.load(folder / "model.onnx")
    data = tuple(
        (tuple(_stored(model.graph.input, "input", one)), tuple(_stored(model.graph.output, "output", one)))
        for one in sorted(folder.glob("test_data_set_*"))
    )
    return OfficialCase(name, model, data)


def _stored(values: Iterable[onnx.ValueInfoProto], what: str, folder: Path) -> Iterator[object]:
    for index, value in enumerate(values):
        path = folder / f"{what}_{index}.pb"
        if not path.exists():
            return
        content = path.read_bytes()
        if value.type.HasField("sequence_type"):
            yield numpy_helper.to_list(onnx.SequenceProto.FromString(content))
        elif value.type.HasField("optional_type"):
            yield numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
        else:
            yield numpy_helper.to_array(onnx.TensorProto.FromString(content))
