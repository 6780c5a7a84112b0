"""Errors that a user can act on.

Every message says what is wrong, where (file, layer, field) and what to do. The class decides the
exit code of the command line: 2 for usage and configuration, 3 for a model or data that cannot be used, 1 where the
time was over, 70 where a process that did part of the work died or lhc cut a network wrongly.
"""

__all__ = [
    "CRASHED",
    "ConfigError",
    "CutError",
    "DataError",
    "LhcError",
    "MissingDependencyError",
    "ModelError",
    "NotFiniteError",
    "OpenSizesError",
    "OutOfTimeError",
    "UsageError",
    "WorkerError",
]

CRASHED = 70
"""Exit code of lhc's own mistakes, as EX_SOFTWARE of BSD's sysexits.h."""


class LhcError(Exception):
    """Base of all errors that lhc raises on purpose."""

    exit_code = 3


class UsageError(LhcError):
    """An option or argument that makes no sense: unknown name, pattern without a match, negative drop."""

    exit_code = 2


class ConfigError(LhcError):
    """A hardware description or plan with a mistake, named by its field path."""

    exit_code = 2


class ModelError(LhcError):
    """A model that cannot be read, run or placed."""


class OpenSizesError(ModelError):
    """Sizes that the file leaves open, and that a number asked for depends on."""


class DataError(LhcError):
    """Samples that cannot be read or do not fit the model."""


class NotFiniteError(DataError):
    """A network that gives NaN or infinite values on samples."""


class MissingDependencyError(LhcError):
    """A package that this step needs is not installed, or has no build for this platform."""


class OutOfTimeError(LhcError):
    """The time that the user gave is over; what was finished is kept."""

    exit_code = 1


class CutError(LhcError):
    """A digital part of a network that fails where the whole network runs: a mistake of lhc's."""

    exit_code = CRASHED


class WorkerError(LhcError):
    """A process that did part of the work died, or broke down."""

    exit_code = CRASHED
