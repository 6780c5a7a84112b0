"""Results that survive: finished evaluations, reports and fronts in a folder that many processes may share."""

from lhc.store.result_cache import Facts, JsonValue, ResultCache, fingerprint

__all__ = ["Facts", "JsonValue", "ResultCache", "fingerprint"]
