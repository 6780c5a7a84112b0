"""Measures units of work into a result cache, until it is done or killed.

``writer.py FOLDER FIRST END LIMIT``: units FIRST to END - 1 that the folder does not hold yet. It prints a line when it
has opened the cache, starts when it gets one, and prints the number of each unit once it is put, in lines so long that
a pipe holds a few hundred: nobody who reads a few comes too late. The system kills it inside the write that would
make a file larger than LIMIT bytes; 0: none is too large.
"""

import sys

import numpy as np

from lhc.store import ResultCache


def main() -> None:
    folder, first, end, limit = sys.argv[1], *map(int, sys.argv[2:])
    if limit:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with ResultCache(folder) as cache:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(first, end):
            if cache.get({"unit": number}) is None:
                cache.put(np.random.default_rng(number).random(1 + number % 40), {"unit": number})
                print(f"{number:200}", flush=True)


if __name__ == "__main__":
    main()
