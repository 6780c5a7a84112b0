"""SwiftF0: the pitch of a voice or an instrument, every 16 ms (L. Nieradzik, arXiv 2508.18440; MIT).

14,386 weights in the Python package ``swift-f0``: convolutions over three spectrograms of different windows. The zoo's
network begins behind the spectrograms, which onnxruntime computes from the same file, and ends at the scores of 95
pitches. The pitch is the likeliest, refined by its two neighbours as in the file; right is what lies within 50 cents
(raw pitch accuracy).

Samples are notes of the sound font ``TimGM6mb.sf2`` (T. Brechbill; GPL-2.0) in the Python package ``pretty_midi``
(MIT): recorded and synthetic instruments, each at three pitches, in white noise as loud as they are (0 dB). **Their
labels are the pitches that the sound font says**, of samples whose names say the same note. Of frames, 93 % are
right. The author states the best pitch F1 of 19 trackers on speech and music, which this does not measure.
"""

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError
from lhc.models.installed_files import InstalledFile, PackageEntry
from lhc.samples.metrics import Array, Metric, Scores
from lhc.samples.task import Task

if TYPE_CHECKING:
    import onnx

SOUND_FONT = InstalledFile(
    "pretty_midi==0.2.11.post0",
    "pretty_midi",
    "TimGM6mb.sf2",
    "82475b91a76de15cb28a104707d3247ba932e228bada3f47bba63c6b31aaf7a1",
)
RATE, FRAME, FRAMES = 16_000, 256, 48
"""Samples a second, samples a frame, and frames a note."""
LOWEST, HIGHEST, BINS = 46.875, 2093.75, 95
"""Hz of the first and last of the pitches, whose logarithms are equally far apart."""
NOISE = 1.0
"""Power of the noise over that of the note."""
SHIFTS = (-4, 0, 5)
"""Semitones that a note is played from its recording."""
TOLERANCE = 0.5
"""Semitones."""
_SPECTROGRAMS, _SCORES = "v352", "v429"
"""Values of the package's file: log spectrograms ``(1, 3, 220, frames)``, and scores ``(1, frames, 95)``."""


class SwiftF0(PackageEntry):
    """Pitch of notes: 15 convolutions of 12 channels, far too narrow for tiles to pay."""

    name: ClassVar[str] = "swift-f0"
    description: ClassVar[str] = "SwiftF0, pitch of noisy notes of a sound font; needs lhc[zoo]"
    max_drop: ClassVar[float] = 0.01
    weights: ClassVar[InstalledFile] = InstalledFile(
        "swift-f0==0.3.0",
        "swift_f0",
        "model.onnx",
        "6385e8c2ebc3872e82c9ff5946228de44cd3be77a750ea53698b7dbfe94b0a22",
    )

    def built(self, path: Path) -> "onnx.ModelProto":
        """The network from ``spectrograms`` to ``pitches``, scores ``(batch, frames, 95)``."""
        import onnx

        model = _between(path, _SPECTROGRAMS, _SCORES)
        names = {_SPECTROGRAMS: "spectrograms", _SCORES: "pitches"}
        for node in model.graph.node:
            for values in (node.input, node.output):
                values[:] = [names.get(value, value) for value in values]
        for value in (*model.graph.input, *model.graph.output):
            value.name = names[value.name]
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        del model.graph.value_info[:]  # they know one sample
        onnx.checker.check_model(model)
        return model

    def task(self) -> Task:
        """Notes of the sound font, judged by the share of frames whose pitch is right; a recording is one document."""
        notes = list(_notes(SOUND_FONT.find(self.name)))
        rng = np.random.default_rng(0)
        audio, pitches, documents = [], [], []
        for number, note in enumerate(notes):
            for shift in SHIFTS:
                pitch = note.pitch + shift
                if LOWEST < _hertz(pitch) < HIGHEST:
                    audio.append(_played(note, shift, rng))
                    pitches.append(pitch)
                    documents.append(number)
        order = rng.permutation(len(audio))
        spectrograms = _spectrograms(self.weights.find(self.name), [audio[index] for index in order])
        return Task(
            {"spectrograms": spectrograms},
            np.array(pitches)[order],
            PITCH_ACCURACY,
            documents=np.array(documents)[order],
        )


def pitch_accuracy(outputs: Array, targets: npt.NDArray[np.float64]) -> Scores:
    """Share of frames whose pitch is within half a semitone of the note's.

    Args:
        outputs: scores of pitches, ``(n, frames, 95)``.
        targets: semitones as MIDI counts them (69 is 440 Hz), ``(n,)``.
    """
    logs = np.linspace(np.log(LOWEST), np.log(HIGHEST), BINS)
    best = outputs.argmax(-1)[..., None]
    near = np.clip(best + np.arange(-1, 2), 0, BINS - 1)
    outside = (best + np.arange(-1, 2) < 0) | (best + np.arange(-1, 2) >= BINS)
    scores = np.where(outside, -np.inf, np.take_along_axis(outputs.astype(np.float64), near, -1))
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    log_hertz = (shares * logs[near]).sum(-1) / shares.sum(-1)
    semitones = 69 + 12 * (log_hertz - np.log(440)) / np.log(2)
    result: Scores = (np.abs(semitones - targets[:, None]) < TOLERANCE).mean(-1)
    return result


