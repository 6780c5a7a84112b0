"""Feed lhc mutated files and see that none of them gets more than an error message out of it.

Every mutation goes through ``analyze``, ``inspect`` and ``run`` (a YAML file as hardware, or as a plan through
``partition``) in a forked child with 4 GiB of address space and 10 s of processor time, in a folder of its own. A run
*breaks* if a command ends with an exception that is no exit, or with a status that is none of lhc's, or leaves a file
behind. Models are opened without the probing process, which would cost half a second each time; a mutation that kills
the child, or uses up its limits, is therefore tried again through the real command before it counts as broken.

Run from a checkout::

    python -m tests.fuzz.fuzz --count 10000 --seed 0 [--keep FOLDER]

Models are those of ``LHC_DATA/onnx`` up to 2.5 MB and the digits network, plain and annotated.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
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

from tests.fuzz.mutations import KINDS, mutate_bytes, mutate_metadata, mutate_model, mutate_npz, mutate_text

ROOT = Path(__file__).resolve().parents[2]
MEMORY = 4 * 2**30
SECONDS = 10
WALL = 120
"""A busy machine takes longer than processor time says."""
LARGEST = 2_500_000


@dataclass(frozen=True)
class Seed:
    """A model, and samples that fit it as it is."""

    name: str
    model: bytes
    data: Path
    annotated: bool = False


def _samples(model: onnx.ModelProto, path: Path) -> None:
    """Two samples of noise for every input, sizes that are open 16."""
    from lhc.cli.output import write_npz

    rng = np.random.default_rng(0)
    known = {tensor.name for tensor in model.graph.initializer}
    arrays = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        sizes = [max(d.dim_value, 0) or 16 for d in kind.shape.dim]
        if value.name not in known:
            shape = [2, *sizes[1:]] if sizes else []
            arrays[value.name] = rng.normal(size=shape).astype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    write_npz(path, arrays)


def seeds(folder: Path) -> tuple[list[Seed], list[bytes]]:
    """The models, and the YAML files: hardware first, a plan last."""
    import lhc
    from lhc.cli.output import write_npz
    from lhc.hardware import preset_names, preset_text
    from lhc.models import zoo_entry

    entry = zoo_entry("digits")
    found = []
    files = sorted(Path(os.environ["LHC_DATA"], "onnx").glob("*.onnx")) if "LHC_DATA" in os.environ else []
    for file in [path for path in files if path.stat().st_size <= LARGEST]:
        data = folder / f"{file.stem}.npz"
        _samples(onnx.load(file), data)
        found.append(Seed(file.stem, file.read_bytes(), data))
    data, out = folder / "digits.npz", folder / "digits.lhc.onnx"
    task = entry.task().head(8)
    write_npz(data, {name: np.asarray(array) for name, array in task.inputs.items()})
    result = lhc.partition("digits", samples=60, draws=2, max_drop=0.5)
    result.save(out)
    digits = [Seed("digits", entry.model().SerializeToString(), data)]
    digits += [Seed("digits.lhc", out.read_bytes(), data, annotated=True)]
    # As many of digits, which is small and can be run, as of all others.
    found = digits * max(1, len(found)) + found
    return found, [*(preset_text(name).encode() for name in preset_names()), result.plan.to_yaml().encode()]


def _commands(kind: str, seed: Seed, mutated: bytes, text: bytes, plan: bool, folder: Path) -> list[list[str]]:
    """Write the files of a mutation; what is run on them."""
    model, data = folder / "model.onnx", seed.data
    model.write_bytes(mutated if kind in ("model", "bytes", "metadata") else seed.model)
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
    return [["analyze", str(model)], ["inspect", str(model)], ["run", str(model), *few, "--all-analog"]]


def _child(commands: list[list[str]], report: int) -> None:
    """Run the commands within the limits and write what became of them."""
    from typer.testing import CliRunner

    from lhc.cli.app import app

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    outcomes = []
    for command in commands:
        result = CliRunner().invoke(app, command)
        wrong = result.exception is not None and not isinstance(result.exception, SystemExit)
        outcomes.append(
            (result.exit_code, repr(result.exception)[:500] if wrong else "", isinstance(result.exception, MemoryError))
        )
    os.write(report, json.dumps(outcomes).encode())


def _forked(commands: list[list[str]]) -> tuple[str, list[int]]:
    """How a child fared: empty or what broke; a word ``died`` first where the real command has to be asked."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        try:
            _child(commands, write)
        finally:
            os._exit(0)
    os.close(write)
    end = time.monotonic() + WALL
    status = None
    while status is None and time.monotonic() < end:
        done, code = os.waitpid(pid, os.WNOHANG)
        if done:
            status = code
        else:
            time.sleep(0.003)
    if status is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()
    if not told:
        return f"died: {'timeout' if status is None else f'signal {status & 127}'}", []
    outcomes = json.loads(told)
    if any(memory for _, _, memory in outcomes):
        return "died: memory", []
    wrong = [
        f"{c[0]}: {error or code}"
        for c, (code, error, _) in zip(commands, outcomes, strict=True)
        if error or code not in (0, 1, 2, 3)
    ]
    return "; ".join(wrong), [code for code, _, _ in outcomes]


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def _really(commands: list[list[str]]) -> str:
    """What the real commands do, probing process and all."""
    for command in commands:
        run = [sys.executable, "-m", "lhc", *command]
        root = os.environ | {"PYTHONPATH": str(ROOT)}
        try:
            done = subprocess.run(
                run, env=root, capture_output=True, text=True, timeout=WALL, preexec_fn=_limit, check=False
            )
        except subprocess.TimeoutExpired:
            return f"{command[0]} hangs"
        if done.returncode not in (0, 1, 2, 3) or "Traceback" in done.stderr:
            return f"{command[0]} ends with {done.returncode}: {done.stderr[-500:]}"
    return ""


