"""Every command that takes a model, made short: two chips, few samples, two steps of training."""

from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.children import Command

__all__ = ["Subject", "every_command"]


@dataclass(frozen=True)
class Subject:
    """A model that commands are run on.

    Attributes:
        model: it.
        data: samples that fit it.
        out: a folder for what is written.
        other: a model that carries a plan, for commands that compare two.
        placed: whether commands take the placement of its annotations; else all its layers are analog.
        metric: the option that judges it.
        shape: options that tell sizes which it leaves open.
    """

    model: Path
    data: Path
    out: Path
    other: Path
    placed: bool
    metric: tuple[str, ...] = ()
    shape: tuple[str, ...] = ()
    samples: int = 4


def every_command(of: Subject) -> tuple[Command, ...]:
    """All of them; first those that measure nothing and cost next to nothing."""
    model, out, other = str(of.model), of.out, str(of.other)
    data = ["--data", str(of.data)]
    few = [*data, "--samples", str(of.samples), "--draws", "2", "--quiet", *of.metric]
    search = [*few, "--max-drop", "0.5", "--objective", "macs"]
    steps = ["--steps", "2", "--batch-size", "4"]
    placement = [] if of.placed else ["--all-analog"]
    return (
        ["analyze", model, *of.shape],
        ["inspect", model],
        ["run", model, *few, *placement],
        ["report", model, "-o", f"{out}/report.html", "-o", f"{out}/report.md", "-o", f"{out}/report.svg"],
        ["report", model, "-o", f"{out}/report.json", "-o", f"{out}/report.csv", "-o", f"{out}/model.netron.json"],
        ["inspect", model, "--nnpa-config"],
        ["inspect", model, "--layer-assignment", "npu"],
        ["diff", model, other],
        ["diff", other, model, "--json"],
        ["reapply", model, "--from", other, "-o", f"{out}/reapplied.onnx"],
        ["reapply", other, "--from", model, "-o", f"{out}/reapplied.onnx"],
        ["view", model, "--no-browser"],
        ["split", model, *placement, *data, "--out", f"{out}/parts"],
        ["compile", model, *placement, *data, "-o", f"{out}/compiled.onnx"],
        ["widen", model, "-o", f"{out}/wide.onnx"],
        ["smooth", model, *data, "-o", f"{out}/smooth.onnx"],
        ["sensitivity", model, *few],
        ["attribute", model, *few],
        ["robustness", model, *few, *placement, "--chips", "2"],
        ["robustness", model, *few, *placement, "--vary", "adc.bits=4,8"],
        ["partition", model, *search, "-o", f"{out}/placed.onnx"],
        ["partition", model, *search, "--digital-columns", "5%", "--max-tiles", "9", "-o", f"{out}/placed.onnx"],
        ["partition", model, *search, "--retrain", *steps, "-o", f"{out}/placed.onnx"],
        ["retrain", model, *few, *placement, *steps, "--train-data", str(of.data), "-o", f"{out}/trained.onnx"],
        ["pareto", model, *few, "-o", f"{out}/front.json", "--plot", f"{out}/front.svg"],
        ["compare", model, *search, "--hardware", "lionheart", "--hardware", "ideal"],
    )
