"""First-order effect of the noise of all analog layers on a network's answers, in one backward pass.

A direction v at the scored output gives the gradient g at the output z of every layer. An error d of z moves the answer
along v by Σ g·d, which `NoisyProduct` sums for the errors of the emulated tiles.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lhc.errors import ModelError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.onnx_io import Constants
from lhc.onnx_io.operators.matrix_product import Product
from lhc.onnx_model import OnnxModel
from lhc.programmed_matrix import Correction, ProgrammedMatrix
from lhc.runtime.gradients.effect_of_one_layer import NoisyProduct
from lhc.runtime.gradients.first_order_effect import Effects
from lhc.runtime.gradients.network import (
    DifferentiableModel,
    UnsupportedOperatorError,
    parity,
    parity_limit,
    with_samples_first,
)
from lhc.runtime.gradients.product_matrices import DifferentiableProduct
from lhc.runtime.onnxruntime.sessions import Array
from lhc.runtime.torch_settings import CPU, computing_on, differentiating, isolated
from lhc.samples.sample_axis import SampleAxis

PARITY = 1e-3
"""Greatest difference of a tensor from onnxruntime's, relative to its greatest value: far below what damage is known
to."""

_ON_CPU = "with --engine fast gradients are computed on the CPU"
_SCORED = ""
"""Name of the scored output with samples first, which is no name of a tensor."""
Floats = npt.NDArray[np.float64]
Directions = Callable[[Array], Array]
"""``output (samples, ...) -> (directions, samples, ...)``."""


class LayerEffects:
    """First-order effects of some layers of a network; layers that share their tiles act together."""

    def __init__(
        self,
        model: OnnxModel,
        graph: LayerGraph,
        hardware: Hardware,
        names: Sequence[str],
        output: str,
        device: torch.device = CPU,
        sample_axis: SampleAxis = 0,
    ) -> None:
        """Prepare the gradients; no layer has programmed tiles yet.

        Args:
            output: the output that is scored.
            device: that gradients, and what they are multiplied with, are computed on.
            sample_axis: of that output, where samples are not first.

        Raises:
            ModelError: steps of ADCs differ.
        """
        if hardware.has_mismatch:
            raise ModelError(
                f"hardware {hardware.name!r} has ADCs whose steps differ (adc.capacitor_mismatch): sensitivities can"
                " only be measured"
            )
        self._network = DifferentiableModel(model, graph)
        self._network.compute_on(device)
        self._nodes = {node.name: node for node in model.proto.graph.node}
        self._constants = Constants(model.proto.graph)
        self._hardware = hardware
        self._names = names
        self._output = output
        self._sample_axis = sample_axis
        self._groups: list[tuple[NoisyProduct, ...]] = []
        self._aligned: Collection[str] = ()

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Computing with gradients; a GPU may fail in more ways than a model can be asked for before.

        Raises:
            ModelError: it fails.
        """
        device = self._network.device
        with differentiating(), computing_on(device):
            try:
                yield
            except RuntimeError as error:
                if device.type == "cpu":
                    raise
                reason = str(error).splitlines()[0]
                failed = f"{self._network.model.label}: gradients fail in torch on {device}: {reason}; {_ON_CPU}"
                raise ModelError(failed) from error

    def check_parity(self, feeds: Mapping[str, Array]) -> None:
        """See that the network in torch computes what onnxruntime does.

        Raises:
            ModelError: it does not, or cannot be differentiated.
        """
        graph = self._network.graph
        with isolated():
            try:
                found = parity(self._network, feeds, [self._output, *(graph[name].outputs[0] for name in self._names)])
            except ModelError as failed:
                if self._network.device.type == "cpu" or isinstance(failed, UnsupportedOperatorError):
                    raise
                raise ModelError(f"{failed}; {_ON_CPU}") from failed
        tensor, error = max(found.items(), key=lambda one: one[1])
        if error > parity_limit(self._network, PARITY):  # a NaN is told from the answers and gradients
            raise ModelError(
                f"{self._network.model.label}: tensor {tensor!r} differs between torch and onnxruntime by {error:.2g}"
                " of its greatest value; sensitivities of this model can only be measured"
            )

    def aligned(self, feeds: Mapping[str, Array], samples: int) -> frozenset[str]:
        """Layers that hold one sample after the other along their first axis, as far as the gradients of one tell.

        An answer's gradient then lies in that sample's part and nowhere else. Other layers are summed over the whole
        block, which has the same expectation (answers' directions are independent) and a larger spread.

        Args:
            feeds: at least as many samples as are counted; of one sample nothing can be told.

        Raises:
            UnsupportedOperatorError: the network cannot be differentiated.
            ModelError: the output has no gradient.
        """
        if samples < 2:
            return frozenset()
        products, chosen = [self._product(name) for name in self._names], samples // 2
        with self._computing():
            tensors = self._tensors(feeds, products)
            output = self._differentiable(tensors)
            probe = torch.zeros_like(output)
            drawn = torch.randn(output.shape[1:], generator=torch.Generator().manual_seed(0), device=CPU)
            probe[chosen] = drawn.to(output.device)
            found = self._gradients(products, tensors, probe)
            by_name = {one.layer.name: one for one in products}
            inside = (n for n, g in found.items() if _only_in_part(by_name[n].outputs(g), len(output), chosen))
            return frozenset(inside)

    def program(
        self,
        chips: Sequence[Mapping[str, ProgrammedMatrix]],
        corrections: Sequence[Mapping[str, Correction]],
        aligned: Collection[str],
    ) -> None:
        """Give the layers tiles.

        Args:
            chips: what the tiles of each draw hold, by tile set.
            corrections: of the outputs of each layer when it alone is analog, per draw; missing where there are none.
            aligned: see there.
        """
        graph, self._groups, self._aligned = self._network.graph, [], aligned
        for group in graph.tied(self._names):
            products = []
            for name in group:
                weight = graph[name].weight
                assert weight is not None
                drawn = [chip[weight.tile_set] for chip in chips]
                corrected = [chip.get(name) for chip in corrections]
                products.append(NoisyProduct(self._product(name), self._hardware.for_layer(name), drawn, corrected))
            self._groups.append(tuple(products))

    def _product(self, name: str) -> DifferentiableProduct:
        layer = self._network.graph[name]
        weight = layer.weight
        assert weight is not None
        form = Product.of_layer(self._nodes[name], layer)
        return DifferentiableProduct(form, layer, self._constants.value(weight.name), self._network.device)

    def block(self, feeds: Mapping[str, Array], samples: int, directions: Directions) -> dict[str, Effects]:
        """Effects of every layer on a block of samples, by the name of the first of those that share tiles.

        Args:
            feeds: inputs; more samples than are counted fill up a fixed batch.
            directions: at the output, given its digital value.

        Raises:
            UnsupportedOperatorError: the network cannot be differentiated.
            ModelError: the output has no gradient, or one that is not finite.
        """
        with self._computing():
            tensors, gradients = self._run(feeds, samples, directions)
            size = len(tensors[_SCORED])
            with torch.no_grad():
                return {
                    group[0].product.layer.name: self._effects(group, tensors, gradients, size)
                    for group in self._groups
                }

    def columns(self, feeds: Mapping[str, Array], samples: int, directions: Directions) -> dict[str, Floats]:
        """Effect of every output of a layer by itself, ``(outputs,)``; arguments, names and errors as of `block`."""
        with self._computing():
            tensors, gradients = self._run(feeds, samples, directions)
            size = len(tensors[_SCORED])
            found: dict[str, Floats] = {}
            with torch.no_grad():
                for group in self._groups:
                    first = group[0].product
                    total = np.zeros(len(first.matrix))
                    for noisy in (one for one in group if one.product.layer.name in gradients[0]):
                        x, at_output, parts = self._operands(noisy, tensors, gradients, size)
                        total += noisy.by_output(x, at_output, parts)
                    self._check_finite(group[0], total)
                    found[first.layer.name] = total
            return found

    def _run(
        self, feeds: Mapping[str, Array], samples: int, directions: Directions
    ) -> tuple[Mapping[str, Tensor], list[dict[str, Tensor]]]:
        """Tensors of the digital network, and the gradients at the layers' outputs, for every direction."""
        products = [noisy.product for group in self._groups for noisy in group]
        tensors = self._tensors(feeds, products)
        cotangents = self._cotangents(self._differentiable(tensors), samples, directions)
        gradients = [self._gradients(products, tensors, vector) for vector in cotangents]
        # Without what gradients were taken through: tensors of all layers, of which some are needed.
        return {name: tensor.detach() for name, tensor in tensors.items()}, gradients

    def _tensors(self, feeds: Mapping[str, Array], products: Sequence[DifferentiableProduct]) -> dict[str, Tensor]:
        """Tensors of the digital network that are needed; the scored output, samples first, is under `_SCORED`."""
        found = self._network(feeds, self._needed(products))
        return {**found, _SCORED: with_samples_first(found[self._output], self._sample_axis)}

    def _operands(
        self, noisy: NoisyProduct, tensors: Mapping[str, Tensor], gradients: Sequence[Mapping[str, Tensor]], size: int
    ) -> tuple[Tensor, list[Tensor], int]:
        """A product's inputs, the gradients at its outputs, and in how many parts, each an answer of its own."""
        product, name = noisy.product, noisy.product.layer.name
        x = product.inputs(tensors[product.form.activation].detach().float())
        parts = size if name in self._aligned and len(x) % size == 0 else 1
        return x, [product.outputs(g[name]) for g in gradients], parts

    def _differentiable(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The scored output."""
        output = tensors[_SCORED]
        if not output.requires_grad:
            raise ModelError(
                f"{self._network.model.label}: output {self._output!r} ({output.dtype}) has no gradient with"
                " respect to any weight; its sensitivities can only be measured"
            )
        return output

    def _needed(self, products: Sequence[DifferentiableProduct]) -> list[str]:
        names = [self._output]
        for one in products:
            names += [one.output, one.form.activation, *filter(None, [one.form.bias])]
        return list(dict.fromkeys(names))

    @staticmethod
    def _cotangents(output: Tensor, samples: int, directions: Directions) -> Tensor:
        """``(directions, *output)``; samples that only fill up the batch have none."""
        given = directions(output[:samples].detach().cpu().numpy())
        vectors = torch.zeros(len(given), *output.shape, dtype=output.dtype, device=output.device)
        vectors[:, :samples] = torch.from_numpy(given).to(vectors)
        return vectors

    def _gradients(
        self, products: Sequence[DifferentiableProduct], tensors: Mapping[str, Tensor], vector: Tensor
    ) -> dict[str, Tensor]:
        """Gradients at the outputs of the layers that the answer depends on, by the layer's name."""
        outputs = {one.layer.name: tensors[one.output] for one in products}
        # The gradient of this sum is the vector, bit for bit; to check one that it is given torch imports sympy.
        along = (tensors[_SCORED] * vector).sum()
        found: Sequence[Tensor | None] = torch.autograd.grad(
            along, list(outputs.values()), retain_graph=True, allow_unused=True
        )
        return {name: g.float() for name, g in zip(outputs, found, strict=True) if g is not None}

    def _effects(
        self,
        group: tuple[NoisyProduct, ...],
        tensors: Mapping[str, Tensor],
        gradients: Sequence[Mapping[str, Tensor]],
        size: int,
    ) -> Effects:
        draws = group[0].draws
        moved: Tensor | None = None
        outputs = np.zeros(draws)
        for noisy in group:
            name = noisy.product.layer.name
            if name not in gradients[0]:
                continue
            product = noisy.product
            x, at_output, parts = self._operands(noisy, tensors, gradients, size)
            exact = product.products(
                tensors[product.output].detach().float(),
                None if product.form.bias is None else tensors[product.form.bias].detach(),
            )
            part, power = noisy.effects(x, product.outputs(exact), at_output, parts)
            outputs += power
            if moved is not None and len(moved) != len(part):
                moved, part = moved.sum(0, keepdim=True), part.sum(0, keepdim=True)
            moved = part if moved is None else moved + part
        if moved is None:
            return Effects(np.zeros(draws), outputs, False)
        squares: Floats = moved.double().square().sum((0, 1)).cpu().numpy()
        self._check_finite(group[0], squares, outputs)
        return Effects(squares, outputs, bool(any(g[n.product.layer.name].any() for n in group for g in gradients)))

    def _check_finite(self, first: NoisyProduct, *effects: Floats) -> None:
        if not all(np.isfinite(one).all() for one in effects):
            raise ModelError(
                f"{self._network.model.label}: the gradient at layer {first.product.layer.name!r} is not finite on"
                " these samples; sensitivities of this model can only be measured"
            )


def _only_in_part(gradient: Tensor, parts: int, part: int) -> bool:
    """Whether a gradient is zero outside one of the equal parts of its first axis, and not in it."""
    if gradient.ndim == 0 or len(gradient) % parts:
        return False
    size = len(gradient) // parts
    inside = gradient[part * size : (part + 1) * size]
    return bool(inside.any()) and int(gradient.count_nonzero()) == int(inside.count_nonzero())
