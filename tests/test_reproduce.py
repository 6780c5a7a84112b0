"""benchmarks/README.md names every benchmark, and nothing that is not there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_benchmark_is_named_with_its_table() -> None:
    named = set(re.findall(r"benchmarks/(\w+\.py)", (ROOT / "benchmarks" / "README.md").read_text("utf-8")))
    scripts = {path.name for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text("utf-8")}

    assert named == scripts
