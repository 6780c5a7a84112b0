"""Inputs for readers, guided by the code of lhc that they reach.

``pip install atheris``, then ``python -m tests.fuzz.guided NAME FOLDER [-max_total_time=600]``, NAME one of
`tests.fuzz.readers.READERS`. The folder holds inputs that were found; it begins with the seed. An input that a reader
neither takes nor refuses by an `LhcError` ends it, and is written to a file. atheris has wheels for Linux.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any


def main(name: str, kept: str, *options: str) -> None:
    """Let atheris look for inputs that break a reader."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["lhc"]):
        readers = importlib.import_module("tests.fuzz.readers")
    Path(kept).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (Path(kept) / "seed").write_bytes(readers.seed(name, folder))

        def one(data: bytes) -> None:
            readers.read(name, data, folder)

        atheris.Setup([sys.argv[0], kept, *options], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
