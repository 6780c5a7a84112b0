"""Sensitivity profiles of the zoo's transformers: the numbers of docs/language-models.md, tables and a figure.

    python benchmarks/transformer_profiles.py measure minilm FOLDER/minilm.json
    python benchmarks/transformer_profiles.py tables FOLDER
    python benchmarks/transformer_profiles.py figure FOLDER transformers.svg

One layer is analog at a time, on the preset ``lionheart`` one day after programming, with drift compensation alone.
Each layer's damage is split in two by measuring it again on the same machine without anything that is random:
``devices`` null (never programmed, never drifting), ``adc.noise`` 0, ``drift_compensation`` none. What is left then is
the clipping and quantisation of DAC and ADC; the rest is due to devices and noise. A third time it is measured on the
preset as it is: with copies in free cells, and chips that are calibrated on a quarter of the samples (if that is not
seen to do harm). All three judge the other three quarters.

What is finished is in the output file; a second run goes on behind it.

FOLDER holds ``minilm.json``, ``minilm-squad.json`` and ``stories260k.json``, or some of them, for tables and figure
(which needs matplotlib).
"""

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import lhc
from lhc.pipeline.inputs.model_source import LoadedModel, open_model
from lhc.samples.metrics import get_metric
from lhc.samples.splits import split_task
from lhc.support.tables import Table

DRAWS = 5
KINDS = {
    "query": ("query", "q_proj"),
    "key": ("key", "k_proj"),
    "value": ("value", "v_proj"),
    "attention output": ("attention.output.dense", "o_proj"),
    "FFN gate": ("gate_proj",),
    "FFN up": ("intermediate.dense", "up_proj"),
    "FFN down": ("output.dense", "down_proj"),
    "head": ("qa", "lm_head"),
}
"""Kinds of layers and how their names end; the first that fits counts."""


@dataclass(frozen=True)
class Subject:
    """What of a zoo entry is measured.

    Attributes:
        metrics: damage in one layer, the first one ranks.
        output: that is scored by these.
        samples: how many, evenly spread over those of the entry; for one layer at a time.
        together: how many for all layers at a time.
        length: greatest length of the sequences of a sample, in tokens; longer samples are left out, or cut.
        cut: cut samples to that length instead of leaving them out.
        tasks: metrics of all layers together, each with whether higher is better where it is a function.
    """

    metrics: tuple[str, ...]
    output: str
    samples: int
    together: int
    length: int
    cut: bool
    tasks: tuple[tuple[str, bool | None], ...]


SQUAD = (("lhc.models.squad:f1", True), ("lhc.models.squad:exact_match", True))
SUBJECTS = {
    "minilm": Subject(("nmse",), "embeddings", 128, 400, 24, False, (("spearman", None),)),
    "minilm-squad": Subject(("kl",), "spans", 64, 240, 160, False, SQUAD),
    "stories260k": Subject(("kl", "nll"), "logits", 32, 64, 256, True, (("nll", None),)),
}


def machines() -> dict[str, lhc.Hardware]:
    """The machine with drift compensation alone, it without anything random, and with all that heals."""
    healed = lhc.Hardware.load("lionheart")
    whole = healed.with_drift_compensation_alone()
    fields = {
        "devices": None,
        "adc": whole.adc.model_copy(update={"noise": 0.0}),
        "compensation": whole.compensation.model_copy(update={"drift": "none"}),
    }
    converters = lhc.Hardware.model_validate((whole.model_copy(update=fields)).model_dump())
    return {"whole": whole, "converters": converters, "healed": healed}


