"""A training step of ResNet20 under the noise of tiles, against a digital distillation step in plain torch.

All layers are analog, chips are calibrated (preset ``lionheart``); batches are the default's. The plain step runs the
teacher, too.

``LHC_DATA=FOLDER OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/speed_training.py``
"""

from collections.abc import Sequence

import torch

from benchmarks.timing import best_in_turn, options, resnet20, write
from lhc.hardware import Hardware
from lhc.models import zoo_entry
from lhc.onnx_io import load_model, read_graph
from lhc.options.training import TrainingOptions
from lhc.train.losses import kl_divergence
from lhc.train.training_setup import TrainingSetup

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Time both in turn."""
    assert __doc__
    chosen = options(__doc__, count=1280, repeats=8).parse_args(arguments)
    torch.set_num_threads(1)
    proto, student = resnet20()
    _, teacher = resnet20()
    model, task, hardware = (
        load_model(proto),
        zoo_entry("resnet20").task().head(chosen.images),
        Hardware.load("lionheart"),
    )
    settings = TrainingOptions(steps=100)
    graph = read_graph(model)
    setup = TrainingSetup(model, graph, hardware, {}, hardware.t_inference_s, task, settings, lambda *_: None)
    trainer = setup.trainer(settings.steps_for(len(task)))
    trainer.begin([layer.name for layer in graph.candidates])
    x = torch.from_numpy(task.inputs["x"][: settings.batch_size])
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-6)

    def plain() -> None:
        with torch.no_grad():
            wanted = teacher(x)
        loss = kl_divergence(student(x), wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    digital, ours = best_in_turn([plain, lambda: trainer.train_step(1.0)], chosen.repeats)
    slower = ours.cpu_s / digital.cpu_s
    print(f"plain torch, digital: {digital}")
    print(f"lhc, under noise: {ours}: {slower:.2f} times as long")
    write(chosen.output, {"digital": digital, "lhc": ours, "slower": slower})


if __name__ == "__main__":
    main()
