"""A report as a model card: the README that a hub shows as the page of a model.

Front matter in YAML as Hugging Face reads it (``model-index``: results by task and data set, metrics by type and
value), then the placement and how it was measured. lhc knows samples by their digest alone, so task and data set are
``other``. Commands are those that the model carries, which name files without their folders.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from lhc.plan import Outcome
from lhc.report.document.page_content import PageSection
from lhc.report.document.report import Report
from lhc.report.exports.markdown import heading_parts, markdown_section
from lhc.report.html.sections import sections
from lhc.report.wording.outcome import draws_word, nothing_lost, samples_basis, samples_text
from lhc.support.documents import write_yaml
from lhc.support.number_formatting import counted, counted_samples, time_text
from lhc.support.text_escaping import markdown_text

if TYPE_CHECKING:
    from lhc.results import AtTime

__all__ = ["model_card"]

_SECTIONS = ("reasons", "time", "noise", "data", "origin", "missing")
"""What a reader of the page needs: where layers run, how long the metric holds, how it was measured, what was not."""


def model_card(report: Report) -> str:
    """The card as Markdown."""
    front_matter = write_yaml(_front_matter(report), width=1000)
    return f"---\n{front_matter}---\n\n" + "\n\n".join(filter(None, _parts(report))) + "\n"


def _front_matter(report: Report) -> dict[str, object]:
    document: dict[str, object] = {
        "library_name": "onnx",
        "tags": ["onnx", "analog-in-memory-computing", "aihwkit", "lhc"],
    }
    results = [
        {"task": {"type": "other"}, "dataset": {"type": "other", "name": data}, "metrics": metrics}
        for data, metrics in _results(report)
    ]
    if results:
        document["model-index"] = [{"name": report.model, "results": results}]
    return document


def _results(report: Report) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Samples and the metrics on them."""
    outcome = report.plan.outcome
    if outcome is None or report.warnings:  # of a model that has changed, they are another network's
        return
    on = counted_samples(outcome.samples, outcome.documents)
    yield f"{on}, {samples_text(outcome)}; SHA-256 of all {outcome.data}", list(_verified(report, outcome))
    if report.over_time:
        first = report.over_time[0].evaluation
        yield f"{samples_basis(first)}, over time", [_aged(point) for point in report.over_time]


def _verified(report: Report, outcome: Outcome) -> Iterator[dict[str, object]]:
    yield _metric(outcome.metric, outcome.baseline, "digital")
    if nothing_lost(report.plan):
        return
    chips = f"mean of {counted(outcome.draws, draws_word(outcome))}, {time_text(outcome.t_s)} after the first read"
    yield _metric(outcome.metric, outcome.value, f"on tiles, {chips}")
    for one in outcome.further:
        yield _metric(one.metric, one.baseline, f"output {one.output}, digital")
        yield _metric(one.metric, one.value, f"output {one.output}, on tiles, {chips}")


def _aged(point: "AtTime") -> dict[str, object]:
    found = point.evaluation
    chips = f"mean of {counted(found.draws, 'chip')}, {time_text(found.t_s)} after the first read"
    return _metric(found.metric, found.mean, f"on tiles, {chips}")


def _metric(metric: str, value: float, of: str) -> dict[str, object]:
    return {"type": metric, "value": float(f"{value:.6g}"), "name": f"{metric}, {of}"}


def _parts(report: Report) -> Iterator[str]:
    yield from heading_parts(report)
    hardware, version = report.plan.hardware.name, report.plan.lhc_version
    yield markdown_text(f"Figures are of an emulation of {hardware} by lhc {version} on aihwkit; no chip was measured.")
    for section in sections(report):
        if section.id in _SECTIONS:
            yield from markdown_section(_public(section, report))


def _public(section: PageSection, report: Report) -> PageSection:
    """A section without commands as they were typed, which hold folders of a user's."""
    made = report.plan.command if section.id == "origin" else ""
    return replace(section, commands=(made,) if made else ())
