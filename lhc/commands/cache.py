"""``lhc.cache``: show the result cache, merge caches of other machines into it, or remove it."""

from lhc.options.declaration.python_signature import keywords
from lhc.options.viewing import CacheOptions
from lhc.store import CacheContents, Merged, clear_cache, contents_of, merge_caches
from lhc.support.files import default_work_dir


@keywords(CacheOptions)
def cache(options: CacheOptions) -> CacheContents | tuple[Merged, ...]:
    """Look at the cache of finished work, merge those of several machines, or remove it.

    Returns:
        What the cache holds, or held before it was removed; of a merge, what became of each of the others.

    Raises:
        UsageError: a folder to merge holds no cache, or is the one that is merged into.
        DataError: a database cannot be read.
    """
    folder = options.work_dir or default_work_dir()
    if options.action == "merge":
        return merge_caches(folder, tuple(options.sources))
    return clear_cache(folder) if options.yes else contents_of(folder)
