"""Results that survive: an append-only log of finished evaluations, in a folder that many processes may share."""

from lhc.store.facts import Entry, Facts, Group, JsonValue, canonical, fingerprint, group
from lhc.store.log import ResultLog
from lhc.store.segments import default_work_dir

__all__ = [
    "Entry",
    "Facts",
    "Group",
    "JsonValue",
    "ResultLog",
    "canonical",
    "default_work_dir",
    "fingerprint",
    "group",
]
