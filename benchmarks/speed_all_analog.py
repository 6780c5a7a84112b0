"""ResNet20 wholly analog: lhc against aihwkit's `convert_to_analog` and against onnxruntime without any noise.

Everything is on LionHeart's tile (256x255, PCM, 8-bit converters, every vector scaled), one day after programming.
Programming is not timed. aihwkit is timed with its torch tile and, where it runs, its C++ tile (`speed_linear.py` says
where, and how it is fastest), at several batch sizes; the best one counts.

``LHC_DATA=FOLDER OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/speed_all_analog.py``
"""

from collections.abc import Sequence

import torch

from benchmarks.timing import (
    analog_copy,
    best_in_turn,
    cpp_config,
    images,
    options,
    plain_session,
    resnet20,
    run_batches,
    write,
)
from lhc.runtime import HybridSession

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Time all three in turn."""
    assert __doc__
    parser = options(__doc__, count=192)
    parser.add_argument("--batches", type=int, nargs="+", default=[5, 10, 20], help="batch sizes of aihwkit")
    chosen = parser.parse_args(arguments)
    x = images(chosen.images)
    model, network = resnet20()
    plain, hybrid = plain_session(model), HybridSession(model, placement="all-analog")
    analog, config, tensor = {"torch": analog_copy(network)}, cpp_config(), torch.from_numpy(x)
    if config is not None:
        analog["C++"] = analog_copy(network, config=config)

    def peer(tile: str, batch: int) -> None:
        with torch.inference_mode():
            for part in torch.split(tensor, batch):
                analog[tile](part)

    forms = [(tile, batch) for tile in analog for batch in chosen.batches]

    digital, ours, *others = best_in_turn(
        [
            lambda: run_batches(plain, x, 64),
            lambda: run_batches(hybrid, x, 64),
            *(lambda form=form: peer(*form) for form in forms),
        ],
        chosen.repeats,
    )
    peers = {f"{tile} tile, batches of {batch}": spent for (tile, batch), spent in zip(forms, others, strict=True)}
    fastest = min(peers, key=lambda form: peers[form].cpu_s)
    for form, spent in peers.items():
        print(f"aihwkit, {form}: {spent}")
    print(f"onnxruntime, digital: {digital}")
    print(f"lhc, all analog: {ours}")
    faster, slower = peers[fastest].cpu_s / ours.cpu_s, ours.cpu_s / digital.cpu_s
    print(f"{len(x)} images: lhc {faster:.2f} times as fast as aihwkit, {slower:.2f} times as long as digital")
    write(chosen.output, {"aihwkit": peers, "digital": digital, "lhc": ours, "faster": faster, "slower": slower})


if __name__ == "__main__":
    main()