PITCH_ACCURACY = Metric("raw-pitch-accuracy", True, True, pitch_accuracy, percent=True, classes=False)


@dataclass(frozen=True, eq=False)
class _Note:
    """A recording, ``sound[start:end]`` of which repeats; its pitch in semitones as MIDI counts them."""

    sound: npt.NDArray[np.float64]
    start: int
    end: int
    rate: int
    pitch: float


def _hertz(semitones: float) -> float:
    return float(440 * 2 ** ((semitones - 69) / 12))


def _played(note: _Note, shift: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A note as long as `FRAMES`, higher by ``shift`` semitones, with noise; ``(samples,)`` at `RATE`."""
    from scipy.signal import resample

    length = FRAMES * FRAME
    needed = int(length / RATE * note.rate * 2 ** (shift / 12)) + 1
    places = np.arange(needed)
    looped = np.where(places < note.end, places, note.start + (places - note.start) % (note.end - note.start))
    sound = resample(note.sound[looped], length)
    sound = sound / np.sqrt((sound**2).mean())
    noise = rng.standard_normal(length) * np.sqrt(NOISE)
    return np.asarray(0.1 * (sound + noise), np.float32)


def _spectrograms(path: Path, audio: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Log spectrograms by the network's own file, ``(n, 3, bins, frames)``."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # the runtime, which does so too, is no part of the zoo
    import onnxruntime

    front = _between(path, "audio", _SPECTROGRAMS)
    session = onnxruntime.InferenceSession(front.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"audio": sound[None]})[0] for sound in audio])


def _between(path: Path, first: str, last: str) -> "onnx.ModelProto":
    """The part of a network from one value to another."""
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    return onnx.utils.Extractor(model).extract_model([first], [last])


def _notes(path: Path) -> Iterator[_Note]:
    """Samples of a sound font (SoundFont 2.01, RIFF) that instruments loop, and whose names say their note."""
    content = path.read_bytes()
    parts = dict(_lists(content))
    if not {b"smpl", b"inst", b"ibag", b"igen", b"shdr"} <= set(parts):
        raise DataError(f"{path}: not a sound font")
    wave = np.frombuffer(parts[b"smpl"], "<i2").astype(np.float64)
    bags = [bag for bag, _ in struct.iter_unpack("<HH", parts[b"ibag"])]
    generators = list(struct.iter_unpack("<Hh", parts[b"igen"]))
    headers = list(struct.iter_unpack("<20sIIIIIBbHH", parts[b"shdr"]))
    firsts = [first for _, first in struct.iter_unpack("<20sH", parts[b"inst"])]
    seen: set[int] = set()
    for begin, stop in pairwise(firsts):
        shared: dict[int, int] = {}
        for bag in range(begin, stop):
            zone = {**shared, **dict(generators[bags[bag] : bags[bag + 1]])}
            if _SAMPLE not in zone:
                shared = zone
                continue
            name, start, end, loop, loop_end, rate, root, cents, _, _ = headers[zone[_SAMPLE]]
            tuned = 100 * zone.get(_COARSE, 0) + zone.get(_FINE, 0) + cents
            pitch = zone.get(_ROOT, root) - tuned / 100
            said = re.search(r"([A-G])([#b]?)\s?\d?$", name.split(b"\0")[0].decode("latin1").strip())
            looped = zone.get(_MODE, 0) & 1 and loop_end - loop > 1
            if zone[_SAMPLE] in seen or said is None or not looped:
                continue
            seen.add(zone[_SAMPLE])
            note = _CLASSES[said[1]] + {"#": 1, "b": -1, "": 0}[said[2]]
            if abs((pitch - note + 6) % 12 - 6) < TOLERANCE:
                yield _Note(wave[start:end], loop - start, loop_end - start, rate, pitch)


_COARSE, _FINE, _SAMPLE, _MODE, _ROOT = 51, 52, 53, 54, 58
"""Generators of the format: tuning in semitones and cents, the sample, whether it repeats, its key."""
_CLASSES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def _lists(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of the chunks inside the lists of a RIFF file."""

    def chunks(start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        while start + 8 <= end:
            name, size = struct.unpack_from("<4sI", content, start)
            yield name, start + 8, min(end, start + 8 + size)
            start += 8 + size + size % 2

    for kind, start, end in chunks(12, len(content)):
        if kind == b"LIST":
            yield from ((name, content[first:last]) for name, first, last in chunks(start + 4, end))
