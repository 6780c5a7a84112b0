"""Position in the stream of samples of a draw, which alone fixes the noise."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """Position of a call in the stream of samples.

    Attributes:
        first: index of the first sample.
        samples: how many samples the call holds.
    """

    first: int
    samples: int

    def of(self, items: int) -> tuple[int, int]:
        """Samples of a call that holds so many items, and the first; one sample where they do not share them out."""
        return (self.samples, self.first) if items % self.samples == 0 else (1, self.first)
