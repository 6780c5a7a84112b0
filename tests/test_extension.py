"""A package from outside adds one of each: the package of two pages, docs/extending*.md, as it stands there."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import networkx as nx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lhc.onnx_io import load_model, read_plan

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("extending.md", "extending-machines.md")
TEXT = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in PAGES)
FILES = dict(re.findall(r"^`([\w./-]+)`\n\n```\w+\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
CONSOLE = re.findall(r"^```console\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [line.removeprefix("$ ") for block in CONSOLE for line in block.splitlines()]
SESSION = """
import json, shlex, sys
from typer.testing import CliRunner
from lhc.cli.framework.app import app

printed = {}
for command in sys.argv[1:]:
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    assert done.exit_code == 0, f"{command}\\n{done.output}{done.exception!r}"
    printed[command] = done.stdout
json.dump(printed, sys.stdout)
"""
"""Commands in one process, which loads the libraries once; prints what each of them prints."""


def install(files: dict[str, str], site: Path) -> None:
    """Put a package where Python finds it, with what pip writes of its pyproject.toml that lhc reads."""
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text, encoding="utf-8")
    project = tomllib.loads(files["pyproject.toml"])["project"]
    info = site / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {where}\n" for name, where in found.items()) for group, found in groups
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))


def run(command: str, folder: Path, site: Path) -> "subprocess.CompletedProcess[str]":
    """A command of lhc in a process of its own."""
    return python(["-m", "lhc", *shlex.split(command)[1:]], folder, site)


def python(arguments: list[str], folder: Path, site: Path) -> "subprocess.CompletedProcess[str]":
    """A process that finds this checkout and the packages of a folder."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{site}"}
    line = [sys.executable, "-P", *arguments]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    install(FILES, folder)
    return folder