def chosen(task: lhc.Task, subject: Subject, samples: int) -> lhc.Task:
    """So many of the samples that are short enough, without the padding behind the longest."""
    inputs = {name: np.asarray(array) for name, array in task.inputs.items()}
    targets = np.asarray(task.targets)
    ids = inputs["input_ids"]
    lengths = (ids != 0).sum(-1).reshape(len(ids), -1).max(1)
    rows = np.arange(len(ids)) if subject.cut else np.flatnonzero(lengths <= subject.length)
    rows = rows[np.arange(samples) * len(rows) // samples]
    length = min(subject.length, int(lengths[rows].max()))
    picked = targets[rows]
    if picked.dtype.names:
        trimmed = np.zeros(len(rows), _trimmed_type(picked.dtype, length))
        for name in picked.dtype.names:
            trimmed[name] = picked[name][:, :length] if name == "offsets" else picked[name]
        picked = trimmed
    elif picked.ndim > 1:
        picked = picked[:, :length]
    return lhc.Task({name: array[rows][..., :length] for name, array in inputs.items()}, picked, task.metric)


def _trimmed_type(dtype: np.dtype[Any], length: int) -> np.dtype[Any]:
    fields = {name: dtype[name] for name in dtype.names or ()}
    return np.dtype([(name, (np.int32, (length, 2)) if name == "offsets" else kind) for name, kind in fields.items()])


def measure(name: str, out: Path) -> None:
    """Measure what is missing of one network, and write everything that tables and figure show."""
    subject = SUBJECTS[name]
    opened = open_model(name)
    assert opened.entry is not None
    every = opened.entry.task()
    task, many = chosen(every, subject, subject.samples), chosen(every, subject, subject.together)
    document: dict[str, Any] = {
        "model": name,
        "samples": len(task),
        "length": int(next(iter(task.inputs.values())).shape[-1]),
        "draws": DRAWS,
        "seed": 0,
        "layers": {metric: {} for metric in subject.metrics},
        "together": {},
        "cpu_s": 0.0,
    }
    if out.exists():
        document = json.loads(out.read_text(encoding="utf-8"))
    for machine, hardware in machines().items():
        for metric in subject.metrics:
            if machine not in document["layers"][metric]:
                start = time.process_time()
                document["layers"][metric][machine] = _layers(opened, task, subject, hardware, metric)
                _keep(document, time.process_time() - start, out)
        if machine not in document["together"]:
            start = time.process_time()
            document["together"][machine] = _together(opened, many, subject, hardware)
            _keep(document, time.process_time() - start, out)


def _keep(document: dict[str, Any], cpu_s: float, out: Path) -> None:
    document["cpu_s"] = round(document["cpu_s"] + cpu_s, 1)
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _judged(task: lhc.Task, hardware: lhc.Hardware) -> lhc.Task:
    """What the healed machine judges; it sets the others aside by itself."""
    healed = hardware.compensation.outputs != "none"
    return task if healed else split_task(task, lhc.Hardware.load("lionheart").compensation.samples).judged


def _draws(hardware: lhc.Hardware) -> int:
    return DRAWS if hardware.is_stochastic else 2


def _layers(
    opened: LoadedModel, task: lhc.Task, subject: Subject, hardware: lhc.Hardware, metric: str
) -> dict[str, dict[str, Any]]:
    """Damage of every layer when it alone is analog."""
    table = lhc.sensitivity(
        opened,
        _judged(task, hardware).with_metric(get_metric(metric)),
        metric=metric,
        output=subject.output,
        hardware=hardware,
        draws=_draws(hardware),
        method="measure",
    )
    return {
        layer: {"mean": found.mean, "error": found.std / found.draws**0.5, "interval": found.interval}
        for layer, found in table.layers.items()
    }


def _together(
    opened: LoadedModel, task: lhc.Task, subject: Subject, hardware: lhc.Hardware
) -> dict[str, dict[str, Any]]:
    """All layers analog, judged by the task's own metrics."""
    found = {}
    for metric, higher in subject.tasks:
        (result,) = lhc.run(
            opened,
            _judged(task, hardware),
            metric=metric,
            higher_is_better=higher,
            hardware=hardware,
            all_analog=True,
            draws=_draws(hardware),
        )
        found[metric] = {
            "baseline": result.baseline,
            "mean": result.mean,
            "interval": result.interval,
            "drop": result.drop,
            "drop_interval": result.drop_interval,
            "samples": result.samples,
            "calibrated": result.calibrated,
        }
    return found


def kind(layer: str) -> str:
    """Of a layer, by its name."""
    return next(kind for kind, ends in KINDS.items() if layer.endswith(ends))


def block(layer: str) -> str:
    """Number of the block that a layer is in; empty for what lies in none."""
    return next((part for part in layer.split(".") if part.isdigit()), "")


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """The documents of the networks that were measured there, by name."""
    paths = {name: folder / f"{name}.json" for name in SUBJECTS}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}


def profile(document: dict[str, Any], metric: str) -> Table:
    """Damage by kind of layer: mean over blocks, how much of it is conversion alone, what healing leaves; the worst."""
    measured = document["layers"][metric]
    rows = []
    for name in KINDS:
        layers = [layer for layer in measured["whole"] if kind(layer) == name]
        if not layers:
            continue
        whole, converters, healed = (_mean(measured[machine], layers) for machine in ("whole", "converters", "healed"))
        worst = max(layers, key=lambda layer: measured["whole"][layer]["mean"])
        low, high = measured["whole"][worst]["interval"]
        rows.append(
            [
                name,
                str(len(layers)),
                f"{whole[0]:.2g} ± {whole[1]:.1g}",
                f"{converters[0]:.2g}",
                f"{whole[0] - converters[0]:.2g}",
                f"{healed[0]:.2g} ± {healed[1]:.1g}",
                f"{block(worst) or '-'}: {measured['whole'][worst]['mean']:.2g} [{low:.2g}, {high:.2g}]",
            ]
        )
    headers = ["kind", "layers", "damage", "clipping and quantisation", "devices and noise", "healed", "worst block"]
    return Table(headers, rows, right=(1, 2, 3, 4, 5))


