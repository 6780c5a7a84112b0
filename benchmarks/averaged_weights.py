"""Last weights of a training beside their moving average: drops on the way and at the end.

    python benchmarks/averaged_weights.py PLACED.lhc.onnx --data DATA --train-data DATA --steps 1000 -o averaged.json

Trains as ``lhc retrain`` does, and judges both kinds of weights on samples that watch the training. The average keeps
(1 + n) / (10 + n) of itself at step n, which makes it about that of the last ninth of the steps.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lhc.measure import Running
from lhc.options.by_command import RetrainOptions
from lhc.options.declaration.option_fields import part
from lhc.options.training import TrainingOptions
from lhc.pipeline.inputs.training_inputs import TrainingInputs, read_training_inputs
from lhc.pipeline.training.retraining import retrained, training_setup_of
from lhc.samples.task import Array
from lhc.support.files import write_file
from lhc.train.training_setup import TrainingSetup

__all__ = ["averaged", "course", "main"]

SAMPLES, CHIPS = 1500, 4
"""That watch."""


def averaged(before: Mapping[str, Array], now: Mapping[str, Array], step: int) -> dict[str, Array]:
    """The average after a step, in float64; steps count from 1."""
    return {name: before[name] + 9 / (10 + step) * (now[name] - before[name]) for name in now}


def course(options: RetrainOptions, marks: int) -> list[dict[str, float]]:
    """Drops of the last and of the averaged weights before the training, and so many times on the way."""
    with Running(options) as running:
        start = read_training_inputs(options, running)
        setup = training_setup_of(start.state, start.training, part(options, TrainingOptions)).with_rate(start.analog)
        trainer = setup.trainer(setup.steps)
        trainer.begin(start.analog)
        average: dict[str, Array] = {name: one.astype(np.float64) for name, one in trainer.network.weights().items()}
        found = [_judged(start, setup, 0, trainer.network.weights(), average)]
        for step in range(1, setup.steps + 1):
            trainer.train_step(1.0)
            average = averaged(average, trainer.network.weights(), step)
            if step * marks % setup.steps < marks:
                found.append(_judged(start, setup, step, trainer.network.weights(), average))
                print(found[-1], flush=True)
    return found


def _judged(
    start: TrainingInputs, setup: TrainingSetup, step: int, last: Mapping[str, Array], average: Mapping[str, Array]
) -> dict[str, float]:
    def drop(weights: Mapping[str, Array]) -> float:
        evaluator = retrained(start.state, setup, weights).evaluator(start.validation.head(SAMPLES))
        return float(evaluator.measure(start.analog, range(CHIPS), "watching").drops.mean())

    singles = {name: array.astype(np.float32) for name, array in average.items()}
    return {"step": step, "last": drop(last), "average": drop(singles)}


def main() -> None:
    """Train and write the course."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    for name in ("--data", "--train-data"):
        parser.add_argument(name, required=True)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--augment", default="crop-flip")
    parser.add_argument("--label-share", type=float, default=0.0)
    parser.add_argument("--lr", type=float, dest="learning_rate")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--marks", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = vars(parser.parse_args())
    marks, output = given.pop("marks"), given.pop("output")
    found = course(RetrainOptions(**given), marks)
    write_file(output, lambda file: file.write(json.dumps(found, indent=1).encode()))


if __name__ == "__main__":
    main()
