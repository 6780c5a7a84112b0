"""Registry of rewrite rules by operator: the modules of `lhc.canonical.rules`, and rules from outside.

A rule registers itself when its module is imported. One from outside is imported by ``lhc --import MODULE``, by Python,
or because an installed package names it: an entry point of the group ``lhc.rules`` whose name is ``domain.Operator``,
or the operator alone where it is ONNX's own. lhc's own rules cannot be replaced. What is installed is looked at only
where a network has an operator that lhc counts, or does not know, and has no rule for: it takes some 50 ms.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TypeVar

import lhc.canonical.rules as own_modules
from lhc.canonical.rewrite_context import RewriteContext, Rule
from lhc.errors import ModelError, UsageError
from lhc.onnx_io.operators.operator_names import WEIGHTLESS, kind_of
from lhc.onnx_io.operators.operator_table import COUNTED
from lhc.support.installed_packages import installed, package_of
from lhc.support.load_by_name import load_function
from lhc.support.source_digest import source_digest

Kind = tuple[str, str]
"""Domain, empty for ONNX's own, and operator."""
R = TypeVar("R", bound=Rule)
log = logging.getLogger("lhc")

_GROUP = "lhc.rules"
_PRODUCTS = frozenset({("", "Conv"), ("", "Gemm")})
"""They are what rules write."""
_RULES: "dict[Kind, RegisteredRule]" = {}


@dataclass(frozen=True)
class RegisteredRule:
    """A rule of one operator.

    Attributes:
        on_request: whether it dequantises, and so is applied only where that is asked for.
    """

    rewrite: Rule
    on_request: bool

    @property
    def own(self) -> bool:
        """Whether it is lhc's."""
        return self.rewrite.__module__.startswith(f"{own_modules.__name__}.")

    def applied(self, site: RewriteContext) -> bool:
        """Whether it put nodes in place of an operator; what fails in a rule from outside is told."""
        if self.own:
            try:
                return self.rewrite(site)
            except (ModelError, ValueError, IndexError, ZeroDivisionError):
                return False  # a file that makes no sense there: whoever runs it says so
        try:
            done = self.rewrite(site)
        except Exception as error:  # it can raise anything
            return self._fails(site, f"{type(error).__name__}: {error}")
        missing = set(filter(None, site.node.output)) - {tensor for node in site.nodes for tensor in node.output}
        if done and missing:
            return self._fails(site, f"nothing computes {', '.join(sorted(missing))}")
        site.rule_digest = source_digest(self.rewrite) or ""
        return done

    def _fails(self, site: RewriteContext, why: str) -> bool:
        kind, name = kind_of(site.node), site.node.name
        log.warning("%s: the rule of %s for %s fails: %s; it stays digital", name, self.rewrite.__module__, kind, why)
        return False


def rule(*operators: str, domain: str = "", on_request: bool = False) -> Callable[[R], R]:
    """Register a rule for these operators, as a decorator.

    Args:
        domain: of the operators; empty for ONNX's own.
        on_request: it dequantises operators on integers, which ``--dequantize`` asks for.

    Raises:
        UsageError: there is another rule for one of them, or it is what rules write.
    """

    def register(function: R) -> R:
        made = RegisteredRule(function, on_request)
        if not made.own:
            _load_own()
        for kind in ((domain, operator) for operator in operators):
            there = _RULES.get(kind)
            if kind in _PRODUCTS or (there is not None and there.rewrite.__module__ != function.__module__):
                whose = "lhc" if there is None or there.own else there.rewrite.__module__
                raise UsageError(f"rule for {'::'.join(filter(None, kind))}: {whose} has one, which cannot be replaced")
            _RULES[kind] = made
        return function

    return register


def rules_for(kinds: Iterable[Kind]) -> dict[Kind, RegisteredRule]:
    """The rules for operators of these kinds, for those that have one."""
    asked = [kind for kind in kinds if kind not in WEIGHTLESS and kind not in _PRODUCTS]
    if asked:
        _load_own()
    for kind in asked:
        if kind not in _RULES and (kind not in COUNTED or COUNTED[kind].weights):
            _load_installed(kind)
    return {kind: _RULES[kind] for kind in asked if kind in _RULES}


@cache
def _load_own() -> None:
    for module in iter_modules(own_modules.__path__):
        import_module(f"{own_modules.__name__}.{module.name}")


@cache
def _load_installed(kind: Kind) -> None:
    """Import the rule that a package offers for an operator; one that cannot be used is told."""
    entry = installed(_GROUP, ".".join(filter(None, kind)))
    if entry is None:
        return
    where = f"{package_of(entry)}: its rule for {'::'.join(filter(None, kind))}"
    try:
        load_function(entry.value, "")
    except UsageError as error:
        log.warning("%s%s; the operator stays digital", where, error)
        return
    if kind not in _RULES:
        log.warning("%s: %s is not decorated with lhc.canonical.rule for it", where, entry.value)
