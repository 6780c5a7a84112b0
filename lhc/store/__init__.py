"""Results that survive: finished evaluations, reports and fronts in a folder that many processes may share."""

from lhc.store.cache import ResultCache, default_work_dir
from lhc.store.facts import Facts, JsonValue, fingerprint

__all__ = ["Facts", "JsonValue", "ResultCache", "default_work_dir", "fingerprint"]
