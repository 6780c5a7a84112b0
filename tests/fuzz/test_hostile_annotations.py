"""Annotated files from strangers: hostile names and forged values, given to every command that reads them."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import onnx
import pytest

from lhc.onnx_io import annotate, load_model, read_graph
from tests.fuzz.children import invoke
from tests.fuzz.every_command import Subject, every_command
from tests.networks import drawn, parsed
from tests.report.made_reports import judged, place

UNSEEN = "\x1b]0;t\x07\r\x7f\x85\x9b31m\u202e\u061c\u200b\u2028\U000e0041"
HOSTILE = f"=1+1{UNSEEN}<img src=x onerror=alert(1)>[a](x)|}}{{\n"
NET = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 8] x) => (float[N, 4] y) {
  [first] h = MatMul(x, u)
  [act] r = Relu(h)
  [second] y = MatMul(r, v)
}"""


def network(hostile: bool) -> onnx.ModelProto:
    proto = parsed(NET, drawn({"u": (8, 6), "v": (6, 4)}))
    if not hostile:
        return proto
    proto.graph.output[0].name += HOSTILE
    proto.graph.name += HOSTILE
    for tensor in proto.graph.initializer:
        tensor.name += HOSTILE
    for node in proto.graph.node:
        node.name += HOSTILE
        node.input[:] = [name if name == "x" else name + HOSTILE for name in node.input]
        node.output[:] = [name + HOSTILE for name in node.output]
    return proto


def placed(folder: Path, hostile: bool) -> Path:
    """A file with a placement that was judged."""
    proto, plan = judged(*place(network(hostile), lambda index: True))
    if hostile:
        assert plan.outcome is not None
        texts = dict.fromkeys(("metric_note", "samples_note", "training_note", "strategy"), HOSTILE)
        layers = tuple(layer.model_copy(update={"detail": HOSTILE, "module": HOSTILE}) for layer in plan.layers)
        outcome = plan.outcome.model_copy(update={**texts, "metric": "kl", "percent": False})
        machine = plan.hardware.model_copy(update={"name": HOSTILE, "description": HOSTILE})
        update = {"layers": layers, "outcome": outcome, "hardware": machine, "command": HOSTILE}
        plan = plan.model_copy(update=update)
        model = load_model(network(hostile))
        proto = annotate(model, plan, read_graph(model))
    path = folder / "placed.lhc.onnx"
    onnx.save_model(proto, str(path))
    return path


def subject(folder: Path, model: Path, other: Path) -> Subject:
    rng = np.random.default_rng(1)
    data = folder / "data.npz"
    np.savez(data, x=rng.normal(size=(40, 8)).astype(np.float32))
    out = folder / "out"
    out.mkdir()
    return Subject(model, data, out, other, placed=True, metric=("--metric", "kl"), samples=40)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("hostile")
    for name in ("strange", "plain"):
        (folder / name).mkdir()
    return subject(folder, placed(folder / "strange", hostile=True), placed(folder / "plain", hostile=False))


def unseen(text: str) -> set[str]:
    """Characters of a text that steer a terminal, or are not seen."""
    kinds = ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")
    return {c for c in text if (unicodedata.category(c) in kinds and c != "\n") or "\U000e0000" <= c <= "\U000e0fff"}


NAMES = [
    f"{number} {command[0]}"
    for number, command in enumerate(every_command(Subject(Path(), Path(), Path(), Path(), placed=True)))
]
SLOW = ("partition", "retrain", "pareto", "compare", "robustness", "attribute", "sensitivity", "run", "split")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * name.endswith(SLOW)) for name in NAMES if "view" not in name]
)
def test_no_command_prints_or_writes_what_a_hostile_name_holds(name: str, hostile: Subject) -> None:
    command = every_command(hostile)[NAMES.index(name)]
    code, printed, raised = invoke([*command, *(["--force"] if "-o" in command else [])])
    assert isinstance(raised, SystemExit), repr(raised)
    assert code in (0, 1, 2, 3)
    assert not unseen(printed)
    for path in hostile.out.rglob("*"):
        if path.suffix in (".html", ".md", ".svg", ".json", ".csv", ".yaml"):
            assert not unseen(path.read_text(encoding="utf-8")), path.name


FORGED = {
    "samples": (("outcome", "samples", -1), "outcome.samples"),
    "documents": (("outcome", "documents", -3), "outcome.documents"),
    "chips": (("outcome", "draws", 10**18), "outcome.draws"),
    "verdict": (("outcome", "max_drop", 0.001), "outcome.within_budget"),
    "layer": (("layers", "copies", 10**9), "layers.0.copies"),
    "name": (("layers", "name", "second"), "layers: 'second' is there twice"),
}
NOT_READ_BY = ("analyze", "sensitivity", "partition", "pareto", "compare", "widen", "smooth")
"""They place anew, or only look at the network."""


def forged(folder: Path, where: tuple[str, str, object]) -> Path:
    """A file with a value that no command of lhc writes."""
    proto = onnx.load_model(str(placed(folder, hostile=False)))
    holder, field, value = where
    (entry,) = (e for e in proto.metadata_props if e.key == {"outcome": "lhc.result", "layers": "lhc.plan"}[holder])
    document = json.loads(entry.value)
    (document if holder == "outcome" else document[0])[field] = value
    entry.value = json.dumps(document)
    path = folder / "forged.lhc.onnx"
    onnx.save_model(proto, str(path))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("case", FORGED)
def test_forged_values_are_refused_by_name_by_every_command_that_reads_them(case: str, tmp_path: Path) -> None:
    where, field = FORGED[case]
    of = subject(tmp_path, forged(tmp_path, where), placed(tmp_path, hostile=False))
    for command in every_command(of):
        if command[0] in NOT_READ_BY or command[:2] == ["reapply", str(of.model)]:  # which gets the other's plan
            continue
        code, printed, raised = invoke(command)
        assert isinstance(raised, SystemExit), (command, repr(raised))
        assert code == 3, (command, printed)
        assert field in printed, (command, printed)
    assert not list(of.out.iterdir()), "nothing is written"
