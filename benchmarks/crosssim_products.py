"""Products of one linear and one convolutional layer, by lhc and by Sandia's CrossSim, side by side.

    git clone --branch v3.2.0 https://github.com/sandialabs/cross-sim
    python benchmarks/crosssim_products.py cross-sim -o crosssim.json

CrossSim (BSD licence; numpy and scipy are all that it needs, torch for the convolution) is read from that folder, not
installed. Both are told the same machine, in each one's own words. What is compared is the error of the product,
std(y - y0) / std(y0) over all outputs, y0 being the exact product; mean over chips where devices err.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from lhc.hardware import Hardware
from lhc.runtime import HybridSession

Array = npt.NDArray[Any]
G_MAX = 25.0
LAYERS = ("linear", "convolution")


@dataclass(frozen=True)
class Case:
    """A machine: its name in the table, and what both are told of it.

    Attributes:
        name: what it shows.
        proportional, independent: deviation of a programmed conductance, as a share of itself, or of g_max.
        on_off: ratio of g_max and g_min; None: without end.
        two_sided: pairs.
        dac_bits, adc_bits: None: ideal.
        clip: static range of the inputs, which lie in ±1.
        share: of the outputs that the range of the ADC holds.
        cell_bits, slices: of weights.
        slice_bits: of inputs.
    """

    name: str
    proportional: float = 0.0
    independent: float = 0.0
    on_off: float | None = None
    two_sided: bool = False
    dac_bits: int | None = None
    adc_bits: int | None = None
    clip: float = 1.0
    share: float = 1.0
    cell_bits: int | None = None
    slices: int = 1
    slice_bits: int | None = None

    @property
    def chips(self) -> bool:
        """Whether devices err."""
        return self.proportional + self.independent > 0


CASES = (
    Case("error proportional to the conductance", proportional=0.1),
    Case("error independent of it, on/off ratio 10", independent=0.02, on_off=10),
    Case("proportional, on/off ratio 5", proportional=0.1, on_off=5),
    Case("proportional, two-sided pairs, on/off ratio 10", proportional=0.1, on_off=10, two_sided=True),
    Case("converters of 6 and 6 bits", dac_bits=6, adc_bits=6),
    Case("static ranges that clip, 7 and 7 bits", dac_bits=7, adc_bits=7, clip=0.6, share=0.99),
    Case("weights in 2 slices of 3 bits, ADC of 8", cell_bits=3, slices=2, adc_bits=8),
    Case("the same, proportional error", cell_bits=3, slices=2, adc_bits=8, proportional=0.1),
    Case("inputs of 8 bits in slices of 1, ADC of 7", dac_bits=8, slice_bits=1, adc_bits=7),
    Case("inputs of 7 bits in slices of 2, ADC of 8, on/off ratio 10", dac_bits=7, slice_bits=2, adc_bits=8, on_off=10),
)


@dataclass(frozen=True)
class Layer:
    """Weights and inputs of a layer, and its exact product."""

    weight: Array
    x: Array
    exact: Array = field(init=False)

    def __post_init__(self) -> None:
        """Compute the product."""
        object.__setattr__(self, "exact", self.run(Hardware.load("ideal"))())

    def run(self, hardware: Hardware) -> Callable[..., Array]:
        """What gives the products of one chip of a machine, by its number."""
        session = HybridSession(self.model(), hardware, "all-analog")

        def outputs(draw: int = 0) -> Array:
            session.program(0, draw)
            return np.asarray(session.run(None, {"x": self.x})[0])

        return outputs

    def model(self) -> onnx.ModelProto:
        """The layer as a network."""
        stored = self.weight if self.weight.ndim == 4 else self.weight.T.copy()
        kind = "Conv" if self.weight.ndim == 4 else "MatMul"
        infos = [helper.make_tensor_value_info(name, 1, [None] * self.x.ndim) for name in ("x", "y")]
        infos[0] = helper.make_tensor_value_info("x", 1, ["n", *self.x.shape[1:]])
        node = helper.make_node(kind, ["x", "w"], ["y"], "layer")
        graph = helper.make_graph([node], "layer", infos[:1], infos[1:], [numpy_helper.from_array(stored, "w")])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def layers() -> dict[str, Layer]:
    """A linear layer of 256 inputs and a 3 x 3 convolution of 16 channels; inputs of both signs within ±1."""
    rng = np.random.default_rng(0)
    drawn = {}
    for name, weight, x in (("linear", (64, 256), (400, 256)), ("convolution", (32, 16, 3, 3), (4, 16, 10, 10))):
        inputs = np.clip(0.35 * rng.standard_normal(x), -1, 1)
        drawn[name] = Layer(rng.standard_normal(weight).astype(np.float32), inputs.astype(np.float32))
    return drawn


def bound_of(case: Case, layer: Layer) -> float:
    """Range of the ADC, in full-scale inputs x full-scale weights: it holds that share of the exact outputs."""
    return float(np.quantile(np.abs(layer.exact), case.share) / np.abs(layer.weight).max() / case.clip)


def machine(case: Case, bound: float) -> Hardware:
    """As lhc is told."""
    spread = [case.independent * G_MAX, case.proportional * G_MAX]  # µS, by powers of g / g_max
    devices = {
        "model": "state_independent",
        "g_max_us": G_MAX,
        "g_min_us": G_MAX / case.on_off if case.on_off else 0.0,
        "pair": "two-sided" if case.two_sided else "one-sided",
        "programming_coefficients_us": spread,
        "drift_scale": 0.0,
        "read_noise_scale": 0.0,
    }
    return Hardware.model_validate(
        {
            "name": case.name,
            "tiles": {"rows": 512, "cols": 512},
            "dac": {"bits": case.dac_bits, "bound": case.clip, "scaling": "none", "slice_bits": case.slice_bits},
            "adc": {
                "bits": case.adc_bits,
                "bound": case.clip * bound if case.adc_bits else None,
                "bound_management": "none",
            },
            "mapping": {"columnwise": False, "cell_bits": case.cell_bits, "slices": case.slices},
            "devices": devices if case.chips or case.on_off else None,
            "compensation": {"drift": "none", "copies": False, "outputs": "none"},
            "t_inference_s": 0.0,
        }
    )


def parameters(case: Case, bound: float) -> Any:  # noqa: ANN401 - CrossSim's
    """As CrossSim is told."""
    kinds = import_module("simulator.parameters.core_parameters")
    told = import_module("simulator").CrossSimParameters()
    told.core.style = kinds.CoreStyle.BALANCED if case.cell_bits is None else kinds.CoreStyle.BITSLICED
    pairs = kinds.BalancedCoreStyle
    told.core.balanced.style = pairs.TWO_SIDED if case.two_sided else pairs.ONE_SIDED
    if case.cell_bits is not None:
        told.core.weight_bits = case.cell_bits * case.slices + 1  # with the sign
        told.core.bit_sliced.num_slices = case.slices
    told.core.mapping.inputs.mvm.min, told.core.mapping.inputs.mvm.max = -case.clip, case.clip
    device = told.xbar.device
    device.infinite_on_off_ratio = case.on_off is None
    device.Rmin, device.Rmax = 1e4, 1e4 * (case.on_off or 1e6)
    if case.chips:
        device.programming_error.enable = True
        device.programming_error.model = f"Normal{'Proportional' if case.proportional else 'Independent'}Device"
        device.programming_error.magnitude = case.proportional or case.independent
    if case.dac_bits:
        told.xbar.dac.mvm.model, told.xbar.dac.mvm.bits = "SignMagnitudeDAC", case.dac_bits
    if case.slice_bits:
        told.xbar.dac.mvm.input_bitslicing, told.xbar.dac.mvm.slice_size = True, case.slice_bits
        told.xbar.adc.mvm.adc_per_ibit = True
    if case.adc_bits:
        limit = bound * device.Grange_norm  # of conductances as they are, not as weights
        told.xbar.adc.mvm.model, told.xbar.adc.mvm.bits = "SignMagnitudeADC", case.adc_bits
        limits = [-limit, limit]
        told.xbar.adc.mvm.calibrated_range = [limits] * case.slices if case.cell_bits else limits
    return told


def crosssim_outputs(case: Case, layer: Layer, bound: float, draw: int) -> Array:
    """CrossSim's products."""
    np.random.seed(draw)  # noqa: NPY002 - CrossSim draws from it
    told = parameters(case, bound)
    if layer.weight.ndim == 2:
        core = import_module("simulator").AnalogCore(layer.weight, told)
        return np.asarray((core @ layer.x.T).T)
    import torch

    outputs, inputs, *kernel = layer.weight.shape
    module = import_module("simulator.algorithms.dnn.torch.conv").AnalogConv2d(
        told, inputs, outputs, tuple(kernel), bias=False
    )
    module.weight.data = torch.from_numpy(layer.weight)
    module.reinitialize()
    with torch.no_grad():
        return np.asarray(module.eval()(torch.from_numpy(layer.x)).numpy())


