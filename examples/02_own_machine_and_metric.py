"""A machine and a metric of one's own: what does quieter read-out buy?

Some seconds. The metric is the margin of the right class, a score per sample; the machine is LionHeart's with half and
with twice the output noise.
"""

import numpy as np

import lhc
from lhc.models import zoo_entry


def margin(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Score of the right class minus the best other score; shape ``(samples,)``."""
    rows = np.arange(len(outputs))
    others = outputs.copy()
    others[rows, targets] = -np.inf
    result: np.ndarray = outputs[rows, targets] - others.max(axis=1)
    return result


def main() -> None:
    """All layers analog, for three output noises."""
    digits = zoo_entry("digits-narrow").task()
    task = lhc.Task(digits.inputs, digits.targets, lhc.Metric("margin", True, True, margin))
    usual = lhc.Hardware.load("lionheart")
    for noise in (0.03, 0.06, 0.12):
        machine = usual.model_copy(update={"adc": usual.adc.model_copy(update={"noise": noise})})
        found = lhc.run("digits-narrow", task, hardware=machine, all_analog=True, samples=200, draws=4)[0]
        print(f"output noise {noise}: margin {found.mean:.2f}, digital {found.baseline:.2f}")


if __name__ == "__main__":
    main()
