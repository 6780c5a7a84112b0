"""Fixtures and reporting that all tests share."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from typer.testing import CliRunner, Result

from lhc.cli.app import app
from lhc.models import zoo_entry
from lhc.samples.task import Task

Cli = Callable[..., Result]

# How long an example takes says more about the machine than about lhc; CI must not fail on an unlucky draw.
settings.register_profile("lhc", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("lhc")


@pytest.fixture(scope="session")
def lhc_data() -> Path:
    """The folder with weights and images that lhc does not ship; tests are skipped where there is none."""
    value = os.environ.get("LHC_DATA")
    if not value:
        pytest.skip("LHC_DATA is not set: see 'Data from outside' in CONTRIBUTING.md")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"LHC_DATA={value} is not a folder", pytrace=False)
    return folder


@pytest.fixture(scope="session")
def cli() -> Cli:
    """`lhc` in this process: arguments of any type in; exit code, stdout and stderr out."""
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="session")
def digits() -> Task:
    """The samples that the digits networks of the package are judged on."""
    return zoo_entry("digits-narrow").task()


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 2 layers and random weights as a GGUF file, its vocabulary of bytes and a few pairs of them."""
    gguf = pytest.importorskip("gguf", reason="the file is written by gguf")
    width, inner, layers, heads, key_heads = 32, 64, 2, 4, 2
    marks = ["<|endoftext|>", "<|im_start|>"]
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]  # GPT-2's byte-level alphabet
    hidden = [byte for byte in range(256) if byte not in shown]
    letters = [chr(byte) for byte in shown] + [chr(256 + number) for number in range(len(hidden))]
    merges = ["Ġ t", "h e", "Ġt he", "i n", "1 2"]
    pieces = [*marks, *letters, *(merge.replace(" ", "") for merge in merges)]
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_rope_freq_base(100_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(pieces)
    writer.add_token_types([3] * len(marks) + [1] * (len(pieces) - len(marks)))
    writer.add_token_merges(merges)
    rng = np.random.default_rng(7)
    keys = width // heads * key_heads
    shapes = {
        "attn_q": (width, width),
        "attn_k": (keys, width),
        "attn_v": (keys, width),
        "attn_output": (width, width),
        "ffn_gate": (inner, width),
        "ffn_up": (inner, width),
        "ffn_down": (width, inner),
    }
    kind = gguf.GGMLQuantizationType.Q4_1
    for layer in range(layers):
        for name, shape in shapes.items():
            stored = gguf.quantize(rng.normal(0, 0.3, shape).astype(np.float32), kind)
            writer.add_tensor(f"blk.{layer}.{name}.weight", stored, raw_dtype=kind)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", rng.uniform(0.5, 2, width).astype(np.float32))
    writer.add_tensor("output_norm.weight", rng.uniform(0.5, 2, width).astype(np.float32))
    writer.add_tensor("token_embd.weight", rng.normal(0, 0.5, (len(pieces), width)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if find_spec("aihwkit") is not None:
        return
    skip = pytest.mark.skip(reason="aihwkit is not installed: it has wheels for Linux x86-64 only")
    for item in items:
        if item.get_closest_marker("analog") is not None:
            item.add_marker(skip)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [r for r in terminalreporter.getreports("skipped") if "LHC_DATA" in str(r.longrepr)]
    if skipped:
        tests = "test" if len(skipped) == 1 else "tests"
        terminalreporter.write_line(f"{len(skipped)} {tests} skipped for lack of data: see LHC_DATA in CONTRIBUTING.md")
