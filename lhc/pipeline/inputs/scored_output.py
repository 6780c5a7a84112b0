"""Choice of the scored output: the first, or the probabilities that its answers are taken from.

Classifiers of scikit-learn give the class of every sample first, and the probabilities of all classes beside it. These
say more: how sure an answer is, and which layers move it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from lhc.errors import LhcError
from lhc.onnx_io import static_batch
from lhc.onnx_io.read.zipmap_outputs import class_maps
from lhc.onnx_model import OnnxModel
from lhc.runtime.onnxruntime.sessions import create_session, run_session, tensor_infos
from lhc.samples.class_probabilities import are_probabilities
from lhc.samples.metrics import Array
from lhc.samples.task import Task, cut

_EXAMPLES = 8
_ANSWERS = ("tensor(int64)", "tensor(int32)")
_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")


def probabilities_of_answers(model: OnnxModel, task: Task, tell: Callable[[str], None]) -> str | None:
    """The output with the probabilities whose greatest are the first output's answers; None where there is none.

    Classes have to be counted from 0 in the answers: labels are compared with the places of probabilities.

    Args:
        tell: is called with what was taken.
    """
    first, *others = tensor_infos(model, outputs=True)
    maps = class_maps(model)
    floats = [info.name for info in others if info.name in maps or info.type in _FLOATS]
    if first.type not in _ANSWERS or not floats:
        return None
    try:
        answers, *found = _answers(model, task, [first.name, *floats])
    except LhcError:
        return None  # whoever measures says what is wrong
    for name, output in zip(floats, found, strict=True):
        if _holds(maps[name].rows(output) if name in maps else output, answers):
            tell(
                f"judged by output {name!r}, whose probabilities the answers of the first output {first.name!r} are"
                f" taken from (--output {first.name} judges the answers alone)"
            )
            return name
    return None


def _answers(model: OnnxModel, task: Task, names: list[str]) -> list[Any]:
    """Outputs for the first samples."""
    batch = 1 if task.layout.one_a_call else static_batch(model, task.layout.inputs)
    inputs, _ = task.read(0, _EXAMPLES)
    samples = min(len(task), _EXAMPLES)
    _, feeds = next(cut(inputs, samples, batch or samples, batch is not None, task.layout))
    return run_session(create_session(model.as_file(), model.label, packs=False), names, feeds, model.label)


def _holds(values: Array, answers: Array) -> bool:
    """Whether these are probabilities of classes, and the answers the greatest of them."""
    if values.dtype.kind != "f" or values.ndim < 2 or values.shape[-1] < 2 or not values.size:
        return False
    taken = values.argmax(axis=-1)
    return are_probabilities(values.astype(np.float64), values) and np.array_equal(taken.ravel(), answers.ravel())
