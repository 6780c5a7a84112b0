"""Rules from outside: found, kept apart from lhc's own, and told where they fail."""

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lhc.canonical import RewriteContext, canonical, rule, rule_registry
from lhc.errors import UsageError
from lhc.onnx_io import load_model
from lhc.onnx_io.operators import operator_table
from lhc.onnx_model import OnnxModel
from lhc.support import installed_packages

HALF = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    rule_registry.rules_for([("", "MatMul")])  # lhc's own are loaded
    monkeypatch.setattr(rule_registry, "_RULES", dict(rule_registry._RULES))
    monkeypatch.setattr(installed_packages, "_group", lambda group: {})
    rule_registry._load_installed.cache_clear()


def halving() -> OnnxModel:
    """y = Half(x, w): of no domain that onnxruntime knows."""
    graph = helper.make_graph(
        [helper.make_node("Half", ["x", "w"], ["y"], "half", domain="lab")],
        "halving",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(HALF, "w")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("lab", 1)]
    return load_model(helper.make_model(graph, opset_imports=opsets, ir_version=8), runs=lambda proto, label: None)


def half(site: RewriteContext) -> bool:
    site.product("", "MatMul", site.name(0), site.store("halved", site.value(1) / 2), output=site.node.output[0])
    return True


def kinds(model: OnnxModel) -> list[str]:
    return [node.op_type for node in canonical(model).proto.graph.node]


def test_an_operator_without_a_rule_stays() -> None:
    assert kinds(halving()) == ["Half"]


def test_a_rule_of_an_imported_module_rewrites() -> None:
    rule("Half", domain="lab")(half)
    model = canonical(halving())
    assert [node.op_type for node in model.proto.graph.node] == ["MatMul"]
    assert [node.op_type for node in model.in_file.graph.node] == ["Half"]
    np.testing.assert_array_equal(numpy_helper.to_array(model.proto.graph.initializer[1]), HALF / 2)


def test_a_rule_on_request_is_applied_where_that_is_asked_for() -> None:
    rule("Half", domain="lab", on_request=True)(half)
    assert kinds(halving()) == ["Half"]
    assert [node.op_type for node in canonical(halving(), dequantize=True).proto.graph.node] == ["MatMul"]


def module(name: str, monkeypatch: pytest.MonkeyPatch, decorated: bool) -> None:
    found = ModuleType(name)
    found.half = half  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, found)
    if decorated:
        rule("Half", domain="lab")(half)


@pytest.mark.parametrize(
    ("where", "decorated", "expected", "warning"),
    [
        ("lab_rules:half", True, ["MatMul"], ""),
        ("lab_rules:half", False, ["Half"], "lab_rules:half is not decorated with lhc.canonical.rule for it"),
        ("lab_rules:third", True, ["MatMul"], ""),
        ("nowhere:half", False, ["Half"], "its rule for lab::Half nowhere:half: cannot be imported: ModuleNotFound"),
    ],
    ids=["there", "not decorated", "registered before", "cannot be imported"],
)
def test_a_package_offers_a_rule(
    where: str,
    decorated: bool,
    expected: list[str],
    warning: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    module("lab_rules", monkeypatch, decorated)
    entry = EntryPoint("lab.Half", where, "lhc.rules")
    monkeypatch.setattr(installed_packages, "_group", lambda group: {"lab.Half": entry})
    assert kinds(halving()) == expected
    assert warning in caplog.text
    assert bool(caplog.text) == bool(warning)


def raises(site: RewriteContext) -> bool:
    site.store("something", HALF)
    raise KeyError("gone")


def forgets(site: RewriteContext) -> bool:
    site.product("", "MatMul", site.name(0), site.name(1))
    return True


def declines(site: RewriteContext) -> bool:
    return False


@pytest.mark.parametrize(
    ("wrong", "warning"),
    [
        (raises, "half: the rule of test_rule_registry for lab::Half fails: KeyError: 'gone'; it stays digital"),
        (forgets, "for lab::Half fails: nothing computes y; it stays digital"),
        (declines, ""),
    ],
)
def test_what_a_rule_gets_wrong_is_told_and_changes_nothing(
    wrong: Callable[[RewriteContext], bool], warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    rule("Half", domain="lab")(wrong)
    model = halving()
    assert canonical(model) is model
    assert warning.replace("test_rule_registry", wrong.__module__) in caplog.text
    assert bool(caplog.text) == bool(warning)


@pytest.mark.parametrize(("operator", "domain"), [("Conv", ""), ("Einsum", ""), ("QGemm", "com.microsoft")])
def test_rules_of_lhc_cannot_be_replaced(operator: str, domain: str) -> None:
    with pytest.raises(UsageError, match="lhc has one, which cannot be replaced"):
        rule(operator, domain=domain)(half)


def test_two_modules_cannot_have_a_rule_for_one_operator() -> None:
    rule("Half", domain="lab")(half)
    rule("Half", domain="lab")(declines)  # of the same module, which was edited and loaded again

    def other(site: RewriteContext) -> bool:
        return False

    other.__module__ = "elsewhere"
    with pytest.raises(UsageError, match=f"rule for lab::Half: {half.__module__} has one"):
        rule("Half", domain="lab")(other)


def test_results_of_another_rule_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = halving()
    identities = [canonical(plain).identity]
    for digest in ("one", "two"):
        monkeypatch.setattr(rule_registry, "source_digest", lambda function, digest=digest: digest)
        rule("Half", domain="lab")(half)
        identities.append(canonical(halving()).identity)
    assert len(set(identities)) == 3
    assert canonical(halving()).source == plain.source


def test_every_operator_of_a_rule_is_counted_where_it_is_left_as_it_is() -> None:
    known = onnx.defs.has
    assert all(domain == "com.microsoft" or known(name) for domain, name in rule_registry._RULES)
    assert set(rule_registry._RULES) <= set(operator_table.COUNTED)
