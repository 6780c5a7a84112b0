"""Files whose parts contradict each other get a message from every command, never a traceback, a crash or a hang.

``python -m pytest tests/fuzz/test_mutants.py -m slow`` runs 300; a number and the seed make one again.
"""

import gc
import os
import sys
from pathlib import Path
from random import Random

import numpy as np
import onnx
import pytest

from tests.fuzz.children import Command, Job, forked, invoke
from tests.fuzz.mutants import BASES, annotate, base, data_of, mutant

pytestmark = [
    pytest.mark.analog,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the fork server needs Linux"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning"),
]

SEED = 23
SECONDS = 60
Base = tuple[str, bool, onnx.ModelProto]
"""Name of the network, whether it carries a plan, and the model."""


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Base]]:
    """The networks, plain and with their plans, and the folder of their samples; what commands need is loaded."""
    folder = tmp_path_factory.mktemp("bases")
    found: list[Base] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LHC_CACHE", str(folder / "cache"))
        for name in BASES:
            onnx.save(base(name), f"{name}.onnx")
            np.savez(f"{name}.npz", allow_pickle=False, **data_of(name))
            code, printed, _ = invoke(annotate(name, f"{name}.npz", f"{name}.lhc.onnx"))
            assert code == 0, printed
            found += [(name, False, onnx.load(f"{name}.onnx")), (name, True, onnx.load(f"{name}.lhc.onnx"))]
        for name, planned, model in found:
            for command in commands(name, planned, folder, _saved(model, folder / f"{name}-{planned}")):
                code, printed, _ = invoke(command)
                assert code == (2 if command[0] == "report" and not planned else 0), printed
    return folder, found


def _saved(model: onnx.ModelProto, folder: Path) -> Path:
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    return folder


def commands(name: str, planned: bool, samples: Path, folder: Path) -> list[Command]:
    model, data = str(folder / "model.onnx"), ["--data", str(samples / f"{name}.npz")]
    placement = [] if planned else ["--all-analog"]
    few = [*data, "--samples", "12", "--draws", "2", "--quiet", *(["--metric", "nmse"] if name == "tokens" else [])]
    return [
        ["analyze", model],
        ["inspect", model],
        ["report", model, "-o", str(folder / "report.html")],
        ["split", model, *placement, *data, "--out", str(folder / "parts")],
        ["compile", model, *placement, *data, "-o", str(folder / "compiled.onnx")],
        ["run", model, *few, *placement],
        ["partition", model, *few, "--max-drop", "0.5", "--objective", "macs", "-o", str(folder / "placed.onnx")],
    ]


def broken(numbers: range, bases: tuple[Path, list[Base]], tmp_path: Path) -> list[str]:
    """What mutants of these numbers break; one without a message that the reader can act on breaks something too."""
    samples, known = bases
    jobs: list[Job] = []
    for number in numbers:
        rng = Random(f"{SEED} {number}")
        name, planned, model = rng.choice(known)
        folder = _saved(mutant(model, rng), tmp_path / str(number))
        jobs.append((commands(name, planned, samples, folder), folder))
    gc.collect()
    found = []
    for number, outcome in zip(numbers, forked(jobs, run=_without_probe, seconds=SECONDS), strict=True):
        faults = [fault for fault in outcome.problem.split("; ") if fault and "changes:" not in fault]
        faults += [f"died: {outcome.died}"] if outcome.died and outcome.died != "memory" else []
        found += [f"{number}: {fault}" for fault in faults]
    return found


def _without_probe(command: Command) -> tuple[int, str, BaseException | None]:
    """The child is a process of its own already."""
    import torch

    import lhc.pipeline.inputs.model_source

    torch.set_num_threads(1)
    setattr(lhc.pipeline.inputs.model_source, "probe", lambda path: None)  # noqa: B010 - not its own name
    os.environ["LHC_CACHE"] = str(Path.cwd() / "cache")
    return invoke(command)


@pytest.mark.slow
def test_a_few_mutants(bases: tuple[Path, list[Base]], tmp_path: Path) -> None:
    assert broken(range(4), bases, tmp_path) == []


@pytest.mark.slow
def test_many_mutants(bases: tuple[Path, list[Base]], tmp_path: Path) -> None:
    assert broken(range(4, 308), bases, tmp_path) == []


def test_mutants_are_repeatable_and_differ() -> None:
    model = base("convolutions")
    made = [mutant(model, Random(f"0 {number}")).SerializeToString() for number in range(20)]
    assert made == [mutant(model, Random(f"0 {number}")).SerializeToString() for number in range(20)]
    assert len(set(made)) > 15
    assert model == base("convolutions"), "the network that they are made of is unchanged"
