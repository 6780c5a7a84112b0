"""Values as they were written are what typer makes of them."""

from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.core import TyperCommand

from lhc.cli.framework.help import AsWritten


class _Command(AsWritten, TyperCommand):
    pass


def values(kind: type[TyperCommand], arguments: list[str], defaults: dict[str, Any]) -> dict[str, Any]:
    """What a function is given."""
    taken: dict[str, Any] = {}

    def command(
        model: str,
        out: Annotated[Path | None, typer.Option()] = None,
        metric: Annotated[str | None, typer.Option()] = None,
        include: Annotated[list[str] | None, typer.Option()] = None,
        maps: Annotated[list[Path] | None, typer.Option()] = None,
        quiet: Annotated[bool | None, typer.Option("--quiet/--loud")] = None,
        draws: Annotated[int, typer.Option()] = 3,
    ) -> None:
        taken.update(locals())

    app = typer.Typer(rich_markup_mode=None)
    app.command(cls=kind)(command)
    typer.main.get_command(app).main(arguments, standalone_mode=False, default_map=defaults)
    del taken["taken"]
    return taken


@pytest.mark.parametrize(
    "arguments",
    [
        ["net.onnx"],
        ["net.onnx", "--out", "a/b.onnx", "--metric", "5"],
        ["net.onnx", "--include", "a", "--include", "b", "--maps", "a.npz", "--quiet", "--draws", "7"],
        ["", "--loud", "--out", ""],
    ],
    ids=["model alone", "path and text", "several", "empty"],
)
@pytest.mark.parametrize(
    "defaults",
    [{}, {"metric": 5, "out": "c.onnx", "include": ["a", 2], "quiet": "yes", "draws": "4"}],
    ids=["no file", "from a file"],
)
def test_values_are_those_that_typer_makes(arguments: list[str], defaults: dict[str, Any]) -> None:
    assert values(_Command, arguments, defaults) == values(TyperCommand, arguments, defaults)


@pytest.mark.parametrize(
    ("arguments", "defaults"),
    [([], {}), (["net.onnx", "--draws", "x"], {}), (["net.onnx"], {"include": "a"})],
    ids=["no model", "no number", "one text for several"],
)
def test_what_typer_refuses_is_refused_in_its_words(arguments: list[str], defaults: dict[str, Any]) -> None:
    words = []
    for kind in (_Command, TyperCommand):
        with pytest.raises(Exception, match=r"\S") as caught:
            values(kind, arguments, defaults)
        words.append(str(caught.value))
    assert words[0] == words[1]
