"""LSTM, GRU and RNN: the input matrix for all steps at once, the recurrent one step by step.

    gates(t) = (x W)(t) + b + h(t - 1) R

DynamicQuantizeLSTM is com.microsoft's (onnxruntime, docs/ContribOperators.md): W (directions, inputs, gates · hidden)
and R are integers, and x and h are rounded to 8 bits of their own range before each product.

The steps are written out, all by the same recurrent weights, which are programmed once. Parts are ``input`` and
``recurrent_T``, with ``_reverse`` behind for the other direction. Where the file leaves the number of steps open and
samples tell it, a Reshape to that number comes first, which fails for any other. Operators of more than `MOST_STEPS`
steps, of sequences of different lengths, with peepholes, clipping or unusual activations stay as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lhc.canonical.integer_operands import codes_of_own_range, float_codes
from lhc.canonical.rewrite_context import RewriteContext
from lhc.canonical.rule_registry import rule
from lhc.onnx_io.operators.mac_counting import kept_whole, steps_of
from lhc.onnx_io.read.constants import Array

_SUFFIXES = {"forward": ("",), "reverse": ("_reverse",), "bidirectional": ("", "_reverse")}
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

    site: RewriteContext
    kind: Kind
    hidden: int
    activation: str
    weights: dict[str, str]
    driven: Callable[[str], str]
    bias: str = ""

    def step(self, part: str, x: str, h: str | None, c: str | None) -> tuple[str, str | None]:
        """State (and an LSTM's cell) after a step, with the gates in ONNX's order (onnx, docs/Operators.md).

        Args:
            part: of the operator, for the name of the product.
            x: the input's share of all gates with its biases, ``(sequences, gates · hidden)``.
            h: state before; None where it is 0: then no product is computed.
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


def _cell_of(
    site: RewriteContext, direction: int, suffix: str, w: Array, r: Array, driven: Callable[[str], str]
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


@rule("GRU", "LSTM", "RNN")
def rewrite(site: RewriteContext) -> bool:
    """Rewrite where weights are constant and the number of steps is known and small."""
    if not site.is_constant(1) or not site.is_constant(2):
        return False
    weights = site.value(1), site.value(2)
    return weights[0].dtype.name in ("float16", "float32", "float64") and _written_out(site, *weights, lambda x: x)


@rule("DynamicQuantizeLSTM", domain="com.microsoft", on_request=True)
def rewrite_quantised(site: RewriteContext) -> bool:
    """Rewrite a DynamicQuantizeLSTM likewise."""
    if not all(site.is_constant(index) for index in (1, 2, 8, 9, 10, 11)):
        return False

    def rounded(x: str) -> str:
        codes, scale, zero = codes_of_own_range(site, x)
        return float_codes(site, codes, zero, scale)

    return _written_out(site, _dequantised(site, 1, 8), _dequantised(site, 2, 10), rounded)


def _dequantised(site: RewriteContext, weight: int, scale: int) -> Array:
    """Weights as an LSTM has them, (directions, gates · hidden, inputs); zero points follow scales.

    Both are one for a direction, or one for every output of it.
    """
    codes = site.value(weight).astype(np.float32)
    scales, zeros = (site.value(index).astype(np.float32).reshape(len(codes), 1, -1) for index in (scale, scale + 1))
    values: Array = ((codes - zeros) * scales).swapaxes(1, 2)
    return values


def _written_out(site: RewriteContext, w: Array, r: Array, driven: Callable[[str], str]) -> bool:
    """Rewrite for these input and recurrent weights; ``driven`` gives what a tensor is before it is multiplied."""
    suffixes = _SUFFIXES.get(site.text("direction", "forward").lower())
    steps = _steps(site)
    is_open = bool(site.control)
    if suffixes is None or steps is None or kept_whole(site.node, site.constants.__contains__) is not None:
        return False
    held = [(w, 3), (r, 3), *([(site.value(3), 2)] if site.name(3) else [])]
    if any(array.ndim != axes or len(array) != len(suffixes) for array, axes in held):
        return False  # onnxruntime refuses them when it runs
    cells = [_cell_of(site, number, suffix, w[number], r[number], driven) for number, suffix in enumerate(suffixes)]
    if any(found is None for found in cells):
        return False
    x = site.name(0)
    if site.integer("layout"):
        x = site.add("Transpose", x, perm=[1, 0, 2])
    if is_open:
        sizes = [steps, 0, w.shape[2]]
        x = site.add("Reshape", x, site.numbers(sizes))
        site.nodes[-1].name = f"{site.node.name}/only_{steps}_steps"
    states: list[list[str]] = []
    last: list[tuple[str, str | None]] = []
    x = driven(x)
    for number, (found, suffix) in enumerate(zip(cells, suffixes, strict=True)):
        assert found is not None
        cell, matrix, bias = found
        share = site.product(f"input{suffix}", "MatMul", x, site.store(f"{site.name(1)}{suffix}/w", matrix))
        if bias is not None:
            share = site.add("Add", share, site.store(f"{site.name(3)}{suffix}/b", bias))
        h, c, outputs = _run(site, cell, share, number, steps, suffix)
        states.append(outputs)
        last.append((h, c))
    _write(site, states, last)
    return True


def _steps(site: RewriteContext) -> int | None:
    """How many steps there are, where these are few."""
    shape = site.shape(site.name(0))
    axis = 1 if site.integer("layout") else 0
    if shape is not None and len(shape) == 3 and isinstance(shape[axis], int):
        site.control = ""
    elif site.control:
        shape = (int(site.control),) * 3
    steps = steps_of(site.node, shape)
    return steps if isinstance(steps, int) else None


def _run(
    site: RewriteContext, cell: RecurrentCell, share: str, number: int, steps: int, suffix: str
) -> tuple[str, str | None, list[str]]:
    """State and cell after the last step, and the states of all steps in the order of the input."""
    h, c = (_initial(site, index, number) for index in (5, 6))
    outputs = [""] * steps
    for step in reversed(range(steps)) if suffix else range(steps):
        x = site.add("Gather", share, site.numbers(step), axis=0)
        h, c = cell.step(f"recurrent_{step}{suffix}", x, h, c)
        outputs[step] = h
    assert h is not None
    return h, c, outputs


def _initial(site: RewriteContext, index: int, number: int) -> str | None:
    """Initial state of a direction, ``(sequences, hidden)``; None for 0."""
    if not site.name(index):
        return None
    return site.add("Gather", site.name(index), site.numbers(number), axis=1 if site.integer("layout") else 0)


def _write(site: RewriteContext, states: list[list[str]], last: list[tuple[str, str | None]]) -> None:
    """The operator's outputs: states of all steps, last states, last cells."""
    outputs = [*site.node.output, "", "", ""][:3]
    layout = site.integer("layout")
    if outputs[0]:
        each = [_stacked(site, of_steps, 0) for of_steps in states]
        together = _stacked(site, each, 1, None if layout else outputs[0])
        if layout:  # (steps, directions, sequences, hidden) -> (sequences, steps, directions, hidden)
            site.add("Transpose", together, output=outputs[0], perm=[2, 0, 1, 3])
    for which, output in enumerate(outputs[1:]):
        if output:
            _stacked(site, [state[which] or "" for state in last], 1 if layout else 0, output)


def _stacked(site: RewriteContext, tensors: list[str], axis: int, output: str | None = None) -> str:
    """The tensors side by side along a new axis."""
    if len(tensors) == 1:
        return site.unsqueeze(tensors[0], axis, output)
    return site.add("Concat", *(site.unsqueeze(tensor, axis) for tensor in tensors), output=output, axis=axis)
