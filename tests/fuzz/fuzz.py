"""Feed lhc mutated files and see that none of them gets more than an error message out of it.

Every mutation goes through ``analyze``, ``inspect`` and ``run`` (a YAML file as hardware, or as a plan through
``partition``) in a forked child with 4 GiB of address space and 10 s of processor time, in a folder of its own. A
mutation *breaks* something if a command ends with an exception that is no exit, with a status that is none of lhc's or
without a message, or if anything is written outside that folder or executed (by Python's audit events). Models are
opened without the probing process, which would cost half a second each time; a mutation that kills the child, or uses
up its limits, is therefore tried again through the real command before it counts as broken.

Time is processor time, so that a busy machine does not matter; a child that waits for ever is stopped after 120 s.

Run from a checkout::

    python -m tests.fuzz.fuzz --count 10000 --seed 0 [--first 5000] [--keep FOLDER]

Models are those of ``LHC_DATA/onnx`` up to 2.5 MB, the digits network, plain and annotated, and one with a branch and a
local function. Mutations share a child by tens, while it lives. Each depends on its number and the seed alone:
``--first N --count 1`` repeats it.
"""

import argparse
import gc
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from tests.fuzz.children import Command, Outcome, forked, invoke, really
from tests.fuzz.mutations import KINDS, mutate_bytes, mutate_metadata, mutate_model, mutate_npz, mutate_text

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
BATCH = 10
"""Mutations that share a child; a fork costs as much as `inspect`."""
MUTATED = ("model", "bytes", "metadata")


@dataclass(frozen=True)
class Seed:
    """A model, and samples that fit it as it is."""

    name: str
    model: bytes
    data: Path
    shape: tuple[str, ...] = ()
    annotated: bool = False


def _samples(name: str, model: onnx.ModelProto, path: Path) -> tuple[str, ...]:
    """Two samples of noise for every input; returns the options that tell sizes which the model leaves open."""
    from lhc.cli.output import write_npz

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


def seeds(folder: Path) -> tuple[list[Seed], list[bytes]]:
    """The models, and the YAML files: hardware first, a plan last."""
    import lhc
    from lhc.cli.output import write_npz
    from lhc.hardware import preset_names, preset_text
    from lhc.models import zoo_entry

    entry = zoo_entry("digits-narrow")
    found = []
    files = sorted(Path(os.environ["LHC_DATA"], "onnx").glob("*.onnx")) if "LHC_DATA" in os.environ else []
    for file in [path for path in files if path.stat().st_size <= LARGEST]:
        data = folder / f"{file.stem}.npz"
        shape = _samples(file.stem, onnx.load(file), data)
        found.append(Seed(file.stem, file.read_bytes(), data, shape))
    data, nested = folder / "nested.npz", _nested()
    found.append(Seed("nested", nested.SerializeToString(), data, _samples("nested", nested, data)))
    data, out = folder / "digits.npz", folder / "digits.lhc.onnx"
    task = entry.task().head(8)
    write_npz(data, {name: np.asarray(array) for name, array in task.inputs.items()})
    result = lhc.partition("digits-narrow", samples=60, draws=2, max_drop=0.5)
    result.save(out)
    digits = [Seed("digits", entry.model().SerializeToString(), data)]
    digits += [Seed("digits.lhc", out.read_bytes(), data, annotated=True)]
    # As many of digits, which is small and can be run, as of all others.
    found = digits * max(1, len(found)) + found
    return found, [*(preset_text(name).encode() for name in preset_names()), result.plan.to_yaml().encode()]


def _commands(kind: str, seed: Seed, mutated: bytes, text: bytes, plan: bool, folder: Path) -> list[Command]:
    """Write the files of a mutation; what is run on them."""
    model, data = folder / "model.onnx", seed.data
    model.write_bytes(mutated if kind in MUTATED else seed.model)
    if kind == "npz":
        data = folder / "data.npz"
        data.write_bytes(mutated)
    few = ["--data", str(data), "--draws", "2", "--samples", "2", "--quiet"]
    if kind == "yaml":
        path = folder / "file.yaml"
        path.write_bytes(text)
        if plan:
            return [["partition", str(model), *few, "--plan", str(path), "-o", str(folder / "out.onnx")]]
        return [["analyze", str(model), "--hardware", str(path)], ["run", str(model), *few, "--hardware", str(path)]]
    # The placement of an annotated file is read only where it is not overruled.
    placement = [] if kind == "metadata" else ["--all-analog"]
    metric = [] if seed.name.startswith("digits") else ["--metric", "nmse"]
    return [
        ["analyze", str(model), *seed.shape],
        ["inspect", str(model)],
        ["run", str(model), *few, *metric, *placement],
    ]


