"""One step of LSTM, GRU and RNN, with the gates in ONNX's order (onnx, docs/Operators.md).

``x`` is the input's share of all gates with its biases, ``(sequences, gates · hidden)``, ``h`` the state, None where
it is 0: then no product is computed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lhc.canonical.site import OperatorSite
from lhc.onnx_io.constants import Array

__all__ = ["RecurrentCell", "cell_of"]

Kind = Literal["LSTM", "GRU", "RNN"]
_KINDS: dict[str, Kind] = {"LSTM": "LSTM", "GRU": "GRU", "RNN": "RNN", "DynamicQuantizeLSTM": "LSTM"}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


@dataclass(frozen=True, eq=False)
class RecurrentCell:
    """One direction of a recurrent operator.

    Attributes:
        site: that is rewritten.
        hidden: size of the state.
        activation: of an RNN.
        weights: recurrent matrices ``(hidden, outputs)`` by name: ``r``, or ``r_gates`` and ``r_new`` of a GRU that
            resets before it multiplies.
        driven: what the state is before it is multiplied.
        bias: of the recurrent product, ``(hidden,)``, which a GRU adds that resets after it multiplies.
    """

    site: OperatorSite
    kind: Kind
    hidden: int
    activation: str
    weights: dict[str, str]
    driven: Callable[[str], str]
    bias: str = ""

    def step(self, part: str, x: str, h: str | None, c: str | None) -> tuple[str, str | None]:
        """State (and an LSTM's cell) after a step.

        Args:
            part: of the operator, for the name of the product.
            x: the input's share.
            h: state before.
            c: cell before, of an LSTM.
        """
        if self.kind == "LSTM":
            return self._lstm(part, x, h, c)
        if self.kind == "GRU":
            return self._gru(part, x, h), None
        return self.site.add(self.activation, self._with(part, "r", x, h)), None

    def _with(self, part: str, weight: str, x: str, h: str | None) -> str:
        if h is None:
            return x
        return self.site.add("Add", x, self._product(part, weight, h))

    def _product(self, part: str, weight: str, h: str) -> str:
        return self.site.product(part, "MatMul", self.driven(h), self.weights[weight])

    def _gate(self, x: str, number: int, activation: str) -> str:
        size = self.hidden
        return self.site.add(activation, self.site.cut(x, number * size, (number + 1) * size, 1))

    def _lstm(self, part: str, x: str, h: str | None, c: str | None) -> tuple[str, str]:
        gates, add = self._with(part, "r", x, h), self.site.add
        i, o, f = (self._gate(gates, number, "Sigmoid") for number in range(3))
        new = add("Mul", i, self._gate(gates, 3, "Tanh"))
        cell = new if c is None else add("Add", add("Mul", f, c), new)
        return add("Mul", o, add("Tanh", cell)), cell

    def _gru(self, part: str, x: str, h: str | None) -> str:
        add, cut, size = self.site.add, self.site.cut, self.hidden
        x_gates, x_new = cut(x, 0, 2 * size, 1), cut(x, 2 * size, 3 * size, 1)
        if h is None:
            z, r = self._gate(x_gates, 0, "Sigmoid"), self._gate(x_gates, 1, "Sigmoid")
            new = add("Tanh", add("Add", x_new, add("Mul", r, self.bias)) if self.bias else x_new)
            return add("Sub", new, add("Mul", z, new))
        if "r" in self.weights:
            of_state = self._product(part, "r", h)
            gates = add("Add", x_gates, cut(of_state, 0, 2 * size, 1))
            z, r = self._gate(gates, 0, "Sigmoid"), self._gate(gates, 1, "Sigmoid")
            recurrent = cut(of_state, 2 * size, 3 * size, 1)
            recurrent = add("Add", recurrent, self.bias) if self.bias else recurrent
            new = add("Tanh", add("Add", x_new, add("Mul", r, recurrent)))
        else:
            gates = self._with(f"{part}_gates", "r_gates", x_gates, h)
            z, r = self._gate(gates, 0, "Sigmoid"), self._gate(gates, 1, "Sigmoid")
            new = add("Tanh", self._with(f"{part}_new", "r_new", x_new, add("Mul", r, h)))
        return add("Add", add("Sub", new, add("Mul", z, new)), add("Mul", z, h))


def cell_of(
    site: OperatorSite, direction: int, suffix: str, w: Array, r: Array, driven: Callable[[str], str]
) -> tuple[RecurrentCell, Array, Array | None] | None:
    """A direction's cell, its input matrix ``(inputs, gates · hidden)`` and its bias; None for unusual ones.

    Args:
        w: input weights ``(gates · hidden, inputs)``.
        r: recurrent weights ``(gates · hidden, hidden)``.
        driven: what a tensor is before it is multiplied.
    """
    kind: Kind = _KINDS[site.node.op_type]
    hidden, gates = r.shape[1], _GATES[kind]
    if len(w) != gates * hidden or len(r) != gates * hidden:
        return None
    activations = [a.decode() for at in site.node.attribute if at.name == "activations" for a in at.strings]
    own = activations[direction * len(_ACTIVATIONS[kind]) :][: len(_ACTIVATIONS[kind])] or _ACTIVATIONS[kind]
    if own != _ACTIVATIONS[kind] and (kind != "RNN" or own not in (["Relu"], ["Sigmoid"])):
        return None
    both = site.value(3)[direction] if site.name(3) else np.zeros(2 * gates * hidden, w.dtype)
    of_input, of_state = np.split(both, 2)
    bias, after = of_input + of_state, ""
    name = f"{site.name(2)}{suffix}"
    weights = {"r": r.T}
    if kind == "GRU" and site.integer("linear_before_reset"):
        bias = of_input + np.where(np.arange(len(of_state)) < 2 * hidden, of_state, 0).astype(of_state.dtype)
        after = site.store(f"{site.name(3) or name}/after_reset", of_state[2 * hidden :])
    elif kind == "GRU":
        weights = {"r_gates": r[: 2 * hidden].T, "r_new": r[2 * hidden :].T}
    held = {key: site.store(f"{name}/{key}", matrix) for key, matrix in weights.items()}
    return RecurrentCell(site, kind, hidden, own[0], held, driven, after), w.T, bias if site.name(3) else None
