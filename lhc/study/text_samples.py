"""A user's text as samples of a language model: which tokenizer cuts it, and which inputs are filled."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from lhc.errors import UsageError
from lhc.models import ZooEntry, is_zoo_name, zoo_entry
from lhc.models.tokens import load_tokenizer
from lhc.options.subjects import SampleSource
from lhc.samples.documents import TextTask, read_documents, text_task

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["is_text", "text_samples"]


def is_text(data: object) -> bool:
    """Whether samples are named by a text."""
    return isinstance(data, str | Path) and Path(data).suffix == ".txt"


def text_samples(
    path: Path, how: SampleSource, inputs: Collection[str], entry: ZooEntry | None, samples: int | None
) -> TextTask:
    """Windows of a text.

    Args:
        path: of the text.
        how: tokenizer, window and stride.
        inputs: names of the model's.
        entry: of the zoo that the model is, if any.
        samples: most windows.

    Raises:
        UsageError: no tokenizer, or a window that makes no sense.
        DataError: the text or the tokenizer cannot be read.
    """
    return text_task(read_documents(path), _tokenizer(path, how, entry), how.window, how.stride, samples, inputs=inputs)


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
