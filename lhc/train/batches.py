"""Training batches: a fixed order per seed and epoch, so that any step can be taken up again; and augmentation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError, UsageError
from lhc.samples.task import Array, Task
from lhc.support.load_by_name import load_function

Feeds = Mapping[str, Array]
Augment = Callable[[Feeds, np.random.Generator], Feeds]
"""From the feeds of a batch and a generator to the feeds that are trained on; targets stay."""

_CHANNELS = 4
"""Of an image at most, where they may lie in the last axis."""
_PADDING = 4
"""Pixels by which images are moved at most."""


def crop_flip(feeds: Feeds, rng: np.random.Generator) -> Feeds:
    """Images moved by up to four pixels (zeros come in) and mirrored by chance; other inputs as they are.

    Args:
        feeds: inputs by name; those of four axes are images, ``(samples, channels, height, width)``. At most four
            entries of the last axis, and more of the second, are channels in the last axis.
    """
    return {name: _moved_images(array, rng) if array.ndim == 4 else array for name, array in feeds.items()}


def _moved_images(images: Array, rng: np.random.Generator) -> Array:
    if images.shape[3] <= _CHANNELS < images.shape[1]:
        return np.moveaxis(_moved(np.moveaxis(images, 3, 1), rng), 1, 3)
    return _moved(images, rng)


def _moved(images: Array, rng: np.random.Generator) -> Array:
    samples, _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (_PADDING, _PADDING), (_PADDING, _PADDING)))
    offsets = rng.integers(0, 2 * _PADDING + 1, (2, samples)).T.tolist()
    flips = np.less(rng.random(samples), 0.5).tolist()
    result = np.empty_like(images)
    for index, ((top, left), flip) in enumerate(zip(offsets, flips, strict=True)):
        window = padded[index, :, top : top + height, left : left + width]
        result[index] = window[..., ::-1] if flip else window
    return result


def load_augment(name: str) -> Augment | None:
    """The augmentation of that name; None for ``none``.

    Raises:
        UsageError: there is none, or it cannot be imported.
    """
    if name == "none":
        return None
    if name == "crop-flip":
        return crop_flip
    if ":" not in name:
        raise UsageError(f"--augment {name!r}: choose none, crop-flip or module:function")
    function = load_function(name, "--augment")

    def apply(feeds: Feeds, rng: np.random.Generator) -> Feeds:
        try:
            result = function(feeds, rng)
        except Exception as error:  # a user's function can raise anything
            raise DataError(f"--augment {name} fails: {type(error).__name__}: {error}") from error
        if not isinstance(result, Mapping) or result.keys() != feeds.keys():
            raise UsageError(f"--augment {name}: must return the same inputs by name; got {type(result).__name__}")
        changed = {key: np.asarray(value) for key, value in result.items()}
        for key, value in feeds.items():
            if (changed[key].shape, changed[key].dtype) != (value.shape, value.dtype):
                raise UsageError(f"--augment {name}: {key!r} must stay {value.dtype} {value.shape}")
        return changed

    return apply


@dataclass(eq=False)
class Batches:
    """Batches of a task's samples by number; every epoch has an order of its own, and none is cut short.

    Attributes:
        seed: fixes order and augmentation.
    """

    task: Task
    size: int
    seed: int
    augment: Augment | None = None
    _order: tuple[int, npt.NDArray[np.intp]] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Read nothing yet.

        Raises:
            DataError: fewer samples than one batch.
        """
        if len(self.task) < self.size:
            raise DataError(f"{len(self.task)} training samples are fewer than one batch of {self.size} (--batch-size)")

    @property
    def per_epoch(self) -> int:
        """Whole batches in an epoch; what is left over comes in other epochs."""
        return len(self.task) // self.size

    def chosen(self, step: int) -> npt.NDArray[np.intp]:
        """Numbers of the samples of a step, in order."""
        epoch, index = divmod(step, self.per_epoch)
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng(np.random.SeedSequence((self.seed, 0, epoch)))
            self._order = epoch, rng.permutation(len(self.task))
        return np.sort(self._order[1][index * self.size : (index + 1) * self.size])

    def batch(self, step: int) -> tuple[Feeds, Array | None]:
        """Feeds and targets of a step."""
        chosen = self.chosen(step)
        feeds: Feeds = {k: np.asarray(a[chosen] if a.ndim else a) for k, a in self.task.inputs.items()}
        if self.augment is not None:
            feeds = self.augment(feeds, np.random.default_rng(np.random.SeedSequence((self.seed, 1, step))))
        return feeds, None if self.task.targets is None else np.asarray(self.task.targets[chosen])
