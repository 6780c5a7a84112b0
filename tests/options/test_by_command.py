"""Every option of a Python function is reachable from its command, and the other way round."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import typer

import lhc
from lhc.cli.framework.app import app
from lhc.cli.framework.command_builder import classes
from lhc.cli.framework.help import NAMES
from lhc.errors import LhcError
from lhc.models import zoo_names
from lhc.options.by_command import OutputsOptions
from lhc.options.declaration.option_fields import Option, options_of

FUNCTIONS = (
    *("analyze", "sensitivity", "partition", "smooth", "widen", "retrain", "run", "pareto", "compare"),
    *("robustness", "attribute", "compile", "split", "view"),
)
"""Commands whose functions take their options."""


def of_command(name: str) -> Iterator[Option]:
    for kind in classes()[name]:
        yield from options_of(kind)


def parameters(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(getattr(lhc, name)).parameters)


def flags(name: str) -> set[str]:
    group: Any = typer.main.get_command(app)
    command = group.get_command(None, name)
    return {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}


@pytest.mark.parametrize("command", FUNCTIONS)
def test_every_keyword_of_a_function_is_an_option_of_its_command_or_says_what_stands_for_it(command: str) -> None:
    options = {one.name: one for one in of_command(command)}
    for name, parameter in parameters(command).items():
        assert name in options
        one = options[name]
        if one.instead is None:
            assert (one.flag or one.name) in flags(command)
        if not one.required:
            assert parameter.default == one.default


@pytest.mark.parametrize("command", FUNCTIONS)
def test_every_option_of_a_command_is_a_keyword_or_says_what_does_it_in_python(command: str) -> None:
    for one in of_command(command):
        assert one.name in parameters(command) or one.result is not None, one.name


def test_the_outputs_of_run_take_options_of_run_alone() -> None:
    names = {one.name for one in of_command("run")}
    assert names.issuperset(one.name for one in options_of(OutputsOptions))


@pytest.mark.parametrize("command", sorted(classes()))
def test_every_option_has_a_help_of_its_own_and_a_panel(command: str) -> None:
    found = list(of_command(command))
    assert all(one.help.endswith((".", "…")) and one.panel for one in found)
    assert len({one.flag for one in found if one.flag}) == len([one for one in found if one.flag])


@pytest.mark.parametrize("command", NAMES)
def test_every_command_has_a_function_of_its_name(command: str) -> None:
    assert callable(getattr(lhc, command))
    assert command in lhc.__all__


def test_functions_have_their_earlier_names_too() -> None:
    assert lhc.evaluate is lhc.run
    assert lhc.report_of is import_module("lhc.commands.report").report


def test_functions_can_be_called_where_packages_of_their_names_are_imported() -> None:
    for name in ("report", "models", "hardware"):
        assert getattr(lhc, name) is import_module(f"lhc.{name}")
    assert [entry.name for entry in lhc.models()] == list(zoo_names())
    assert lhc.hardware("ideal") == lhc.Hardware.load("ideal")
    with pytest.raises(LhcError, match="no lhc annotations"):
        lhc.report("digits-narrow")


def test_what_a_command_shows_its_function_returns() -> None:
    assert lhc.inspect("digits-narrow") is None
    assert lhc.export("digits-narrow").graph.node
    with pytest.raises(LhcError, match="the zoo has no model 'nowhere'"):
        lhc.export("nowhere")
    with pytest.raises(LhcError, match="`port` must be at most 65,535, got 70000"):
        lhc.view("digits-narrow", port=70_000)


def test_a_function_shows_its_options_in_its_docstring() -> None:
    text = inspect.getdoc(lhc.partition) or ""
    assert "max_drop: Greatest mean drop" in text
    assert "max_latency: A sample may take at most this long; in s." in text
