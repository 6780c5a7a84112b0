"""Pictures that stand alone."""

import csv
import io
from xml.etree import ElementTree

import pytest

from lhc.report.document.page_content import layers_csv
from lhc.report.document.report import Report
from lhc.report.html.page import svg

SVG = "{http://www.w3.org/2000/svg}"


def test_the_sheet_says_what_it_shows(full: Report) -> None:
    root = ElementTree.fromstring(svg(full))
    text = " ".join("".join(element.itertext()) for element in root.iter(f"{SVG}text"))
    for said in (full.model, full.plan.hardware.name, "within the budget", "A = ", "budget", "points", "Trade-off"):
        assert said in text
    assert len(root.findall(f"{SVG}svg")) == 4, "layers, drop, trade-off, time"


def test_nothing_lies_on_anything_else_or_beyond_the_sheet(full: Report) -> None:
    root = ElementTree.fromstring(svg(full))
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    end = 0.0
    for picture in root.findall(f"{SVG}svg"):
        x, y, w, h = (float(picture.attrib[name]) for name in ("x", "y", "width", "height"))
        assert y >= end
        assert x + w <= width
        end = y + h
    assert end <= height


def test_names_are_escaped(full: Report) -> None:
    hostile = full.model_copy(update={"model": "</text><script>x</script>"})
    assert "<script>" not in svg(hostile)
    ElementTree.fromstring(svg(hostile))


def test_numbers_of_layers_are_numbers(full: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(layers_csv(full))))
    assert len(rows) == len(full.plan.layers)
    for row, layer in zip(rows, full.plan.layers, strict=True):
        assert int(row["MACs"]) == layer.macs
        assert float(row["of all (%)"]) == pytest.approx(100 * layer.macs / full.plan.macs, abs=0.06)
        assert row["Layer"].lstrip("'") == layer.title


def test_sensitivities_with_copies_are_their_own(full: Report) -> None:
    first = next(layer for layer in full.plan.layers if layer.sensitivity is not None)
    assert first.sensitivity is not None
    better = first.sensitivity.model_copy(update={"mean": first.sensitivity.mean / 4, "copies": 4})
    layers = tuple(
        layer.model_copy(update={"with_copies": better}) if layer is first else layer for layer in full.plan.layers
    )
    report = full.model_copy(update={"plan": full.plan.model_copy(update={"layers": layers})})
    row = next(row for row in csv.DictReader(io.StringIO(layers_csv(report))) if row["Layer"] == first.title)
    figures = [float(row[f"Sensitivity ({better.metric})"]), float(row["With its copies"])]
    assert figures == pytest.approx([first.sensitivity.mean, better.mean])
