"""Retrain MiniLM for all-analog projections, at small scale, and judge it by Spearman's correlation on STS-B.

    LHC_DATA=... python benchmarks/minilm_retraining.py -o FOLDER [--steps 150]

Trains on the development pairs, without their scores (distillation), and judges chips one day after programming on the
first 400 test pairs, of which a third watches the training; of both only sentences of at most 24 tokens. It can be
killed and started again. With ``--adapters R`` no weight is trained, but adapters of rank R, or of a share of the
weights, beside the layers that ``--adapt`` names.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import lhc
from lhc.models import zoo_entry
from lhc.models.minilm import pair_task, read_pairs
from lhc.models.tokens import word_piece_tokenizer
from lhc.models.zoo_entry import data_file
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

LONGEST, PAIRS, DRAWS, BATCH = 24, 400, 5, 16


def short(task: Task) -> Task:
    """The pairs whose sentences are short enough, and no padding beyond that."""
    inputs = {name: np.asarray(array) for name, array in task.inputs.items()}
    few = inputs["attention_mask"].sum(-1).max(-1) <= LONGEST
    assert task.targets is not None
    cut = {name: array[few, :, :LONGEST] for name, array in inputs.items()}
    return Task(cut, np.asarray(task.targets)[few], get_metric("spearman"))


def main() -> None:
    """Train and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--lr", type=float, default=0.003)
    parser.add_argument("--adapters", metavar="R")
    parser.add_argument("--adapt", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--hardware", default="lionheart", metavar="H")
    parser.add_argument("--draws", type=int, default=DRAWS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.process_time()

    def tell(what: str, done: int, total: int) -> None:
        if done % 10 == 0 or done == total:
            print(f"{what}: {done}/{total}, {time.process_time() - started:.0f} CPU s", file=sys.stderr, flush=True)

    development = data_file("development set of the STS benchmark", "text/stsb-en-dev.csv", "stsb-en-dev.csv")
    result = lhc.retrain(
        "minilm",
        short(zoo_entry("minilm").task()).head(PAIRS),
        train_data=short(pair_task(read_pairs(development), word_piece_tokenizer(), 128)),
        steps=options.steps,
        batch_size=BATCH,
        learning_rate=options.lr,
        validations=1,
        all_analog=True,
        adapters=options.adapters,
        adapt=tuple(options.adapt),
        hardware=options.hardware,
        checkpoint=options.out,
        explain=False,
        draws=options.draws,
        progress=tell,
    )
    result.save(options.out / "minilm.lhc.onnx", force=True)
    outcome = result.plan.outcome
    assert outcome is not None
    print(
        result.notes,
        outcome.training_note,
        outcome.drop,
        outcome.interval,
        f"{time.process_time() - started:.0f} CPU s",
    )


if __name__ == "__main__":
    main()
