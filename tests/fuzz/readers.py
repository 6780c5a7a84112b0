"""What reads files from strangers, one function each, with an input that it takes."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

import lhc
from lhc.errors import LhcError, ModelError
from lhc.hardware import Hardware
from lhc.models import zoo_entry
from lhc.models.gguf_file import gguf_decoder, gguf_tokenizer
from lhc.onnx_io import load_model, read_plan
from lhc.plan import Plan
from lhc.samples.npy_files import open_npy, read_npz
from tests.fuzz.tiny_gguf import write_tiny_gguf

__all__ = ["READERS", "read", "seed"]


def _annotations(path: Path) -> None:
    """The metadata of a model, a value a line: plan, hardware, result."""
    model = load_model(zoo_entry("digits-narrow").network()).as_file()
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for key, value in zip(("lhc.schema", "lhc.source", "lhc.plan", "lhc.hardware", "lhc.result"), lines, strict=False):
        model.metadata_props.add(key=key, value=value)
    if read_plan(load_model(model)) is None:
        raise ModelError("no plan")


def _gguf(path: Path) -> None:
    gguf_decoder(path)
    gguf_tokenizer(path)


READERS: Mapping[str, Callable[[Path], object]] = {
    "plan": Plan.load,
    "hardware": Hardware.load,
    "annotations": _annotations,
    "npz": read_npz,
    "npy": lambda path: np.asarray(open_npy(path)[:1]),
    "gguf": _gguf,
}


def read(name: str, data: bytes, folder: Path) -> bool:
    """Whether a reader takes these bytes; False: it refuses them."""
    path = folder / {"plan": "f.yaml", "hardware": "f.yaml"}.get(name, f"f.{name}")
    path.write_bytes(data)
    try:
        READERS[name](path)
    except LhcError:
        return False
    return True


def seed(name: str, folder: Path) -> bytes:
    """What a reader takes."""
    path = folder / f"seed.{name}"
    if name in ("plan", "annotations"):
        plan = lhc.analyze("digits-narrow").plan
        if name == "plan":
            return plan.to_yaml().encode()
        layers = "[" + ",".join(layer.model_dump_json() for layer in plan.layers) + "]"
        return "\n".join(["1", plan.source, layers, plan.hardware.model_dump_json()]).encode()
    if name == "hardware":
        return Hardware.load("lionheart").to_yaml().encode()
    if name == "gguf":
        write_tiny_gguf(path)
    else:
        with path.open("wb") as file:
            arrays = {"x": np.zeros((3, 2), np.float32), "labels": np.arange(3)}
            np.save(file, arrays["x"]) if name == "npy" else np.savez(file, **arrays)  # type: ignore[arg-type]
    return path.read_bytes()