def _draw(number: int, seed: int, models: list[Seed], texts: list[bytes]) -> tuple[str, Seed, bytes, bytes, bool]:
    """A mutation: kind, what it is of, mutated model or samples, mutated text, and whether that is a plan."""
    rng = Random(f"{seed} {number}")
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    of = rng.choice([s for s in models if s.annotated] if kind == "metadata" else models)
    which = rng.randrange(len(texts)) if rng.random() < 0.5 else len(texts) - 1
    mutated, text = b"", b""
    if kind == "model":
        mutated = mutate_model(of.model, rng)
    elif kind == "bytes":
        mutated = mutate_bytes(of.model, rng)
    elif kind == "metadata":
        mutated = mutate_metadata(of.model, rng)
    elif kind == "npz":
        of = next(s for s in models if s.annotated)
        mutated = mutate_npz(of.data.read_bytes(), rng)
    else:
        of = next(s for s in models if s.name == "digits")
        text = mutate_text(texts[which].decode(), rng).encode("utf-8", "surrogatepass")
    return kind, of, mutated, text, which == len(texts) - 1


@dataclass(frozen=True)
class Mutation:
    """A mutation on disk, and what is run on it.

    Attributes:
        parses: whether it is a protobuf; None where no model was mutated.
        files: what may be in the folder afterwards.
    """

    name: str
    kind: str
    parses: bool | None
    folder: Path
    commands: list[Command]
    files: frozenset[str]


def _mutation(number: int, seed: int, models: list[Seed], texts: list[bytes], base: Path) -> Mutation:
    kind, of, mutated, text, plan = _draw(number, seed, models, texts)
    folder = base / str(number)
    folder.mkdir()
    commands = _commands(kind, of, mutated, text, plan, folder)
    files = frozenset(path.name for path in folder.iterdir()) | {"out.onnx", "cache"}
    parses = _parses(mutated) if kind in MUTATED else None
    return Mutation(f"{number} {kind} {of.name}", kind, parses, folder, commands, files)


def _parses(mutated: bytes) -> bool:
    try:
        onnx.ModelProto.FromString(mutated)
    except DecodeError:
        return False
    return True


def _judged(mutation: Mutation, outcome: Outcome, counts: Counter[str]) -> str:
    """What broke, if anything did."""
    problem = outcome.problem
    if outcome.died:
        counts[f"died: {outcome.died}"] += 1
        problem = problem or really(mutation.commands, mutation.folder)
        print(f"{mutation.name}: died of {outcome.died}, really {problem or 'refused'}", flush=True)
    left = {path.name for path in mutation.folder.iterdir()} - mutation.files
    counts[mutation.kind] += 1
    counts["parses"] += mutation.parses is True
    counts.update(f"exit {code}" for code in outcome.codes)
    return problem or (f"left behind {left}" if left else "")


def _warm_up(models: list[Seed], folder: Path) -> None:
    """Load and compile once, before forking, what commands need; models as they are must be accepted."""
    import torch

    import lhc.study.source

    torch.set_num_threads(1)
    setattr(lhc.study.source, "probe", lambda path: None)  # noqa: B010 - not its own name
    for seed in {seed.name: seed for seed in models}.values():
        for command in _commands("metadata" if seed.annotated else "model", seed, seed.model, b"", False, folder):
            code, printed, error = invoke(command)
            if code and seed.name != "qonnx_TFC_1W1A":  # invalid as it is
                raise AssertionError(f"{seed.name}, not mutated: {command} {code} {printed[-500:]} {error!r}")
    gc.collect()
    gc.freeze()  # children then copy fewer pages


def main() -> int:
    """Mutate, run, count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-broken"))
    options = parser.parse_args()
    keep = options.keep.absolute()
    base = Path(tempfile.mkdtemp(prefix="lhc-fuzz-"))
    os.environ["LHC_CACHE"] = str(base / "cache")
    models, texts = seeds(base)
    _warm_up(models, base)
    counts: Counter[str] = Counter()
    started, broken, peak, last = time.process_time(), 0, 0, options.first + options.count
    for first in range(options.first, last, BATCH):
        mutations = [
            _mutation(number, options.seed, models, texts, base) for number in range(first, min(first + BATCH, last))
        ]
        for mutation, outcome in zip(mutations, forked([(m.commands, m.folder) for m in mutations]), strict=True):
            problem = _judged(mutation, outcome, counts)
            peak = max(peak, outcome.peak)
            if problem:
                broken += 1
                print(f"{mutation.name}: {problem}", flush=True)
                shutil.copytree(mutation.folder, keep / mutation.folder.name, dirs_exist_ok=True)
            shutil.rmtree(mutation.folder)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = time.process_time() - started + children.ru_utime + children.ru_stime
    print(
        f"{options.count} mutations, {broken} broken, {seconds:.0f} s of processor time, at most {peak // 1024} MiB,"
        f" {dict(sorted(counts.items()))}"
    )
    shutil.rmtree(base)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