def write_nf4(folder: Path) -> None:
    """A network of a product by NF4 weights, and samples of its input: what the pages' rule is for."""
    rng = np.random.default_rng(0)
    inputs, outputs, size = 64, 32, 16
    stored = {
        "packed": rng.integers(0, 256, inputs * outputs // 2, np.uint8),
        "scales": rng.uniform(0.1, 0.3, inputs * outputs // size).astype(np.float32),
        "weights": rng.normal(size=(4, outputs)).astype(np.float32),
    }
    product = helper.make_node("MatMulBnb4", ["x", "packed", "scales"], ["h"], "up", domain="com.microsoft")
    attributes = {"K": inputs, "N": outputs, "block_size": size, "quant_type": 1}
    product.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    graph = helper.make_graph(
        [product, helper.make_node("Relu", ["h"], ["a"]), helper.make_node("Gemm", ["a", "weights"], ["y"], transB=1)],
        "nf4",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "nf4.onnx")
    np.savez(folder / "nf4.npz", x=rng.normal(size=(60, inputs)).astype(np.float32))


@pytest.fixture(scope="module")
def outputs(site: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """What the commands of the pages print, one after the other in an empty folder; each must succeed."""
    folder = tmp_path_factory.mktemp("work")
    write_nf4(folder)
    done = python(["-c", SESSION, *COMMANDS], folder, site)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def printed_by(outputs: tuple[Path, dict[str, str]], part: str) -> str:
    (found,) = (text for command, text in outputs[1].items() if part in command)
    return found


def test_the_pages_show_one_of_each() -> None:
    assert [name for name in FILES if name.startswith("mylab/")] == [
        "mylab/metrics.py",
        "mylab/passes.py",
        "mylab/strategies.py",
        "mylab/lab-chip.yaml",
        "mylab/devices.py",
        "mylab/nf4.py",
        "mylab/flat.py",
        "mylab/largest.py",
    ]
    assert len(COMMANDS) == 9


@pytest.mark.slow
@pytest.mark.analog
def test_a_metric(outputs: tuple[Path, dict[str, str]]) -> None:
    assert "margin" in printed_by(outputs, "--metric mylab")


@pytest.mark.slow
@pytest.mark.analog
def test_a_pass(outputs: tuple[Path, dict[str, str]]) -> None:
    plan = read_plan(load_model(outputs[0] / "ends.lhc.onnx"))
    assert plan is not None
    left = {layer.name: layer.detail for layer in plan.layers if layer.reason == "excluded"}
    assert left == {
        "conv1": "products before it: 0, behind it: 23",
        "layer1.0.expand": "products before it: 1, behind it: 22",
        "layer3.4.project": "products before it: 22, behind it: 1",
        "linear": "products before it: 23, behind it: 0",
    }, "two fewer with the default"


@pytest.mark.slow
@pytest.mark.analog
def test_a_placement_is_a_graph_for_networkx(outputs: tuple[Path, dict[str, str]]) -> None:
    graph = nx.read_graphml(outputs[0] / "ends.graphml")
    excluded = {name for name, reason in graph.nodes(data="reason") if reason == "excluded"}
    assert {"conv1", "linear"} < excluded
    assert {graph.nodes[name]["placement"] for name in excluded} == {"digital"}


@pytest.mark.slow
@pytest.mark.analog
def test_a_strategy(outputs: tuple[Path, dict[str, str]]) -> None:
    plan = read_plan(load_model(outputs[0] / "back-to-front.lhc.onnx"))
    assert plan is not None
    assert plan.outcome is not None
    assert plan.outcome.strategy == "back-to-front"
    assert any(layer.detail == "within the budget" for layer in plan.layers)


@pytest.mark.slow
@pytest.mark.analog
def test_a_device_model(outputs: tuple[Path, dict[str, str]]) -> None:
    assert "accuracy" in printed_by(outputs, "--all-analog --hardware lab-chip")


@pytest.mark.slow
@pytest.mark.analog
def test_an_operator_rule(outputs: tuple[Path, dict[str, str]]) -> None:
    assert "2 of 2 layers can be analog" in printed_by(outputs, "analyze nf4.onnx")
    placed = load_model(outputs[0] / "nf4.lhc.onnx")
    plan = read_plan(placed)
    assert plan is not None
    assert "up" in plan.analog
    assert [node.op_type for node in placed.proto.graph.node] == ["MatMulBnb4", "Relu", "Gemm"]


@pytest.mark.slow
@pytest.mark.analog
def test_a_placed_model_whose_rule_is_missing_says_so(
    outputs: tuple[Path, dict[str, str]], site: Path, tmp_path: Path
) -> None:
    done = run(f"lhc run {outputs[0] / 'nf4.lhc.onnx'} --data {outputs[0] / 'nf4.npz'} --draws 2", tmp_path, tmp_path)
    assert done.returncode == 2
    assert "error: layer 'up' cannot be analog: " in done.stderr
    assert "the rule that rewrote it when it was placed is missing: install its package" in done.stderr
    with_rule = f"lhc --import mylab.nf4 run {outputs[0] / 'nf4.lhc.onnx'} --data {outputs[0] / 'nf4.npz'} --draws 2"
    assert run(with_rule, site, tmp_path).returncode == 0, "site is the current folder: --import finds the module"


@pytest.mark.slow
def test_a_preset_with_a_cost_model(outputs: tuple[Path, dict[str, str]]) -> None:
    table = printed_by(outputs, "analyze digits-narrow --hardware lab-chip")
    assert "estimated cost, all digital in int8:" in table
    assert "0 J" in table


@pytest.mark.slow
def test_a_command(site: Path, tmp_path: Path) -> None:
    (command,) = (line for line in COMMANDS if line.startswith("lhc largest"))
    done = run(command, tmp_path, site)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\S+: \d+ weights, \d+ tiles\n", done.stdout)
    helped = run("lhc largest --help", tmp_path, site).stdout
    assert "Show the layer with the most weights" in helped
    assert "--hardware" in helped
    missing = run("lhc largest nowhere.onnx", tmp_path, site)
    assert missing.returncode == 3
    assert missing.stderr.startswith("error: ")


BROKEN = {
    "pyproject.toml": FILES["pyproject.toml"].replace(
        "mylab.largest:command", 'mylab.largest:command"\nlate = "mylab.late:late'
    ),
    "mylab/largest.py": "import a_module_that_is_missing\n",
    "mylab/late.py": "def late() -> None:\n    raise KeyError('gone')\n",
}


def test_a_command_that_cannot_be_loaded_is_said_to_be_of_its_package(tmp_path: Path) -> None:
    install(BROKEN, tmp_path / "site")
    done = run("lhc largest digits", tmp_path, tmp_path / "site")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(
        "warning: the package mylab: its command 'largest' cannot be loaded: ModuleNotFoundError: No module named"
    )
    assert "No such command 'largest'" in done.stderr
    assert run("lhc models", tmp_path, tmp_path / "site").stderr == ""


def test_a_mistake_in_a_command_is_said_to_be_of_its_package(tmp_path: Path) -> None:
    install(BROKEN, tmp_path / "site")
    done = run("lhc late", tmp_path, tmp_path / "site")
    assert done.returncode == 70
    assert "Traceback" not in done.stderr
    assert "error: the package mylab crashed: KeyError: 'gone'" in done.stderr
    assert "The mistake is in the package mylab" in done.stderr
