"""Where a computation stands in the stream of samples of a draw; this alone fixes its noise."""

from dataclasses import dataclass

__all__ = ["NoiseKey", "Position"]


@dataclass(frozen=True)
class Position:
    """Where a call stands.

    Attributes:
        seed: of the run.
        draw: number of the programming.
        first: index of the first sample.
        samples: how many samples the call holds.
    """

    seed: int
    draw: int
    first: int
    samples: int


@dataclass(frozen=True)
class NoiseKey:
    """Where a block of products stands.

    Attributes:
        seed: of the run.
        draw: number of the programming.
        unit: number of the fixed computing block.
        use: which of the nodes that share the devices reads them: their reads have noise of their own.
    """

    seed: int
    draw: int
    unit: int
    use: int = 0
