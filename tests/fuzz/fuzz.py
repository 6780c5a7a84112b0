"""Feed lhc mutated files and see that none of them gets more than an error message out of it.

Every mutation goes through ``analyze``, ``inspect`` and another command drawn of all (`every_command`) in a forked
child with 4 GiB of address space and 30 s of processor time, in a folder of its own. A mutation *breaks* something if a
command ends with an exception that is no exit, with a status that is none of lhc's or without a message, prints a
number that is none, or if anything is written outside that folder or executed (by Python's audit events). Models are
opened without the probing process, which would cost half a second each time; a mutation that kills the child, or uses
up its limits, is therefore tried again through the real commands before it counts as broken.

Time is processor time, so that a busy machine does not matter; a child that waits for ever is stopped after 120 s.

Run from a checkout; broken ones are kept in ``--keep``, counts are printed every thousand::

    python -m tests.fuzz.fuzz --count 20000 --seed 0 [--first 5000] [--keep FOLDER]

Mutations share a child by tens, while it lives. Each depends on its number and the seed alone: ``--first N --count 1``
repeats it.
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
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import onnx
from google.protobuf.message import DecodeError

from tests.fuzz import mutations
from tests.fuzz.children import Command, Outcome, forked, invoke, really
from tests.fuzz.every_command import every_command
from tests.fuzz.mutants import mutant
from tests.fuzz.seeds import Files, Seed, files, seeds, small_seeds

BATCH = 10
"""Mutations that share a child; a fork costs as much as `inspect`."""
SECONDS = 30
DRAWN = 1
"""Commands besides ``analyze`` and ``inspect``, or ``hardware``."""
LIGHT = 16
"""Commands in front that real networks go through; those behind take a minute of some of them."""
MODELS = ("structure", "model", "bytes", "metadata")
"""Kinds of which the model is mutated."""
TAKES_HARDWARE = ("analyze", "run", "widen", "smooth", "compile", "sensitivity", "robustness", "partition", "pareto")
INVALID = "qonnx_TFC_1W1A"
"""A model that is invalid as it is."""


@dataclass(frozen=True)
class Material:
    """What is mutated."""

    small: list[Seed]
    models: list[Seed]
    files: Files

    @property
    def digits(self) -> Seed:
        """The digits network, which the plan is of."""
        return self.models[0]


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


def _model_of(kind: str, material: Material, rng: Random) -> tuple[Seed, bytes]:
    """A model and what it is mutated to; where another file is mutated, the model as it is."""
    if kind == "structure":
        of = rng.choice(material.small)
        return of, bytes(mutant(onnx.ModelProto.FromString(of.model), rng).SerializeToString())
    if kind == "metadata":
        of = rng.choice([seed for seed in [*material.small, *material.models] if seed.annotated])
        return of, mutations.mutate_metadata(of.model, rng)
    if kind in ("model", "bytes"):
        of = rng.choice(material.models)
        return of, (mutations.mutate_model if kind == "model" else mutations.mutate_bytes)(of.model, rng)
    of = rng.choice([seed for seed in material.small if not seed.annotated])
    of = material.digits if kind == "plan" else of
    return of, of.model


def _commands(kind: str, of: Seed, folder: Path, material: Material, rng: Random) -> list[Command]:
    """What is run on a mutation; mutated files that are no models are written here."""
    subject = of.subject(folder / "model.onnx", folder / "out")
    every = every_command(subject)
    if kind in ("npz", "npy"):
        subject = replace(subject, data=_mutated_samples(kind, of, folder, rng))
        return rng.sample([c for c in every_command(subject) if str(subject.data) in c], DRAWN)
    if kind == "hardware":
        path = _written(folder / "file.yaml", mutations.mutate_text(rng.choice(material.files.hardware), rng))
        able = [c for c in every if c[0] in TAKES_HARDWARE]
        return [["hardware", path], *([*command, "--hardware", path] for command in rng.sample(able, DRAWN))]
    if kind == "plan":
        path = _written(folder / "file.yaml", mutations.mutate_text(material.files.plan, rng))
        return [[*command, "--plan", path] for command in every if command[0] == "partition"][:1]
    if kind == "report":
        changed = mutations.forged if rng.random() < 0.7 else mutations.mutate_text
        path = _written(folder / "report.json", changed(material.files.report, rng))
        return [["report", path, "-o", f"{folder}/out/report{end}"] for end in (".html", ".md", ".csv")]
    if kind == "gguf":
        path = str(folder / "file.gguf")
        Path(path).write_bytes(mutations.mutate_bytes(material.files.gguf, rng))
        text = ["--data", str(material.files.text), "--tokenizer", path]
        run = ["run", str(material.files.decoder), *text, "--all-analog", "--draws", "2", "--quiet"]
        return [["export", "smollm2", "--weights", path, "-o", f"{folder}/out/decoder.onnx"], run]
    drawn = every[2:] if kind == "structure" or of.name.startswith("digits") else every[2:LIGHT]
    return [*every[:2], *rng.sample(drawn, DRAWN)]


def _written(path: Path, text: str) -> str:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return str(path)


def _mutated_samples(kind: str, of: Seed, folder: Path, rng: Random) -> Path:
    """An npz, or a folder of npy files."""
    data = of.data.read_bytes()
    if kind == "npz":
        (folder / "data.npz").write_bytes(mutations.mutate_npz(data, rng))
        return folder / "data.npz"
    (folder / "data").mkdir()
    for name, content in mutations.mutate_members(data, rng).items():
        (folder / "data" / Path(name).name).write_bytes(content)
    return folder / "data"


def _mutation(number: int, seed: int, material: Material, base: Path) -> Mutation:
    rng = Random(f"{seed} {number}")
    kind = rng.choices(list(mutations.KINDS), list(mutations.KINDS.values()))[0]
    of, model = _model_of(kind, material, rng)
    folder = base / str(number)
    (folder / "out").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model)
    commands = _commands(kind, of, folder, material, rng)
    files = frozenset(path.name for path in folder.iterdir()) | {"cache"}
    parses = _parses(model) if kind in MODELS else None
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
    counts.update(command[0] for command in mutation.commands)
    return problem or (f"left behind {left}" if left else "")


def prepared(small: list[Seed], models: list[Seed], folder: Path) -> None:
    """Load and compile what commands need before forking; they must take models as they are.

    Args:
        small: models that go through every command.
        models: others, which go through three.
        folder: for what is written.
    """
    import torch

    import lhc.pipeline.inputs.model_source
    import lhc.runtime.onnxruntime.sandboxed_open
    from lhc.report import viewer

    torch.set_num_threads(1)
    for module in (lhc.pipeline.inputs.model_source, lhc.runtime.onnxruntime.sandboxed_open):
        setattr(module, "probe", lambda path: None)  # noqa: B010 - not its own name
    setattr(viewer, "serve", lambda server, **how: server.server_close())  # noqa: B010 - it waits for ever
    for seed in {seed.name: seed for seed in [*small, *models]}.values():
        own = folder / f"{seed.name} as it is"
        (own / "out").mkdir(parents=True)
        (own / "model.onnx").write_bytes(seed.model)
        every = every_command(seed.subject(own / "model.onnx", own / "out"))
        for command in every if seed in small else every[:3]:
            code, printed, error = invoke(command)
            if code not in (0, 2, 3) or (code and command[0] in ("analyze", "run") and seed.name != INVALID):
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
    material = Material(small_seeds(base), seeds(base), files(base))
    prepared(material.small, material.models, base)
    counts: Counter[str] = Counter()
    started, broken, peak, last = time.process_time(), 0, 0, options.first + options.count
    for first in range(options.first, last, BATCH):
        made = [_mutation(number, options.seed, material, base) for number in range(first, min(first + BATCH, last))]
        for mutation, outcome in zip(
            made, forked([(m.commands, m.folder) for m in made], seconds=SECONDS), strict=True
        ):
            problem = _judged(mutation, outcome, counts)
            peak = max(peak, outcome.peak)
            if problem:
                broken += 1
                print(f"{mutation.name}: {problem}", flush=True)
                shutil.copytree(mutation.folder, keep / mutation.folder.name, dirs_exist_ok=True)
            shutil.rmtree(mutation.folder)
        done = first + BATCH - options.first
        if done % 1000 < BATCH or done >= options.count:
            children = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds = time.process_time() - started + children.ru_utime + children.ru_stime
            print(
                f"{min(done, options.count)} mutations, {broken} broken, {seconds:.0f} s of processor time, at most"
                f" {peak // 1024} MiB, {dict(sorted(counts.items()))}",
                flush=True,
            )
    shutil.rmtree(base)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
