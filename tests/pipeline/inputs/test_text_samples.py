"""A text given as data: by which tokenizer it is cut, and what is said of its windows."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from lhc.errors import DataError, UsageError
from lhc.models.decoder import write_decoder
from lhc.models.gguf_file import gguf_decoder, gguf_tokenizer
from lhc.options.by_command import RunOptions
from lhc.options.shared import SampleSource
from lhc.pipeline.inputs.model_source import open_model
from lhc.pipeline.inputs.text_samples import text_samples
from lhc.samples.metrics import IGNORED
from tests.conftest import Cli

pytest.importorskip("tokenizers", reason="text is cut by tokenizers")

TEXT = "In the thin tin, the hen hid 12 hats.\n\nthe end\n\nx\n"


@pytest.fixture(scope="module")
def decoder(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("decoder") / "tiny.onnx"
    write_decoder(*gguf_decoder(tiny_gguf), path)
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_windows_and_what_is_left_out_are_told(
    decoder: Path, tiny_gguf: Path, text: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = open_model(decoder).task(text, None, None, SampleSource(tokenizer=tiny_gguf, window=8))

    codes = [gguf_tokenizer(tiny_gguf).encode(one).ids for one in TEXT.strip().split("\n\n")]
    assert task.metric.name == "nll"
    assert int((np.asarray(task.targets) != IGNORED).sum()) == sum(len(one) - 1 for one in codes)
    assert np.asarray(task.inputs["input_ids"])[0].tolist() == codes[0][:8]
    assert "1 document of" in caplog.text
    assert task.document_count == 2
    assert np.asarray(task.documents).tolist() == [
        *[0] * -(-(len(codes[0]) - 1) // 8),
        *[1] * -(-(len(codes[1]) - 1) // 8),
    ]


def test_a_text_is_judged_from_the_command_line(cli: Cli, decoder: Path, tiny_gguf: Path, text: Path) -> None:
    pytest.importorskip("aihwkit", reason="layers are analog")
    common = ("run", decoder, "--all-analog", "--data", text, "--tokenizer", tiny_gguf, "--draws", 2, "--json")

    nll, agreement, perplexity = (
        json.loads(cli(*common, "--metric", metric).stdout) for metric in ("nll", "agreement", "perplexity")
    )

    assert nll["times"][0]["mean"] > 0
    assert (nll["samples"], nll["documents"]) == (1, 1)
    assert 0 < agreement["times"][0]["drop"] < 1
    # One document judges, the other calibrates.
    assert np.log(perplexity["digital"]["value"]) == pytest.approx(nll["digital"]["value"], rel=1e-6)


def test_other_inputs_of_a_language_model_are_filled(tiny_gguf: Path, text: Path) -> None:
    names = ("input_ids", "attention_mask", "position_ids", "token_type_ids")

    made = text_samples(text, SampleSource(tokenizer=tiny_gguf), dict.fromkeys(names), None, None)

    arrays = {name: np.asarray(made.task.inputs[name]) for name in names}
    lengths = arrays["attention_mask"].sum(axis=1)
    counted = np.asarray(made.task.targets) != IGNORED
    assert lengths.tolist() == counted.sum(axis=1).tolist()
    assert arrays["position_ids"].tolist() == [list(range(lengths.max()))] * 2
    assert not arrays["token_type_ids"].any()


def test_a_text_needs_a_tokenizer(decoder: Path, text: Path) -> None:
    with pytest.raises(UsageError, match=r"text\.txt: a text is cut by a tokenizer; .*--tokenizer"):
        open_model(decoder).task(text, None, None)
    with pytest.raises(UsageError, match="digits takes no text"):
        open_model(decoder).task(text, None, None, SampleSource(tokenizer="digits"))
    with pytest.raises(DataError, match=r"nothing/here: not a tokenizer\.json"):
        open_model(decoder).task(text, None, None, SampleSource(tokenizer="nothing/here"))


@pytest.mark.parametrize(
    ("options", "named"),
    [({"tokenizer": "smollm2"}, "--tokenizer: is"), ({"window": 4, "stride": 2}, "--window, --stride: are")],
)
def test_options_of_a_text_without_one_are_refused(decoder: Path, options: dict[str, Any], named: str) -> None:
    """Unless they are for another of the samples: here those that calibrate."""
    arrays = {"input_ids": np.zeros((4, 8), np.int64)}
    with pytest.raises(UsageError, match=rf"{named} for samples from a text; name one \(--data FILE\.txt\)"):
        open_model(decoder).task(arrays, None, None, SampleSource(**options))
    calibrating = RunOptions(model=decoder, calibrate=Path("text.txt"), **options)
    assert len(open_model(decoder).task(arrays, None, None, calibrating)) == 4


def test_tokenizers_come_as_json_and_in_folders(decoder: Path, tiny_gguf: Path, text: Path, tmp_path: Path) -> None:
    gguf_tokenizer(tiny_gguf).save(str(tmp_path / "tokenizer.json"))
    opened = open_model(decoder)

    tasks = [
        opened.task(text, None, None, SampleSource(tokenizer=source))
        for source in (tiny_gguf, tmp_path, tmp_path / "tokenizer.json")
    ]

    assert len({task.digest for task in tasks}) == 1


def test_windows_fit_a_network_of_a_fixed_length(tiny_gguf: Path, text: Path) -> None:
    inputs = {"input_ids": (None, 8), "attention_mask": (None, 8)}
    with pytest.raises(UsageError, match=r"windows of 9 tokens \(--window\), and .* always reads 8: give --window 8"):
        text_samples(text, SampleSource(tokenizer=tiny_gguf, window=9), inputs, None, None)

    short = text_samples(text, SampleSource(tokenizer=tiny_gguf, window=4), inputs, None, None).task
    assert {array.shape[1] for array in short.inputs.values()} == {8}
    mask = np.asarray(short.inputs["attention_mask"])
    assert mask.sum(axis=1).max() == 4
    assert (np.asarray(short.targets)[mask == 0] == IGNORED).all()


def test_a_network_that_reads_no_tokens_refuses_them(tiny_gguf: Path, text: Path) -> None:
    with pytest.raises(DataError, match="no array for input 'x'"):
        open_model("digits-narrow").task(text, None, None, SampleSource(tokenizer=tiny_gguf))


def _exported(path: Path, words: int, dynamo: bool) -> None:
    """A decoder of one layer, as torch exports it with a cache: it reads past keys and values, and gives all."""
    import torch

    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(words, 8)
            self.q, self.k, self.v, self.head = (torch.nn.Linear(8, width) for width in (8, 8, 8, words))

        def forward(
            self, ids: torch.Tensor, mask: torch.Tensor, past_key: torch.Tensor, past_value: torch.Tensor
        ) -> tuple[torch.Tensor, ...]:
            x = self.embedding(ids)
            q, k, v = (one(x).unflatten(-1, (2, 4)).transpose(1, 2) for one in (self.q, self.k, self.v))
            key, value = torch.cat([past_key, k], dim=2), torch.cat([past_value, v], dim=2)
            places = torch.arange(ids.shape[1]) + past_key.shape[2]
            seen = (torch.arange(mask.shape[1])[None] <= places[:, None]) & (mask[:, None, None] > 0)
            scores = (q @ key.transpose(2, 3) / 2).masked_fill(~seen, -1e9)
            return self.head(x + (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)), key, value

    torch.manual_seed(0)
    cache = torch.zeros(2, 2, 2, 4)
    arguments = (torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 5, dtype=torch.long), cache, cache)
    names, outputs = ["input_ids", "attention_mask", "past_key", "past_value"], ["logits", "key", "value"]
    lengths = ((1, "tokens"), (1, "all"), (2, "past"), (2, "past"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            dim = torch.export.Dim.DYNAMIC
            torch.onnx.export(
                Decoder().eval(), arguments, path, dynamo=True, input_names=names, output_names=outputs,
                dynamic_shapes=tuple({0: dim, axis: dim} for axis, _ in lengths), external_data=False, verbose=False,
            )  # fmt: skip
        else:
            axes = {name: {0: "batch", axis: length} for name, (axis, length) in zip(names, lengths, strict=True)}
            torch.onnx.export(
                Decoder().eval(), arguments, path, dynamo=False, input_names=names, output_names=outputs,
                dynamic_axes=axes, opset_version=17,
            )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
def test_caches_are_empty(cli: Cli, tiny_gguf: Path, text: Path, tmp_path: Path, dynamo: bool) -> None:
    pytest.importorskip("aihwkit", reason="layers are analog")
    path = tmp_path / "cached.onnx"
    _exported(path, gguf_tokenizer(tiny_gguf).get_vocab_size(), dynamo)
    how = SampleSource(tokenizer=tiny_gguf, window=4)

    task = open_model(path).task(text, None, None, how)
    assert {name: task.inputs[name].shape for name in ("past_key", "past_value")} == {
        name: (len(task), 2, 0, 4) for name in ("past_key", "past_value")
    }
    found = json.loads(
        cli(
            "run", path, "--all-analog", "--data", text, "--tokenizer", tiny_gguf, "--window", 4, "--draws", 2, "--json"
        ).stdout
    )

    session = ort.InferenceSession(str(path))
    logits = session.run(["logits"], {name: np.asarray(array) for name, array in task.inputs.items()})[0]
    targets = np.asarray(task.targets)
    losses = np.log(np.exp(logits).sum(axis=-1)) - np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    means = np.array([row[wanted != IGNORED].mean() for row, wanted in zip(losses, targets, strict=True)])
    # One document judges, the other calibrates.
    expected = [means[np.asarray(task.documents) == one].mean() for one in (0, 1)]
    assert min(abs(found["digital"]["value"] - one) for one in expected) < 1e-5
    assert found["documents"] == 1
    assert found["times"][0]["mean"] > 0
