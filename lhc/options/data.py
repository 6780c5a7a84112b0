"""Options of the samples that a command reads, and of the metric."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lhc.errors import DataError
from lhc.options.declaration.option_fields import option, options
from lhc.options.declaration.value_parsing import metric_of, sample_axes_of
from lhc.support.number_formatting import counted

if TYPE_CHECKING:
    from lhc.samples.task import DataSource, Task

__all__ = ["Data", "SampleSource", "SomeSamples"]


@options
class SampleSource:
    """Options of the source of samples."""

    PANEL = "Data"

    data: "DataSource | None" = option(
        "Samples: an .npz with an array for every input, first axis samples. Or a folder of .npy (one per input)"
        " or of .npz shards; module:function that yields blocks; a .txt for a language model, documents"
        " between empty lines.",
        default=None,
        kw_only=False,
        metavar="DATA",
        reads=Path | None,
    )
    label_key: str = option("Key of the labels in the data.", default="labels", metavar="KEY")
    sample_axis: "Mapping[str, int | Literal['call']] | int | str | None" = option(
        "Axis of an input or output that counts samples, or 'call' where a call takes one sample; without NAME= of the"
        " scored output. By default found where one axis follows the batch, else the first. Repeatable.",
        default=None,
        metavar="[NAME=]N|call",
        reads=list[str],
        convert=sample_axes_of,
        rare=True,
    )
    tokenizer: Path | str | None = option(
        "For a text: a tokenizer.json or its folder, a .gguf, or a name that 'lhc models' lists; a zoo model's"
        " own by default.",
        default=None,
        metavar="FILE",
        reads=Path | None,
    )
    window: int = option("For a text: the network reads at most this many tokens at once.", default=256, metavar="N")
    stride: int | None = option(
        "For a text: tokens from one window to the next, by default a whole window. With fewer, every predicted token"
        " has more context.",
        default=None,
        metavar="N",
    )

    @property
    def sample_axes(self) -> "Mapping[str, int | Literal['call']]":
        """The axes by name; that of the scored output, where it is not named, under the empty one."""
        return {} if self.sample_axis is None else sample_axes_of(self.sample_axis)


@options
class SomeSamples(SampleSource):
    """Options of the samples that are looked at."""

    samples: int | None = option("Use the first N samples; all by default.", default=None, metavar="N", least=1)

    skip: int = option(
        "Leave out the first N samples, e.g. those that the network was placed on; --samples counts from there.",
        default=0,
        metavar="N",
        least=0,
        rare=True,
    )

    @property
    def end(self) -> int | None:
        """Number of samples of the data that need to be read; None: all."""
        return None if self.samples is None else self.skip + self.samples

    def of(self, task: "Task") -> "Task":
        """The samples that are looked at, of those that were read.

        Raises:
            DataError: none is left.
        """
        if self.skip >= len(task):
            raise DataError(f"--skip {self.skip} leaves nothing: the data holds {counted(len(task), 'sample')}")
        if not self.skip:
            return task.head(self.end)
        return replace(task.take(slice(self.skip, self.end)), skipped=task.head(self.skip), finite=True)


@options
class Data(SomeSamples):
    """Options of the samples that are looked at, and of the metric that scores answers on them."""

    metric: str | None = option(
        "accuracy (default with labels), agreement (default without labels, where the output holds"
        " probabilities), nmse (default else), kl, mse, …, or module:function. A placed model is judged by the"
        " metric that it was placed by. 'sensitivity' and 'attribute' measure layers in it, by default in kl or nmse.",
        default=None,
        metavar="M",
        convert=metric_of,
    )
    higher_is_better: bool | None = option(
        "Direction of a metric given as module:function.", default=None, off="--lower-is-better", rare=True
    )
    output: Sequence[str] | str | None = option(
        "The output that is scored; the first by default. With 'partition' repeatable: every further one,"
        " NAME[,METRIC[,MAX_DROP]], has to hold its own budget too.",
        default=None,
        metavar="NAME",
        reads=list[str],
        rare=True,
    )
    class_axis: int | None = option(
        "Axis of the scored output that holds the scores of classes. By default found by the labels, else by"
        " values that are probabilities, else the last.",
        default=None,
        metavar="N",
        rare=True,
    )

    @property
    def scored(self) -> str | None:
        """The output that is scored; None: the first."""
        return next(iter(self._outputs), None)

    @property
    def further(self) -> tuple[str, ...]:
        """Texts of the outputs that are judged beside the first."""
        return self._outputs[1:]

    @property
    def _outputs(self) -> tuple[str, ...]:
        return (self.output,) if isinstance(self.output, str) else tuple(self.output or ())
