"""The table of a page, from what came of trials."""

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lhc.support.number_formatting import share_text

__all__ = ["BEGIN", "END", "Outcomes", "read_table", "rendered", "write_table"]

Outcomes = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Trial -> command -> what came of it."""
BEGIN, END = "<!-- trials -->", "<!-- end of trials -->"
LIBRARIES = (
    "torch", "torchvision", "timm", "transformers", "ultralytics", "tensorflow-cpu", "tf2onnx", "onnx", "onnxscript",
    "onnxruntime", "onnxruntime-genai",
)  # fmt: skip
COLUMNS = ("sensitivity", "fisher", "partition", "run", "compile", "retrain")
SAID = {"exporter": "not exported", "refused": "refused", "failed": "fails"}
LONGEST = 240
"""Letters of a reason that are shown."""


class _Notes:
    """Reasons, numbered in the order in which the table names them."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, text: str) -> str:
        """The mark of a note."""
        named = re.sub(r"\S*/(\w+\.onnx)", r"\1", text)  # folders are those of whoever tried
        short = " ".join(named.replace("|", "/").replace("<", "&lt;").split())
        short = short if len(short) <= LONGEST else short[:LONGEST] + " …"
        return f"[{self._numbers.setdefault(short, len(self._numbers) + 1)}]"

    def lines(self) -> Iterable[str]:
        """The notes, a line each."""
        yield from (f"{number}. {text}" for text, number in self._numbers.items())


def _share(found: Mapping[str, Any] | None, notes: _Notes) -> str:
    """How much can be analog, and what is left."""
    if found is None or found["status"] != "ok":
        return "not tried"
    left = [f"digital, {kind} ({count})" for kind, count in found["left"].items()]
    left += [*(f"not counted: {kind}" for kind in found["uncounted"]), *found.get("notes", ())]
    text = share_text(found["eligible"] / found["macs"]) if found["macs"] else "no MACs"
    return " ".join([text, *(notes(one) for one in left)])


def _cell(command: str, known: Mapping[str, Mapping[str, Any]], notes: _Notes) -> str:
    found = known.get(command)
    if found is None:
        return "not tried"
    if found["status"] != "ok":
        return f"{SAID[found['status']]} {notes(found['why'])}"
    beside = [f"stays digital, {text} ({count})" for text, count in found.get("parity", {}).items()]
    if found.get("outputs", 0) < found.get("of", 0):
        beside.append(f"{found['of'] - found['outputs']} outputs do not count samples and are left out, with a warning")
    return " ".join(["ok", *map(notes, [*beside, *found.get("notes", ())])])


def _row(trial: str, known: Mapping[str, Mapping[str, Any]], notes: _Notes) -> str:
    network, way = trial.split(" | ")
    export = known.get("export", {})
    if export.get("status") == "exporter":
        return f"| {network} | {way} | {SAID['exporter']} {notes(export['why'])} |" + " |" * len(COLUMNS)
    analyzed = known.get("analyze")
    bad = analyzed is not None and analyzed["status"] != "ok"
    share = _cell("analyze", known, notes) if bad else _share(analyzed, notes)
    return f"| {network} | {way} | {share} | " + " | ".join(_cell(name, known, notes) for name in COLUMNS) + " |"


def _versions() -> str:
    def text(name: str) -> str:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            return f"no {name}"

    return ", ".join(map(text, LIBRARIES))


def _placeable(outcomes: Outcomes) -> str:
    """Mean share of the MACs over all files, each counting alike: networks are of different sizes."""
    shares = [
        one["eligible"] / one["macs"]
        for known in outcomes.values()
        if (one := known.get("analyze", {})).get("status") == "ok" and one["macs"]
    ]
    mean = sum(shares) / len(shares) if shares else 0.0
    return f"{share_text(mean)} of their MACs by stored weights can be analog, in the mean of the files"


def rendered(outcomes: Outcomes) -> str:
    """The table with its notes, in Markdown."""
    notes = _Notes()
    rows = [_row(trial, known, notes) for trial, known in outcomes.items()]
    cells = [_cell(name, known, _Notes()) for known in outcomes.values() for name in COLUMNS if name in known]
    good = sum(cell.startswith("ok") for cell in cells)
    files = sum(known.get("export", {}).get("status") == "ok" for known in outcomes.values())
    head = " | ".join(["network", "made by", "can be analog", *COLUMNS])
    counts = f"{files} files of {len(outcomes)}; {_placeable(outcomes)}; {good} of {len(cells)} commands succeed."
    table = [f"| {head} |", "|" + "---|" * (3 + len(COLUMNS)), *rows]
    return "\n".join([f"{counts} Made with {_versions()}.", "", *table, "", *notes.lines()])


def write_table(outcomes: Outcomes, page: Path) -> None:
    """Put the table between the marks of a page; cells of which nothing new is known stay."""
    text = page.read_text("utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    kept = read_table(page)
    merged = {trial: {**kept.get(trial, {}), **known} for trial, known in outcomes.items()}
    page.write_text(f"{before}{BEGIN}\n\n{rendered(merged)}\n\n{END}{after}", "utf-8")


def read_table(page: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """What the table of a page says of every trial, such that `rendered` gives its cells again."""
    table = page.read_text("utf-8").split(BEGIN)[1].split(END)[0]
    reasons = dict(re.findall(r"^(\d+)\. (.*)$", table, re.MULTILINE))
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines() if line.startswith("| ")]
    return {f"{network} | {way}": _known(cells, reasons) for network, way, *cells in rows[1:]}


def _known(cells: Iterable[str], reasons: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Outcomes by command, from the cells of a row."""
    known: dict[str, dict[str, Any]] = {}
    statuses = {said: status for status, said in SAID.items()}
    for command, cell in zip(("analyze", *COLUMNS), cells, strict=True):
        text = cell.partition(" [")[0]
        notes = [reasons[number] for number in re.findall(r"\[(\d+)\]", cell)]
        if text == SAID["exporter"]:
            return {"export": {"status": "exporter", "why": notes[0]}}
        if text in statuses:
            known[command] = {"status": statuses[text], "why": notes[0]}
        elif text != "not tried":
            known[command] = {"status": "ok", "notes": notes}
            if command == "analyze":
                share = float(text.removesuffix(" %")) / 100 if text.endswith(" %") else None
                known[command] |= {"macs": int(share is not None), "eligible": share, "left": {}, "uncounted": []}
    return known and {"export": {"status": "ok"}, **known}
