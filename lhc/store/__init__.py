"""Results that survive: finished evaluations, reports and fronts in a folder that many processes may share."""

from lhc.store.result_cache import Facts, JsonValue, ResultCache, fingerprint
from lhc.store.whole_caches import CacheContents, Merged, clear_cache, contents_of, merge_caches

__all__ = [
    "CacheContents",
    "Facts",
    "JsonValue",
    "Merged",
    "ResultCache",
    "clear_cache",
    "contents_of",
    "fingerprint",
    "merge_caches",
]