def _mean(measured: dict[str, dict[str, Any]], layers: Sequence[str]) -> tuple[float, float]:
    """Mean damage of some layers with its standard error over chips, whose devices differ from layer to layer."""
    errors = [measured[layer]["error"] for layer in layers]
    return float(np.mean([measured[layer]["mean"] for layer in layers])), float(np.linalg.norm(errors) / len(layers))


def worst(document: dict[str, Any], metric: str, count: int) -> Table:
    """The layers that do most damage."""
    whole, converters = document["layers"][metric]["whole"], document["layers"][metric]["converters"]
    rows = []
    for layer in sorted(whole, key=lambda layer: -whole[layer]["mean"])[:count]:
        low, high = whole[layer]["interval"]
        rest = whole[layer]["mean"] - converters[layer]["mean"]
        cells = (whole[layer]["mean"], converters[layer]["mean"], rest)
        rows.append([layer, *(f"{cell:.3g}" for cell in cells), f"{low:.3g} to {high:.3g}"])
    headers = ["layer", metric, "clipping and quantisation", "devices and noise", "90 % interval of the whole"]
    return Table(headers, rows, right=(1, 2, 3))


def tables(folder: Path) -> str:
    """All tables in Markdown."""
    parts = []
    for name, document in read(folder).items():
        parts.append(f"### {name}")
        for metric in document["layers"]:
            parts += [
                metric,
                profile(document, metric).render("markdown"),
                worst(document, metric, 6).render("markdown"),
            ]
        for machine, found in document["together"].items():
            parts += [f"all analog, {machine}: {metric} {numbers}" for metric, numbers in found.items()]
    return "\n\n".join(parts)


def figure(folder: Path, out: Path) -> None:
    """One panel a network: damage of every layer on a logarithmic axis, blocks from left to right."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "lhc", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    documents = read(folder)
    size = (9, 3.1 * len(documents))
    drawing, panels = plt.subplots(len(documents), 1, figsize=size, layout="constrained", squeeze=False)
    panels = panels[:, 0]
    for panel, (name, document) in zip(panels, documents.items(), strict=True):
        metric = next(iter(document["layers"]))
        whole, converters = document["layers"][metric]["whole"], document["layers"][metric]["converters"]
        for number, (layers, label) in enumerate(_by_kind(whole)):
            colour = f"C{number}"
            for layer, x in zip(layers, _places(layers, number, _blocks(whole)), strict=True):
                low, high = whole[layer]["interval"]
                panel.plot([x, x], [max(low, 1e-9), high], color=colour, linewidth=1)
                panel.plot(x, whole[layer]["mean"], "o", color=colour, markersize=5)
                panel.plot(x, converters[layer]["mean"], "_", color=colour, markersize=8)
            panel.plot([], [], "o", color=colour, label=label)
        unit = f"{metric}, nats" if metric in ("kl", "nll") else metric
        panel.set(yscale="log", ylabel=unit, title=f"{name}: {document['samples']} samples, {document['draws']} draws")
        panel.set_xticks(range(_blocks(whole)), [f"block {i}" for i in range(_blocks(whole))])
        panel.grid(axis="y", alpha=0.3)
    handles = {
        text: handle for panel in panels for handle, text in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    drawing.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=8, frameon=False)
    drawing.savefig(out, metadata={"Date": None, "Creator": None})


def _by_kind(layers: Iterable[str]) -> list[tuple[list[str], str]]:
    found = [[layer for layer in layers if kind(layer) == name] for name in KINDS]
    return list(zip(found, KINDS, strict=True))


def _places(layers: Sequence[str], number: int, blocks: int) -> list[float]:
    """Blocks are one apart; a head stands behind the last."""
    return [int(block(layer)) + 0.11 * (number - 3) if block(layer) else blocks - 0.45 for layer in layers]


def _blocks(layers: Iterable[str]) -> int:
    return 1 + max(int(block(layer) or 0) for layer in layers)


def main() -> None:
    """Measure, or show what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("measure")
    one.add_argument("model", choices=SUBJECTS)
    one.add_argument("out", type=Path)
    commands.add_parser("tables").add_argument("folder", type=Path)
    picture = commands.add_parser("figure")
    picture.add_argument("folder", type=Path)
    picture.add_argument("out", type=Path)
    given = parser.parse_args()
    if given.command == "measure":
        measure(given.model, given.out)
    elif given.command == "tables":
        print(tables(given.folder))
    else:
        figure(given.folder, given.out)


if __name__ == "__main__":
    main()
