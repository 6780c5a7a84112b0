"""Pages: what a build leaves out is found, links lead somewhere, lines are wrapped, pictures are as drawn."""

import importlib.util
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

import lhc
from lhc.onnx_io import annotate
from lhc.pipeline.inputs.model_source import open_model

ROOT = Path(__file__).resolve().parents[1]
CHECK = ROOT / "docs" / "check_site.py"
WITHOUT_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def site(tmp_path: Path) -> tuple[Path, Path]:
    """Pages of which one has a name that Sphinx keeps for itself and one is in no table of contents; what is built."""
    pages, built = tmp_path / "pages", tmp_path / "built"
    pages.mkdir()
    (pages / "conf.py").write_text("extensions = ['myst_parser']")
    (pages / "index.md").write_text("# House\n\nSee [left](left.md).\n\n```{toctree}\nsearch\ncosts\n```\n")
    (pages / "search.md").write_text("# Searching\n\nText.\n")
    (pages / "costs.md").write_text("# What `it` costs\n\nText.\n")
    (pages / "left.md").write_text("# Left\n\nText.\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(pages), str(built)]
    subprocess.run(command, check=True, capture_output=True)
    return pages, built


def problems(pages: Path, built: Path) -> list[str]:
    spec = importlib.util.spec_from_file_location("check_site", CHECK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: list[str] = module.problems(pages, built)
    return found


def test_every_option_has_a_link_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text("extensions = ['myst_parser', 'row_anchors']")
    (tmp_path / "index.md").write_text("# House\n\n```{toctree}\ncommand-line\n```\n")
    table = "| option | |\n|---|---|\n| `--lr X` | rate |\n| `--json/--text` | form |\n"
    (tmp_path / "command-line.md").write_text(
        f"# Command line\n\n{table}\n## Some options\n\n{table}\n## Other options\n\n{table}"
    )
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(tmp_path), str(tmp_path / "built")]

    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT / "docs")})

    page = (tmp_path / "built" / "command-line.html").read_text("utf-8")
    assert re.findall(r'<tr[^>]* id="([^"]*)"', page) == ["lr", "json", "lr-2", "json-2"]
    assert page.count('href="#lr"') == 1


def test_pages_that_a_reader_cannot_reach_are_found(site: tuple[Path, Path]) -> None:
    pages, built = site
    (pages / "new.md").write_text("# New\n")
    assert problems(pages, built) == [
        "left.md is in no table of contents of index.md",
        "new.md is not in the site",
        "search.md begins with 'Searching', search.html with 'Search': rename the page",
    ]


def test_a_whole_site_has_no_problems(site: tuple[Path, Path]) -> None:
    pages, built = site
    for name in ("search.md", "left.md"):
        (pages / name).unlink()
    assert problems(pages, built) == []


def test_making_the_pages_ends_with_the_check() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    recipe = makefile.partition("\ndocs:")[2].partition("\n\n")[0]
    assert recipe.splitlines()[-1] == "\t$(PYTHON) docs/check_site.py build/docs"


def headings(text: str) -> set[str]:
    """Anchors of a page's headings, as MyST and GitHub make them."""
    found = re.findall(r"^#+ (.*)$", WITHOUT_CODE.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", one)) for one in found)
    return {one.strip().lower().replace(" ", "-") for one in plain}


def dead_links(page: Path) -> list[str]:
    """Links to files and headings that are not there."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", WITHOUT_CODE.sub("", page.read_text("utf-8"))):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        there = ":" in name or target.exists()
        if not there or (anchor and target.suffix == ".md" and anchor not in headings(target.read_text("utf-8"))):
            found.append(link)
    return found


def too_long(text: str) -> list[str]:
    """Lines of more than 120 characters outside tables and code."""
    return [line for line in WITHOUT_CODE.sub("", text).splitlines() if len(line) > 120 and not line.startswith("|")]


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")], ids=lambda page: page.name)
def test_links_lead_somewhere_and_lines_are_wrapped(page: Path) -> None:
    assert dead_links(page) == []
    assert too_long(page.read_text("utf-8")) == []


def test_a_dead_link_and_a_long_line_are_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text(f"# A `b`\n\n[x](#a-b) [y](#c) [z](b.md) [w](https://a.b/c)\n\n{'a ' * 61}\n\n| {'a ' * 61}|\n")
    assert dead_links(page) == ["#c", "b.md"]
    assert len(too_long(page.read_text())) == 1


@pytest.mark.parametrize(
    ("script", "drawn"),
    [
        ("diagrams.py", ("architecture.svg", "tile.svg", "mapping.svg", "costs.svg")),
        ("tested_path.py", ("tested-path.svg",)),
    ],
    ids=["diagrams", "tested path"],
)
def test_pictures_are_what_their_scripts_draw(
    script: str, drawn: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = ROOT / "docs" / "figures"
    monkeypatch.setattr(sys, "argv", [script, str(tmp_path if len(drawn) > 1 else tmp_path / drawn[0])])

    runpy.run_path(str(figures / script), run_name="__main__")

    assert {name: (tmp_path / name).read_text("utf-8") for name in drawn} == {
        name: (figures / name).read_text("utf-8") for name in drawn
    }


def test_placements_are_drawn_layer_by_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed, out = tmp_path / "placed.onnx", tmp_path / "placed.svg"
    model, found = open_model("digits-narrow").model, lhc.analyze("digits-narrow")
    plan = found.plan.decide(dict.fromkeys(found.plan.eligible[:3], ("analog", "forced", "")))
    onnx.save(annotate(model, plan, found.facts), placed)
    monkeypatch.setattr(sys, "argv", ["block_grid.py", str(out), f"three={placed}"])

    runpy.run_path(str(ROOT / "docs" / "figures" / "block_grid.py"), run_name="__main__")

    cells = re.findall(r"<title>(.*?): (analog|digital|eligible)", out.read_text("utf-8"))
    assert [placement for _, placement in cells].count("analog") == 3
    assert len(cells) == found.plan.size
