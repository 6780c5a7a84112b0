"""g2pM: how a Chinese character is read that has several readings (K. Park, S. Lee, Interspeech 2020; Apache-2.0).

An LSTM of 32 units in each direction reads the characters; two dense layers tell the reading of one of them. 401,548
weights in the Python package ``g2pM``, most of them embeddings, which its code computes in numpy, a sentence at a time.

Samples are phrases of 4 to 12 characters of the dictionary in the package ``pypinyin`` (MIT). Of each, one character
that has several readings is asked for. **Their labels are the dictionary's readings**, syllables with their tones. 84 %
are told right. The authors trained on sentences of Wikipedia and state 97.31 % on others of these. Phrases of a
dictionary are shorter, and many are idioms.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from lhc.models.installed_files import InstalledFile, PackageEntry
from lhc.models.pickled_arrays import unpickled
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

if TYPE_CHECKING:
    import onnx

PACKAGE, MODULE = "g2pM==0.1.2.5", "g2pM"
CHARACTERS = InstalledFile(
    PACKAGE, MODULE, "char2idx.pkl", "e41861f3af2debb342d3555d970db47b22e5d35c8e0190722dfb9b39c941988c"
)
SYLLABLES = InstalledFile(
    PACKAGE, MODULE, "class2idx.pkl", "b17a497ee9618e6d5c2f7814ab7f847d80a3cb757e92423774781e4d3dc56c49"
)
READINGS = InstalledFile(
    PACKAGE, MODULE, "digest_cedict.pkl", "71e727a041a1d7023a1fbe32bbc23d5f4aa85a9d67fe4d6502fc398ef30b875c"
)
PHRASES = InstalledFile(
    "pypinyin==0.55.0",
    "pypinyin",
    "phrases_dict.json",
    "a45ff140a6b631ca9c82127b280a2f414e0aba6bb2824a0e9d1e77fff359c665",
)
UNKNOWN, BEGIN, END = 1, 2, 3
"""Numbers of the network beside those of characters; 0 is padding."""
SHORTEST, LONGEST, SAMPLES = 4, 12, 2000
_TONES = {"\N{COMBINING MACRON}": "1", "\N{COMBINING ACUTE ACCENT}": "2", "\N{COMBINING CARON}": "3",
          "\N{COMBINING GRAVE ACCENT}": "4"}  # fmt: skip
_GATES = (0, 3, 1, 2)
"""ONNX has the gates of an LSTM as input, output, forget, cell; PyTorch as input, forget, cell, output."""


class G2pM(PackageEntry):
    """Readings of Chinese characters: an LSTM in both directions and two dense layers."""

    name: ClassVar[str] = "g2pm"
    description: ClassVar[str] = "g2pM, readings of Chinese characters in phrases of a dictionary; needs lhc[zoo]"
    max_drop: ClassVar[float] = 0.01
    weights: ClassVar[InstalledFile] = InstalledFile(
        PACKAGE, MODULE, "np_ckpt.pkl", "5b38c21cbaeb5f9b2f5d0bf872487de0fc22f91a3b26189b7d998136d2c8d3ae"
    )

    def built(self, path: Path) -> "onnx.ModelProto":
        """The network from ``characters``, ``(batch, 14)``, and ``place``, ``(batch,)``, to scores of 876 readings."""
        return _network(unpickled(path.read_bytes()))

    def task(self) -> Task:
        """2,000 phrases, evenly over the dictionary, judged by accuracy."""
        numbers, syllables, readings = (
            unpickled(file.find(self.name).read_bytes()) for file in (CHARACTERS, SYLLABLES, READINGS)
        )
        phrases = json.loads(PHRASES.find(self.name).read_text(encoding="utf-8"))
        questions = list(_questions(phrases, readings, syllables))
        chosen = [questions[index * len(questions) // SAMPLES] for index in range(SAMPLES)]
        order = np.random.default_rng(0).permutation(SAMPLES)
        characters = np.zeros((SAMPLES, LONGEST + 2), np.int64)
        for row, index in enumerate(order):
            phrase = [numbers.get(character, UNKNOWN) for character in chosen[index][0]]
            characters[row, : len(phrase) + 2] = [BEGIN, *phrase, END]
        place, labels = (np.array([chosen[index][part] for index in order]) for part in (1, 2))
        return Task({"characters": characters, "place": place + 1}, labels, get_metric("accuracy"))


def _questions(
    phrases: Mapping[str, Sequence[Sequence[str]]],
    readings: Mapping[str, Sequence[str]],
    syllables: Mapping[str, int],
) -> Iterator[tuple[str, int, int]]:
    """Phrases, places of characters in them that have several readings, and the number of the right one."""
    for phrase, spoken in phrases.items():
        if not SHORTEST <= len(phrase) <= LONGEST or len(spoken) != len(phrase):
            continue
        for place, (character, said) in enumerate(zip(phrase, spoken, strict=True)):
            known, syllable = readings.get(character, ()), numbered_tone(said[0])
            if len(known) > 1 and len(said) == 1 and syllable in known and syllable in syllables:
                yield phrase, place, syllables[syllable]


def numbered_tone(syllable: str) -> str:
    """``lǜ`` as ``lu:4``, as the network writes it; 5 is the neutral tone."""
    parts = unicodedata.normalize("NFD", syllable)
    tones = [_TONES[part] for part in parts if part in _TONES]
    letters = "".join(part for part in parts if part not in _TONES).replace("\N{COMBINING DIAERESIS}", ":")
    return letters + (tones[0] if tones else "5")


def _network(stored: Mapping[str, npt.NDArray[np.float32]]) -> "onnx.ModelProto":
    """The package's weights as an ONNX graph.

    As in the package, one LSTM reads the phrase and one reads it from its end. Behind either is padding, which no state
    that is asked for has seen.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    def gates(name: str) -> npt.NDArray[np.float32]:
        return np.concatenate([np.split(stored[name], 4)[gate] for gate in _GATES])[None]

    def lstm(way: str, embedded: str, place: str, suffix: str) -> Sequence["onnx.NodeProto"]:
        """The state ``way.state`` after the step of ``place``."""
        biases = [gates(f"lstm.bias_{kind}_l0{suffix}") for kind in ("ih", "hh")]
        weights[f"{way}.input"] = gates(f"lstm.weight_ih_l0{suffix}")
        weights[f"{way}.recurrent"] = gates(f"lstm.weight_hh_l0{suffix}")
        weights[f"{way}.bias"] = np.concatenate(biases, axis=1)
        inputs = [f"{way}.steps", f"{way}.input", f"{way}.recurrent", f"{way}.bias"]
        return (
            helper.make_node("Transpose", [embedded], [f"{way}.steps"], f"{way}.by_step", perm=[1, 0, 2]),
            helper.make_node("LSTM", inputs, [f"{way}.all"], way, hidden_size=weights[inputs[2]].shape[2]),
            helper.make_node("Squeeze", [f"{way}.all", "one"], [f"{way}.states"], f"{way}.squeeze"),
            helper.make_node("Transpose", [f"{way}.states"], [f"{way}.samples"], f"{way}.by_sample", perm=[1, 0, 2]),
            helper.make_node("Unsqueeze", [place, "one"], [f"{way}.which"], f"{way}.which"),
            helper.make_node(
                "GatherND", [f"{way}.samples", f"{way}.which"], [f"{way}.state"], f"{way}.at", batch_dims=1
            ),
        )

    weights: dict[str, npt.NDArray[np.float32 | np.int64]] = {
        "embedding": stored["embedding.weight"],
        "hidden.weight": stored["logit_layer.0.weight"],
        "hidden.bias": stored["logit_layer.0.bias"],
        "output.weight": stored["logit_layer.2.weight"],
        "output.bias": stored["logit_layer.2.bias"],
        "one": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["embedding", "characters"], ["embedded"], "embed"),
        *lstm("forward", "embedded", "place", ""),
        helper.make_node("Sign", ["characters"], ["is_one"], "is_one"),
        helper.make_node("ReduceSum", ["is_one", "one"], ["length"], "length", keepdims=0),
        helper.make_node("ReverseSequence", ["embedded", "length"], ["turned"], "turn", batch_axis=0, time_axis=1),
        helper.make_node("Add", ["place", "one"], ["number"], "number"),
        helper.make_node("Sub", ["length", "number"], ["from_end"], "from_end"),
        *lstm("backward", "turned", "from_end", "_reverse"),
        helper.make_node("Concat", ["forward.state", "backward.state"], ["state"], "join", axis=1),
        helper.make_node("Gemm", ["state", "hidden.weight", "hidden.bias"], ["sums"], "hidden", transB=1),
        helper.make_node("Relu", ["sums"], ["features"], "relu"),
        helper.make_node("Gemm", ["features", "output.weight", "output.bias"], ["readings"], "output", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g2pm",
        [
            helper.make_tensor_value_info("characters", TensorProto.INT64, ["batch", LONGEST + 2]),
            helper.make_tensor_value_info("place", TensorProto.INT64, ["batch"]),
        ],
        [helper.make_tensor_value_info("readings", TensorProto.FLOAT, ["batch", len(weights["output.bias"])])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return model
