"""What is mutated: models with samples that fit them, YAML of hardware and of a plan, a report, a decoder as GGUF."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from tests.fuzz.every_command import Subject
from tests.fuzz.mutants import BASES, base, data_of
from tests.fuzz.tiny_gguf import write_tiny_gguf

__all__ = ["Files", "Seed", "files", "seeds", "small_seeds"]

LARGEST = 2_500_000
GIVEN = {"silero_vad": {"input": (2, 576), "state": (2, 2, 128)}}
"""Shapes of samples whose sizes depend on each other."""
NESTED = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
nested (float[N, 4] x, bool[1] flag) => (float[N, 3] y) {
  [call] a = own.dense (x, w)
  one = Squeeze (flag)
  [branch] b = If (one) <
    then_branch = yes () => (float[N, 4] p) { [inner] p = MatMul (a, w) },
    else_branch = no () => (float[N, 4] q) { q = Relu (a) }
  >
  [last] y = MatMul (b, v)
}
<domain: "own", opset_import: ["" : 17]>
dense (x, w) => (z) { t = MatMul (x, w) z = Relu (t) }"""
TEXT = "the thing in the thin hat\nhas 12 things\n\nin the tent the hen is in 1212 inns\n"


@dataclass(frozen=True)
class Seed:
    """A model, and samples that fit it as it is.

    Attributes:
        name: of it.
        model: its bytes.
        data: its samples.
        other: a model with a plan.
        metric: the option that judges it.
        shape: options that tell sizes which it leaves open.
        annotated: whether it carries a plan.
    """

    name: str
    model: bytes
    data: Path
    other: Path
    metric: tuple[str, ...] = ("--metric", "nmse")
    shape: tuple[str, ...] = ()
    annotated: bool = False

    def subject(self, model: Path, out: Path) -> Subject:
        """What commands are run on, where the model lies in a file."""
        return Subject(model, self.data, out, self.other, self.annotated, self.metric, self.shape)


@dataclass(frozen=True)
class Files:
    """Files that are no models: hardware as YAML, a plan as YAML, a report as JSON, a decoder as GGUF and as
    ONNX, and a text for it."""

    hardware: tuple[str, ...]
    plan: str
    report: str
    gguf: bytes
    decoder: Path
    text: Path


def _samples(name: str, model: onnx.ModelProto, path: Path) -> tuple[str, ...]:
    """Two samples of noise for every input; returns the options that tell sizes which the model leaves open."""
    from lhc.support.files import write_npz

    rng = np.random.default_rng(0)
    known = {tensor.name for tensor in model.graph.initializer}
    arrays, options = {}, []
    for value in model.graph.input:
        kind = value.type.tensor_type
        sizes = [max(d.dim_value, 0) or 16 for d in kind.shape.dim]
        if value.name not in known:
            shape = GIVEN.get(name, {}).get(value.name, (2, *sizes[1:]) if sizes else ())
            values = rng.normal(size=shape) if shape else np.array(16000)  # the only scalar is a sampling rate
            arrays[value.name] = values.astype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
            if name not in GIVEN and any(d.dim_value <= 0 for d in kind.shape.dim[1:]):
                options += ["--shape", f"{value.name}={','.join(map(str, [1, *sizes[1:]]))}"]
    write_npz(path, arrays)
    return tuple(options)


def _nested() -> onnx.ModelProto:
    model = onnx.parser.parse_model(NESTED)
    for name, shape in {"w": (4, 4), "v": (4, 3)}.items():
        values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    return model


def small_seeds(folder: Path) -> list[Seed]:
    """The networks of `tests.fuzz.mutants`, plain and with their plans."""
    import lhc

    found = []
    for name in BASES:
        model, data, placed = base(name), folder / f"{name}.npz", folder / f"{name}.lhc.onnx"
        np.savez(data, allow_pickle=False, **data_of(name))
        metric = ("--metric", "nmse") if name == "tokens" else ()
        judged = metric[1] if metric else None
        lhc.partition(model, data, samples=24, draws=2, max_drop=0.5, objective="macs", metric=judged).save(placed)
        plain = Seed(name, model.SerializeToString(), data, placed, metric)
        found += [plain, replace(plain, name=f"{name}.lhc", model=placed.read_bytes(), annotated=True)]
    return found


def seeds(folder: Path) -> list[Seed]:
    """The models of ``LHC_DATA/onnx``, one with a branch and a function, and as often the digits network."""
    import lhc
    from lhc.models import zoo_entry
    from lhc.support.files import write_npz

    entry = zoo_entry("digits-narrow")
    data, placed = folder / "digits.npz", folder / "digits.lhc.onnx"
    task = entry.task().head(8)
    assert task.targets is not None
    write_npz(data, {name: np.asarray(array) for name, array in task.inputs.items()} | {"labels": task.targets})
    lhc.partition("digits-narrow", samples=60, draws=2, max_drop=0.5).save(placed)
    digits = [Seed("digits", entry.model().SerializeToString(), data, placed, ())]
    digits += [Seed("digits.lhc", placed.read_bytes(), data, placed, (), annotated=True)]
    found = []
    paths = sorted(Path(os.environ["LHC_DATA"], "onnx").glob("*.onnx")) if "LHC_DATA" in os.environ else []
    models = {path.stem: onnx.load(path) for path in paths if path.stat().st_size <= LARGEST}
    for name, model in [*models.items(), ("nested", _nested())]:
        samples = folder / f"{name}.npz"
        shape = _samples(name, model, samples)
        found.append(Seed(name, model.SerializeToString(), samples, placed, shape=shape))
    # As many of digits, which is small and can be run, as of all others.
    return digits * len(found) + found


def files(folder: Path) -> Files:
    """What is mutated besides models; ``folder`` has the digits network with its plan."""
    from lhc.commands.report import report_of
    from lhc.hardware import preset_names, preset_text
    from lhc.models.decoder import write_decoder
    from lhc.models.gguf_file import gguf_decoder
    from lhc.onnx_io import load_model, read_plan

    placed = folder / "digits.lhc.onnx"
    plan = read_plan(load_model(placed))
    assert plan is not None
    write_tiny_gguf(folder / "tiny.gguf")
    (folder / "text.txt").write_text(TEXT)
    decoder = folder / "decoder.onnx"
    write_decoder(*gguf_decoder(folder / "tiny.gguf"), decoder)
    return Files(
        tuple(preset_text(name) for name in preset_names()),
        plan.to_yaml(),
        report_of(placed).to_json(),
        (folder / "tiny.gguf").read_bytes(),
        decoder,
        folder / "text.txt",
    )
