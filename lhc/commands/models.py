"""``lhc.models``: the zoo."""

from lhc.models import ZooEntry, zoo_entry, zoo_names


def models() -> tuple[ZooEntry, ...]:
    """The networks that come with lhc, each with its samples and budget; their names stand for a file everywhere."""
    return tuple(map(zoo_entry, zoo_names()))
