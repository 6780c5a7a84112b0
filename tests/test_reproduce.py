"""benchmarks/README.md and docs/results.md name every benchmark, and nothing that is not there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_benchmark_is_named_with_its_table() -> None:
    pages = [(ROOT / page).read_text("utf-8") for page in ("benchmarks/README.md", "docs/results.md")]
    named = {name for page in pages for name in re.findall(r"benchmarks/(\w+\.py)", page)}
    scripts = {path.name for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text("utf-8")}

    assert named == scripts
