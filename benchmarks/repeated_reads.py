"""Reads that bound management repeats in ResNet20's first layer with nine copies: by the formula, and counted.

``LHC_DATA=FOLDER PYTHONPATH=. python benchmarks/repeated_reads.py``

Every round of reads ends in one call of aihwkit's conversion by ADCs: the vectors of all these calls, in the engine
``aihwkit``, over those of the layer. The formula (docs/costs.md) has the sums of as many images as ``partition`` takes.
"""

import argparse
from typing import Any
from unittest.mock import patch

import numpy as np
from aihwkit.simulator.tiles.analog_mvm import AnalogMVM

import lhc
from lhc.hardware import Hardware
from lhc.hardware.converters import repeated_reads
from lhc.models import zoo_entry
from lhc.onnx_io import load_model, read_graph
from lhc.runtime import HybridSession
from lhc.runtime.calibration.converter_ranges import calibrate_sums

LAYER, COPIES, VECTORS = "conv1", 9, 32 * 32
"""Vectors of an image."""


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    images = parser.parse_args().images
    source, machine = zoo_entry("resnet20").model(), Hardware.load("lionheart")
    x = np.asarray(zoo_entry("resnet20").task().inputs["x"][:images])
    model = load_model(source)
    graph = read_graph(model)
    sums = calibrate_sums(model, graph, machine, [LAYER], [(images, {"x": x})], {}, machine.t_inference_s)[LAYER]
    plan = lhc.analyze(source, hardware=machine).plan.decide({LAYER: ("analog", "forced", "")})
    session = HybridSession(source, placement=plan.with_copies(graph, {LAYER: COPIES}), engine="aihwkit")
    session.program()
    session.drift_to(machine.t_inference_s)
    convert, read = AnalogMVM._finalize_output, 0

    def counted(z: Any, *others: Any) -> Any:  # noqa: ANN401 - aihwkit is untyped
        nonlocal read
        read += z.shape[-1]
        return convert(z, *others)

    with patch.object(AnalogMVM, "_finalize_output", counted):
        session.run(None, {"x": x})
    print(
        f"{LAYER}, {COPIES} copies: further reads of a vector {repeated_reads(machine, sums, COPIES):.2f} by the"
        f" formula, {read / (images * VECTORS) - 1:.2f} counted"
    )


if __name__ == "__main__":
    main()
