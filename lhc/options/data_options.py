"""The options that say which samples a command reads, and how answers on them are scored."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lhc.options.declare import option, options

if TYPE_CHECKING:
    from lhc.samples.task import DataSource

__all__ = ["Data", "SampleSource"]


@options
class SampleSource:
    """Where samples are."""

    PANEL: ClassVar[str] = "Data"

    data: "DataSource | None" = option(
        "Samples by input name, first axis samples: an .npz, a folder of one .npy per input or of .npz shards,"
        " module:function, which yields blocks, or a text for a language model (.txt, documents between empty lines).",
        default=None,
        kw_only=False,
        metavar="DATA",
        reads=Path | None,
    )
    label_key: str = option("Key of the labels in the data.", default="labels", metavar="KEY")
    tokenizer: Path | str | None = option(
        "Of a text: a tokenizer.json, a folder that holds one, a .gguf, or a name that 'lhc models' lists; a zoo"
        " model's own by default.",
        default=None,
        metavar="FILE",
        reads=Path | None,
    )
    window: int = option("Most tokens of a text that the network reads at once.", default=256, metavar="N")
    stride: int | None = option(
        "Tokens of a text from a window to the next of its document; a smaller one than the window gives context to"
        " what is predicted. The window by default.",
        default=None,
        metavar="N",
    )


@options
class Data(SampleSource):
    """Which samples are looked at, and how answers on them are scored."""

    PANEL: ClassVar[str] = "Data"

    samples: int | None = option("Use the first N samples; all by default.", default=None, metavar="N")
    metric: str | None = option(
        "accuracy (default with labels), agreement (without, where the output holds probabilities), nmse (else), kl,"
        " mse, …, or module:function. That of the annotations, where the model has any and none is placed anew.",
        default=None,
        metavar="M",
    )
    higher_is_better: bool | None = option(
        "Direction of a metric given as module:function.", default=None, off="--lower-is-better", rare=True
    )
    output: str | None = option(
        "The output that is scored; the first by default.", default=None, metavar="NAME", rare=True
    )
    class_axis: int | None = option(
        "Axis of that output with the scores of classes, for metrics that read classes; by default the one that the"
        " labels show, else the one along which values are probabilities, else the last.",
        default=None,
        metavar="N",
        rare=True,
    )