def error_of(outputs: Array, exact: Array) -> float:
    """Of a product."""
    return float((outputs - exact).std() / exact.std())


def compared(case: Case, layer: Layer, chips: int) -> dict[str, float]:
    """Errors of both in percent, and their ratio less 1."""
    bound = bound_of(case, layer)
    draws = range(chips if case.chips else 1)
    ours = layer.run(machine(case, bound))
    found = {
        "lhc": 100 * float(np.mean([error_of(ours(draw), layer.exact) for draw in draws])),
        "crosssim": 100
        * float(np.mean([error_of(crosssim_outputs(case, layer, bound, draw), layer.exact) for draw in draws])),
    }
    return found | {"difference": 100 * (found["lhc"] / found["crosssim"] - 1)}


def main() -> None:
    """Compare and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="checkout of CrossSim")
    parser.add_argument("-o", type=Path, help="JSON of all figures")
    parser.add_argument("--chips", type=int, default=20)
    options = parser.parse_args()
    sys.path.insert(0, str(options.folder))
    results: dict[str, dict[str, dict[str, float]]] = {}
    print("| machine |", " | ".join(f"{name}: lhc | CrossSim | difference" for name in LAYERS), "|")
    print("|---|", "---:|" * 6, sep="")
    both = layers()
    for case in CASES:
        rows = results[case.name] = {name: compared(case, both[name], options.chips) for name in LAYERS}
        cells = [f"{row['lhc']:.3f} % | {row['crosssim']:.3f} % | {row['difference']:+.2f} %" for row in rows.values()]
        print(f"| {case.name} | {' | '.join(cells)} |", flush=True)
    if options.o:
        options.o.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
