"""A network in training: its parameters, and the products that are analog in it."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from lhc.errors import ModelError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.onnx_model import OnnxModel, opset_of
from lhc.options.training import WeightNoise
from lhc.runtime.gradients.network import DifferentiableModel, parity, parity_limit
from lhc.runtime.gradients.operators.elementwise import tensor_of
from lhc.runtime.torch_settings import computing_on
from lhc.samples.task import Array
from lhc.train.analog_products import TrainingProduct
from lhc.train.chip_noise import chip_of
from lhc.train.trained_tensors import Trained

PARITY = 1e-3
"""Greatest difference from onnxruntime, relative to the greatest magnitude of a tensor: float32 sums in other order,
through many layers (SmolLM2: up to 2e-4)."""
WRITTEN_PARITY = 1e-2
"""The same of trained weights that were written: rounding through many layers differs with the weights, and a training
is not to be lost to it. Weights that are written wrongly differ by far more."""
_LEAST_RANGE = 1e-6
_LEAST_SIZE = 1e-3
"""Least size that steps of Adam are relative to; biases can be all 0."""
_RANGE = "input range of "
"""Begins the key of a layer's input range among the trained tensors."""


def ranges_in(weights: Mapping[str, Array]) -> dict[str, float]:
    """Trained input ranges by layer, from what `NoisyNetwork.weights` gives."""
    return {name.removeprefix(_RANGE): float(value) for name, value in weights.items() if name.startswith(_RANGE)}


class _Network(DifferentiableModel):
    """The differentiable network with the trained tensors as parameters, equal ones as one."""

    def __init__(self, model: OnnxModel, graph: LayerGraph, trained: Trained) -> None:
        super().__init__(model, graph)
        # What is not trained is a constant; weights that operators make of stored ones are made by these operators.
        stored = {tensor.name for tensor in model.proto.graph.initializer}
        for name, value in list(self._parameters.items()):
            del self._parameters[name]
            if value is not None and name in stored:
                self._constants[name] = value.detach()
        for name, start in trained.values.items():
            self._parameters[name] = nn.Parameter(tensor_of(start).clone())
        for name, of in trained.aliases.items():
            self._parameters[name] = self._parameters[of]
        self._constants = {k: v for k, v in self._constants.items() if k not in self._parameters}


