"""A user's text as samples of a language model: which tokenizer cuts it, and which inputs are filled.

Windows are read whole, as prompts are, so caches of keys and values that a network takes (inputs ``past…``) are empty.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lhc.errors import UsageError
from lhc.models import ZooEntry, is_zoo_name, zoo_entry
from lhc.models.tokens import load_tokenizer
from lhc.onnx_io import Shape
from lhc.options.declaration.option_fields import flags_given
from lhc.options.shared import SampleSource
from lhc.samples.task import Array
from lhc.samples.text_documents import TextTask, read_documents, text_task

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CACHE = "past"
"""What exporters' names of caches begin with: ``past_key_values.0.key``, ``past_key_0``."""


def is_text(data: object) -> bool:
    """Whether samples are named by a text."""
    return isinstance(data, str | Path) and Path(data).suffix == ".txt"


def refuse_options_of_text(how: SampleSource) -> None:
    """Refuse options of a text where no samples that they are for are one.

    Raises:
        UsageError: there is such an option.
    """
    if any(is_text(getattr(how, name, None)) for name in ("data", "train_data", "calibrate")):
        return
    named = flags_given(how, ("tokenizer", "window", "stride"))
    if named:
        verb = "is" if len(named) == 1 else "are"
        raise UsageError(f"{', '.join(named)}: {verb} for samples from a text; name one (--data FILE.txt), or drop it")


def text_samples(
    path: Path, how: SampleSource, inputs: Mapping[str, Shape | None], entry: ZooEntry | None, samples: int | None
) -> TextTask:
    """Windows of a text.

    Args:
        inputs: of the model, with the shapes that it declares.

    Raises:
        UsageError: no tokenizer, or a window that makes no sense.
        DataError: the text or the tokenizer cannot be read.
    """
    tokenizer = _tokenizer(path, how, entry)
    tokens = inputs.get("input_ids")
    fixed = tokens[1] if tokens is not None and len(tokens) == 2 and isinstance(tokens[1], int) else None
    made = text_task(read_documents(path), tokenizer, how.window, how.stride, samples, inputs=inputs, fixed=fixed)
    caches = _empty_caches(inputs, len(made.task))
    return replace(made, task=replace(made.task, inputs={**made.task.inputs, **caches})) if caches else made


def _empty_caches(inputs: Mapping[str, Shape | None], samples: int) -> dict[str, Array]:
    """Caches of length 0, by the names that begin so: one axis besides the samples' is open, that of their length."""
    found = {}
    for name, shape in inputs.items():
        if not name.startswith(CACHE) or not shape:
            continue
        sizes = [size if isinstance(size, int) else 0 for size in shape[1:]]
        if sizes.count(0) == 1:
            found[name] = np.zeros((samples, *sizes), np.float32)
    return found


def _tokenizer(path: Path, how: SampleSource, entry: ZooEntry | None) -> "Tokenizer":
    if how.tokenizer is None:
        if entry is None:
            raise UsageError(
                f"{path}: a text is cut by a tokenizer; give the network's own with --tokenizer (tokenizer.json, .gguf,"
                " or a name that 'lhc models' lists)"
            )
        return entry.tokenizer()
    name = str(how.tokenizer)
    if is_zoo_name(name) and not Path(name).exists():
        return zoo_entry(name).tokenizer()
    return load_tokenizer(Path(name))
