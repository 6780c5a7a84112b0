"""Time left of a step of the work, from its progress.

    seconds left = (time since it began) / (share done since then) x (share to do)

Reports of one step may come in pieces: training goes on after a validation, and ``sensitivity 3/14 conv1`` is the third
of fourteen parts of one step. What is before the first number, colon or comma names the step. A step of such parts
begins with its first; any other one with the first unit that is done, since chips are programmed before it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from lhc.support.number_formatting import work_text

_NUMBERED = re.compile(r"(\d+)/(\d+) ")


def share_done(what: str, done: int, total: int) -> float:
    """The share of a step that a report says is done.

    >>> share_done("training, validation drop 0.1", 50, 200), share_done("sensitivity 3/4 conv1", 1, 2)
    (0.25, 0.625)
    """
    share, numbered = done / total if total else 1.0, _NUMBERED.search(what)
    return share if numbered is None else (int(numbered[1]) - 1 + share) / int(numbered[2])


def progress_text(what: str, done: int, total: int, left: float | None) -> str:
    """A report in a line; a step of a single unit has no number before it is done.

    >>> progress_text("sensitivity 3/4 conv1", 1, 2, 90.0), progress_text("digital network", 0, 1, None)
    ('sensitivity 3/4 conv1: 1/2; about 90 s left of this step', 'digital network')
    """
    number = "" if (done, total) == (0, 1) else f": {done}/{total}"
    return f"{what}{number}{'' if left is None else f'; about {work_text(left)} left of this step'}"


@dataclass
class _Step:
    """When and how far it was when it began, and how far it is."""

    began: float
    first: float
    share: float


class TimeLeft:
    """Given every report of a run, says how long the step that reports will still take."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """Begin."""
        self._clock = clock
        self._steps: dict[str, _Step] = {}

    def __call__(self, what: str, done: int, total: int) -> float | None:
        """Seconds left of the step; None where its reports do not tell yet, and at its end."""
        now, share = self._clock(), share_done(what, done, total)
        name = re.split(r"[\d:,]", what)[0]
        step = self._steps.get(name)
        begins = step is None or share < step.share or (step.share == 0 and _NUMBERED.search(what) is None)
        if step is None or begins:
            step = self._steps[name] = _Step(now, share, share)
        step.share = share
        return (now - step.began) * (1 - share) / (share - step.first) if step.first < share < 1 else None