class NoisyNetwork:
    """A differentiable network some of whose products carry the errors of analog tiles.

    Attributes:
        module: the network; all digital without replacements.
    """

    def __init__(
        self,
        model: OnnxModel,
        graph: LayerGraph,
        trained: Trained,
        hardware: Hardware,
        t_s: float,
        noise: WeightNoise = "devices",
        ranges: Mapping[str, tuple[float, ...]] | None = None,
        copies: Mapping[str, int] | None = None,
    ) -> None:
        """Prepare; everything is digital at first.

        Args:
            t_s: time of inference that training is for.
            ranges: static input ranges by layer, where the hardware has them; they are trained from their greatest
                value on, as one for all row splits.
            copies: of the weights on tiles, by layer; one where it is missing.
        """
        self.module = _Network(model, graph, trained)
        self.analog: dict[str, TrainingProduct] = {}
        self._graph = graph
        self._trained = trained
        starts = {**trained.values, **{name: trained.values[of] for name, of in trained.aliases.items()}}
        self._start = {name: tensor_of(value) for name, value in starts.items()}
        self._hardware = hardware
        self._t_s = t_s
        self._noise: WeightNoise = noise
        self._copies = copies or {}
        self._ranges = {
            name: nn.Parameter(torch.tensor(max(values), dtype=torch.float32))
            for name, values in (ranges or {}).items()
            if hardware.for_layer(name).dac.scaling == "static"
        }
        self._learns_ranges = hardware.training.learn_input_range
        self._nodes = {node.name: node for node in model.proto.graph.node}
        self._opset = opset_of(model.proto)

    @property
    def device(self) -> torch.device:
        """Device that computes; the CPU at first."""
        return self.module.device

    def check(self, feeds: Mapping[str, Array], exact: float = PARITY) -> None:
        """Make sure that the network computes what onnxruntime does, product by product.

        Args:
            exact: greatest difference from it of a network that computes in float32 and does not round.

        Raises:
            ModelError: a tensor differs, or the network cannot be differentiated; names the layer or output.
        """
        limit = parity_limit(self.module, exact)
        for name, difference in parity(self.module, feeds).items():
            if not difference <= limit:
                raise ModelError(
                    f"{self.module.model.label}: {name!r} differs between onnxruntime and the network that would be"
                    f" trained by {difference:.2g} of its greatest value; it cannot be retrained"
                )

    def to(self, device: torch.device) -> None:
        """Compute on another device."""
        self.module.compute_on(device)
        self._start = {name: value.to(device) for name, value in self._start.items()}
        for parameter in self._ranges.values():
            parameter.data = parameter.data.to(device)

    def place(self, analog: Iterable[str]) -> None:
        """Make exactly these products analog."""
        self.analog = {name: self._product(name) for name in sorted(analog)}

    def _product(self, name: str) -> TrainingProduct:
        hardware = self._hardware.for_layer(name)
        layer, ranges, copies = self._graph[name], self._ranges.get(name), self._copies.get(name, 1)
        return TrainingProduct(self._nodes[name], layer, self._opset, hardware, ranges, copies)

    def draw(self, strength: float, several_calls: bool = False) -> None:
        """Put a new chip's errors on the analog products, from torch's global generator.

        Args:
            strength: share of the full noise.
            several_calls: a batch takes more than one call, all of them on this chip.
        """
        names = {layer.weight.name: layer.name for layer in map(self._graph.__getitem__, self.analog) if layer.weight}
        with torch.no_grad(), computing_on(self.device):
            weights = self.module({}, list(names))
            for group in self._graph.tied(self.analog):
                first = self._graph[group[0]]
                assert first.weight is not None
                matrix = self.analog[first.name].form.matrix(weights[first.weight.name])
                hardware = self._hardware.for_layer(first.name)
                drawn = chip_of(matrix, hardware, self._t_s, self._noise, self._copies.get(first.name, 1))
                if len(group) > 1 or several_calls:
                    drawn = drawn.made(matrix)
                for name in group:
                    self.analog[name].drawn, self.analog[name].strength = drawn, strength

    def __call__(self, feeds: Mapping[str, Array], output: str) -> Tensor:
        """The output on the chip that was drawn last."""
        found: Tensor = self.module(feeds, [output], self.analog)[output]
        return found

    @torch.no_grad()
    def digital(self, feeds: Mapping[str, Array], output: str) -> Tensor:
        """The output without tiles, as it was before anything was trained."""
        found: Tensor = self.module({**feeds, **self._start}, [output])[output]
        return found

    def clipped_weights(self) -> list[tuple[nn.Parameter, float]]:
        """Weights of analog products that the hardware clips, each with its number of standard deviations."""
        parameters = dict(self.module.named_parameters())
        found = []
        for name in self.analog.keys() & self._trained.of_layer.keys():
            sigma = self._hardware.for_layer(name).training.clip_sigma
            if sigma is not None:
                found.append((parameters[self._trained.of_layer[name]], sigma))
        return found

    @torch.no_grad()
    def keep_ranges_positive(self) -> None:
        """Keep the input ranges that are trained above 0."""
        for parameter in self._ranges.values():
            parameter.clamp_(min=_LEAST_RANGE)

    def parameters(self, analog: bool) -> list[tuple[nn.Parameter, float]]:
        """Weights of analog products; or all else that is trained, input ranges of analog products too. Each once.

        Each with the size that steps of Adam are relative to.
        """
        chosen = {self._trained.of_layer.get(name) for name in self.analog}
        found = [(name, p) for name, p in self.module.named_parameters() if (name in chosen) == analog]
        sizes = self._trained.sizes
        return [(p, sizes.get(name) or _size(p)) for name, p in (*found, *(() if analog else self._trained_ranges()))]

    def weights(self, every: bool = False) -> dict[str, Array]:
        """Copies of all trained tensors by name, see also `ranges_in`; ``every``: ranges of digital products too."""
        return {name: np.array(p.detach().cpu().numpy()) for name, p in self._named(every)}

    def load(self, weights: Mapping[str, Array]) -> None:
        """Set trained tensors; those that are not given stay."""
        with torch.no_grad():
            for name, parameter in self._named(every=True):
                if name in weights:
                    parameter.copy_(torch.from_numpy(np.array(weights[name])))

    def _named(self, every: bool) -> Iterator[tuple[str, nn.Parameter]]:
        yield from self.module.named_parameters()
        yield from ((_RANGE + name, parameter) for name, parameter in self._trained_ranges(every))

    def _trained_ranges(self, every: bool = False) -> Iterator[tuple[str, nn.Parameter]]:
        """Input ranges that are trained, of the analog products or of every one; none where the hardware fixes them."""
        if self._learns_ranges:
            yield from ((name, p) for name, p in self._ranges.items() if every or name in self.analog)


def _size(parameter: Tensor) -> float:
    """Root mean square of a tensor, at least `_LEAST_SIZE`."""
    return max(float(parameter.detach().square().mean().sqrt()), _LEAST_SIZE)
