"""``lhc cache``: show the result cache, merge caches of other machines into it, or remove it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lhc.cli.framework.output import emit, hint
from lhc.options.viewing import CacheOptions
from lhc.support.files import default_work_dir
from lhc.support.number_formatting import amount, counted
from lhc.support.tables import Table

if TYPE_CHECKING:
    from lhc.store import CacheContents, Merged


def cache(asked: CacheOptions) -> None:
    """Look at the cache of finished work, merge those of several machines, or remove it.

    $ lhc cache info
        how much is kept, and where
    $ lhc cache merge ~/lhc-caches/*
        copy what others have measured; nothing is replaced
    $ lhc cache clear
        list what would be removed; --yes removes it
    """
    from lhc.commands.cache import cache as run

    found = run.of(asked)
    if isinstance(found, tuple):
        _tell_merged(found, asked)
        return
    _tell_contents(found, asked)
    if asked.action == "clear" and found.files:
        hint("removed" if asked.yes else "nothing was removed; the same command with --yes removes these files")


def _tell_merged(merged: "Sequence[Merged]", asked: CacheOptions) -> None:
    into = asked.work_dir or default_work_dir()
    rows = [[str(one.source), str(one.copied), str(one.known), str(one.damaged)] for one in merged]
    table = Table(["cache", "copied", "there already", "damaged, left out"], rows, right=(1, 2, 3))
    found = [
        {"cache": str(one.source), "copied": one.copied, "known": one.known, "damaged": one.damaged} for one in merged
    ]
    emit({"into": str(into), "merged": found}, table, f"into {into}", asked.chosen)


def _tell_contents(found: "CacheContents", asked: CacheOptions) -> None:
    rows = [["evaluations", str(found.results)], *([kind, str(number)] for kind, number in found.documents.items())]
    document = {
        "folder": str(found.folder),
        "files": [str(file) for file in found.files],
        "bytes": found.bytes,
        "evaluations": found.results,
        "documents": dict(found.documents),
    }
    files = ", ".join(file.name for file in found.files)
    size = f"{counted(len(found.files), 'file')}, {amount(found.bytes, 'B')}: {files}" if found.files else "no files"
    emit(document, Table(["kept", "number"], rows, right=(1,)), f"{found.folder}: {size}", asked.chosen)
