"""MobileBERT with a span head (Sun et al., ACL 2020), by Hugging Face's ``transformers``: LionHeart's transformer.

24 layers of width 512 with bottlenecks of width 128, each layer of 15 projections: in and out of the bottleneck (3),
query, key, value and output of the attention (4), four feed-forward networks (8). With the transformation of the
embeddings and the span head that makes 362 products with constant weights, of which LionHeart takes all but the first
(linear layers without "embedding" in their name).

The checkpoint is the one that LionHeart's published code names. It is taken from a local folder, or through
``transformers`` from where that finds it.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lhc.errors import ModelError
from lhc.models.squad import INPUTS, export_spans, read_questions, span_task
from lhc.models.tokens import word_piece_tokenizer
from lhc.models.zoo_entry import DATA_VARIABLE, ZooEntry, data_folder, require
from lhc.samples.task import Task
from lhc.support.log_levels import quiet_logger

if TYPE_CHECKING:
    import onnx
    import torch
    from transformers import MobileBertForQuestionAnswering

CHECKPOINT = "csarron/mobilebert-uncased-squad-v1"
REVISION = "a55778db96b874cd5b2629199000cc8c52b5738a"
"""Of github.com/IBM/lionheart, lionheart/huggingface.py; MIT."""
FOLDER = Path("models", "mobilebert-uncased-squad-v1")
"""Below the folder that ``LHC_DATA`` names; holds what ``save_pretrained`` writes."""
LONGEST = 512


class MobileBert(ZooEntry):
    """MobileBERT on SQuAD: 362 projections, and 48 products between activations that stay digital."""

    name: ClassVar[str] = "mobilebert"
    description: ClassVar[str] = (
        "MobileBERT with a span head on SQuAD v1.1, F1; needs lhc[mobilebert]; checkpoint by --weights FOLDER,"
        f" ${DATA_VARIABLE} or the network, text by ${DATA_VARIABLE}"
    )
    max_drop: ClassVar[float] = 0.02

    def model(self, weights: Path | None = None) -> "onnx.ModelProto":
        """The network with the weights of a checkpoint.

        Args:
            weights: folder that holds one; None takes ``models/mobilebert-uncased-squad-v1`` below the folder that
                ``LHC_DATA`` names, where that is there, else the published one.
        """
        root = data_folder()
        own = root / FOLDER if root is not None and (root / FOLDER).is_dir() else None
        return export_spans(with_spans(load_checkpoint(weights or own)))

    def task(self) -> Task:
        """The 10,570 questions of SQuAD's development set, judged by F1; 56 of them have a paragraph that is cut."""
        return span_task(read_questions(), word_piece_tokenizer(), LONGEST)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return dict.fromkeys(INPUTS, (1, LONGEST))


def load_checkpoint(folder: Path | None) -> "MobileBertForQuestionAnswering":
    """A checkpoint from a local folder, or the published one where ``folder`` is None.

    Raises:
        ModelError: it is not found, cannot be read, or lacks weights of the network.
        MissingDependencyError: PyTorch or ``transformers`` is not installed.
    """
    require("building MobileBERT needs PyTorch and transformers", "torch", "transformers", extra="mobilebert")
    from transformers import MobileBertForQuestionAnswering

    if folder is not None and not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: not a folder with a checkpoint: it holds no config.json")
    where = CHECKPOINT if folder is None else str(folder)
    try:
        with _quiet():
            loaded: Any = MobileBertForQuestionAnswering.from_pretrained(
                where,
                revision=REVISION if folder is None else "main",
                local_files_only=folder is not None,
                attn_implementation="eager",
                output_loading_info=True,
            )
    except Exception as error:  # transformers and what it loads with have no common base of errors
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(
            f"{where}: the checkpoint cannot be loaded: {reason}; give a folder that holds one with --weights"
        ) from error
    report: Mapping[str, Iterable[object]] = loaded[1]
    missing = sorted([*report["missing_keys"], *report["mismatched_keys"]], key=str)
    if missing:
        raise ModelError(
            f"{where}: not a MobileBERT with a span head: {len(missing)} weights are missing, e.g. {missing[0]}"
        )
    network: MobileBertForQuestionAnswering = loaded[0].eval()
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no reports from transformers: what matters of them becomes an error."""
    from transformers.utils import logging as reports

    before = reports.get_verbosity(), reports.is_progress_bar_enabled()
    reports.set_verbosity(logging.CRITICAL)
    reports.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with quiet_logger("huggingface_hub", logging.CRITICAL):
            yield
    finally:
        reports.set_verbosity(before[0])
        if before[1]:
            reports.enable_progress_bar()  # type: ignore[no-untyped-call]


def with_spans(network: "MobileBertForQuestionAnswering") -> "torch.nn.Module":
    """A network whose output is the logits of start and end, ``(batch, 2, sequence)``, in one tensor."""
    from torch import Tensor, nn

    from lhc.models.bert import masked_spans

    class Spans(nn.Module):
        """The parts of the network under their own names."""

        def __init__(self) -> None:
            super().__init__()
            self.mobilebert = network.mobilebert
            self.qa_outputs = network.qa_outputs

        def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
            states = self.mobilebert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)[0]
            return masked_spans(self.qa_outputs(states).transpose(1, 2), attention_mask)

    return Spans().eval()
