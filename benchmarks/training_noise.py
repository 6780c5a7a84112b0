"""Which weight noise makes training most useful, what the devices do or noise of a simple law; and which rate.

    python -m benchmarks.training_noise -o training_noise.json [--seeds 3]

The digits of the package, all layers analog, one day after programming: 600 steps of 64 images, rate 0.01. A network
is judged by the full emulation of the same ten chips on the 797 digits that were not trained with. Rows that exist are
kept; a second run does the missing ones.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import lhc
from benchmarks.digits_retraining import training_digits
from lhc.hardware import Hardware
from lhc.models import zoo_entry
from lhc.support.files import write_file

STEPS, BATCH, RATE = 600, 64, 0.01
LAWS: dict[str, tuple[str, float] | None] = {
    "devices": None,
    "relative to each weight, 4 %": ("multiplicative", 0.04),
    "relative to each weight, 8 % (the preset)": ("multiplicative", 0.08),
    "relative to each weight, 16 %": ("multiplicative", 0.16),
    "relative to the greatest weight, 2 %": ("additive", 0.02),
    "relative to the greatest weight, 4 %": ("additive", 0.04),
    "relative to the greatest weight, 8 %": ("additive", 0.08),
}
"""Law and size of the noise; None: aihwkit's device model with drift and its compensation."""
RATES = (0.001, 0.003, 0.03)
"""Other learning rates, with the noise of the devices."""


def drop(law: tuple[str, float] | None, rate: float, seed: int) -> float:
    """Mean drop after training, as a share."""
    hardware = Hardware.load("lionheart")
    if law is not None:
        changed = {"weight_noise_type": law[0], "weight_noise": law[1]}
        hardware = hardware.model_copy(update={"training": hardware.training.model_copy(update=changed)})
    result = lhc.retrain(
        "digits-narrow",
        zoo_entry("digits").task(),
        train_data=training_digits(),
        hardware=hardware,
        all_analog=True,
        steps=STEPS,
        batch_size=BATCH,
        learning_rate=rate,
        noise="devices" if law is None else "preset",
        seed=seed,
    )
    outcome = result.plan.outcome
    assert outcome is not None
    return outcome.drop


def main() -> None:
    """Run what is missing, then print means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    where: Path = options.out
    found: dict[str, float] = json.loads(where.read_text()) if where.exists() else {}
    rows = {name: (law, RATE) for name, law in LAWS.items()}
    rows |= {f"devices, rate {rate}": (None, rate) for rate in RATES}
    for name, (law, rate) in rows.items():
        for seed in range(options.seeds):
            if f"{name}|{seed}" in found:
                continue
            started = time.process_time()
            found[f"{name}|{seed}"] = drop(law, rate, seed)
            write_file(where, lambda file: file.write(json.dumps(found, indent=1).encode()))
            print(f"{name}, seed {seed}: {found[f'{name}|{seed}']:.4f}, {time.process_time() - started:.0f} CPU s")
        points = 100 * np.array([found[f"{name}|{seed}"] for seed in range(options.seeds)])
        print(f"{name}: drop {points.mean():.2f} points, {points.min():.2f} to {points.max():.2f}", flush=True)


if __name__ == "__main__":
    main()