def main() -> int:
    """Mutate, run, count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-broken"))
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="lhc-fuzz-"))
    os.environ["LHC_CACHE"] = str(base / "cache")
    models, texts = seeds(base)

    import aihwkit.simulator.configs  # noqa: F401 - loaded once, before forking
    import torch

    import lhc.lowering
    import lhc.opening

    torch.set_num_threads(1)
    setattr(lhc.opening, "probe", lambda path: None)  # noqa: B010 - not its own name
    counts: Counter[str] = Counter()
    started, broken = time.process_time(), 0
    for number in range(options.first, options.first + options.count):
        rng = Random(f"{options.seed} {number}")
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        seed = rng.choice([s for s in models if s.annotated] if kind == "metadata" else models)
        which = rng.randrange(len(texts)) if rng.random() < 0.5 else len(texts) - 1
        mutated, text = b"", b""
        if kind == "model":
            mutated = mutate_model(seed.model, rng)
        elif kind == "bytes":
            mutated = mutate_bytes(seed.model, rng)
        elif kind == "metadata":
            mutated = mutate_metadata(seed.model, rng)
        elif kind == "npz":
            seed = next(s for s in models if s.annotated)
            mutated = mutate_npz(seed.data.read_bytes(), rng)
        else:
            seed = next(s for s in models if s.name == "digits")
            text = mutate_text(texts[which].decode(), rng).encode("utf-8", "surrogatepass")
        folder = base / str(number)
        folder.mkdir()
        commands = _commands(kind, seed, mutated, text, which == len(texts) - 1, folder)
        before = {path.name for path in folder.iterdir()} | {"out.onnx"}
        os.chdir(folder)
        problem, codes = _forked(commands)
        os.chdir(base)
        if problem.startswith("died"):
            counts[problem] += 1
            problem = _really(commands)
        left = {path.name for path in folder.iterdir()} - before
        problem = problem or (f"left behind {left}" if left else "")
        counts[kind] += 1
        counts.update(f"exit {code}" for code in codes)
        if kind in ("model", "bytes", "metadata"):
            try:
                onnx.ModelProto.FromString(mutated)
                counts["parses"] += 1
            except DecodeError:
                counts["does not parse"] += 1
        if problem:
            broken += 1
            print(f"{number} {kind} {seed.name}: {problem}", flush=True)
            shutil.copytree(folder, options.keep / str(number), dirs_exist_ok=True)
        shutil.rmtree(folder)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = time.process_time() - started + children.ru_utime + children.ru_stime
    print(
        f"{options.count} mutations, {broken} broken, {seconds:.0f} s of processor time, {dict(sorted(counts.items()))}"
    )
    shutil.rmtree(base)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
