"""Losses of retraining: functions of the network's output and what it is to be, both tensors with samples first."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from lhc.errors import DataError, UsageError
from lhc.samples.metrics import IGNORED
from lhc.samples.targets import beyond_classes
from lhc.support.load_by_name import load_function

Loss = Callable[[Tensor, Tensor], Tensor]
"""``(output, target) -> scalar``."""
_VALUES = 2**22
"""Logits that are looked at together."""


def kl_divergence(output: Tensor, digital: Tensor) -> Tensor:
    """KL divergence of the softmax over the last axis, from the digital network's; mean over all other axes."""
    found, wanted = (x.reshape(-1, x.shape[-1]) for x in (output, digital))
    divergence: Tensor = _Divergence.apply(found, wanted)  # type: ignore[no-untyped-call]
    return divergence


def relative_squared_error(output: Tensor, digital: Tensor) -> Tensor:
    """Mean squared error against the digital network's output, over its mean square."""
    return functional.mse_loss(output, digital) / digital.square().mean().clamp(min=1e-12)


class _Divergence(torch.autograd.Function):
    """KL divergence of the softmax, mean over rows; some rows at a time, since logits of a text are large.

    The gradient is made with it, so that it is all that is kept, and has no gradient of its own.
    """

    @staticmethod
    def forward(ctx: Any, found: Tensor, wanted: Tensor) -> Tensor:  # noqa: ANN401 - torch's
        total, gradient = found.new_zeros(()), torch.empty_like(found)
        step = max(1, _VALUES // found.shape[1])
        for start in range(0, len(found), step):
            some = slice(start, start + step)
            own, other = (functional.log_softmax(x[some], dim=-1) for x in (found, wanted))
            likely = other.exp()
            total += torch.where(likely == 0, 0.0, likely * (other - own)).sum()  # 0 · log 0 is 0
            gradient[some] = (own.exp() - likely) / len(found)
        ctx.save_for_backward(gradient)
        return total / len(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (gradient,) = ctx.saved_tensors
        return given * gradient, None


def _rows(output: Tensor, class_axis: int) -> Tensor:
    """Scores of classes, ``(positions, classes)``."""
    return output.movedim(class_axis, -1).reshape(-1, output.shape[class_axis])


def cross_entropy(output: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of class indices; classes lie in the last axis. 0 where no label counts."""
    if targets.is_floating_point() or output.ndim < 2 or targets.shape != output.shape[:-1]:
        raise DataError(
            "cross-entropy (--loss, --label-share) needs one integer class per row of the output"
            f" {tuple(output.shape)}; the labels are {targets.dtype} {tuple(targets.shape)}"
        )
    classes, counted = output.shape[-1], targets[targets != IGNORED]
    if counted.numel() and not 0 <= int(counted.min()) <= int(counted.max()) < classes:
        found = beyond_classes(int(counted.min()), int(counted.max()), classes, ignoring=True)
        raise DataError(f"cross-entropy (--loss, --label-share): {found}")
    if not counted.numel():
        return output[..., :0].sum()
    return functional.cross_entropy(output.reshape(-1, classes), targets.reshape(-1).long(), ignore_index=IGNORED)


def mse(output: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error."""
    if targets.numel() != output.numel():
        raise DataError(
            f"--loss mse needs labels of the output's shape {tuple(output.shape)}; they are {tuple(targets.shape)}"
        )
    return functional.mse_loss(output, targets.reshape(output.shape).to(output.dtype))


def load_loss(name: str, class_axis: int | None = None, classes: bool = True) -> Loss:
    """The loss of that name; ``distillation`` takes the digital network's output as its target.

    Args:
        class_axis: of the output, where it is known, for the losses that read classes; else they lie in the last.
        classes: whether the output holds scores of classes, which distillation compares by `kl_divergence`; else by
            `relative_squared_error`.

    Raises:
        UsageError: it cannot be imported.
    """
    distillation = kl_divergence if classes else relative_squared_error
    known: dict[str, Loss] = {"distillation": distillation, "cross-entropy": cross_entropy, "mse": mse}
    if class_axis is not None and classes and name == "distillation":
        return lambda output, digital: kl_divergence(_rows(output, class_axis), _rows(digital, class_axis))
    if class_axis is not None and name == "cross-entropy":
        return lambda output, targets: cross_entropy(output.movedim(class_axis, -1), targets)
    if name in known:
        return known[name]
    function = load_function(name, "--loss")

    def apply(output: Tensor, targets: Tensor) -> Tensor:
        try:
            value = function(output, targets)
        except Exception as error:  # a user's function can raise anything
            raise DataError(f"--loss {name} fails: {type(error).__name__}: {error}") from error
        if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
            raise UsageError(f"--loss {name}: must return one number as a tensor that depends on the output")
        return torch.squeeze(value)

    return apply
