"""Two plans side by side: what differs in placement, sensitivity, arithmetic, outcome and hardware; or two machines."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from lhc.hardware import Hardware
from lhc.plan import LayerPlan, Plan, Sensitivity
from lhc.support.documents import fields_by_path
from lhc.support.number_formatting import counted, share_text, time_text
from lhc.support.tables import Table
from lhc.support.text_escaping import one_line

Change = tuple[object, object]

_NAMES = {
    "output": "scored output",
    "metric_note": "why this metric",
    "baseline": "digital value",
    "value": "mapped value",
    "drop": "mean drop",
    "chip_interval": "other chips, these samples",
    "sample_interval": "other chips, other samples",
    "generalized": "decided for other samples",
    "one_chip": "one chip whose stuck cells are known",
    "chips_within": "share of chips within the budget",
    "yield_share": "share of chips that is to hold the budget",
    "tests": "commands that tested",
    "error": "their chance of error together",
    "yield_shown": "whether that is shown",
    "max_drop": "budget",
    "drop_type": "kind of budget",
    "draws": "chips",
    "t_s": "time",
    "data": "data, SHA-256",
    "groups": "moved together",
    "evaluations": "placements judged",
    "healing": "mean drops by healing",
    "harmful_calibration": "errors calibrated and not",
}
"""Fields of an outcome as the report calls them, where that is another word."""

_INTERVALS = ("interval", "chip_interval", "sample_interval")
"""The one that decides, and those that it is one of."""
_ROUNDING = 1e-12
"""Scores and drops that are nearer differ by the order of sums alone."""
_OVERRIDE = re.compile(r"(overrides\.\d+)\.")
_OF_LATER_VERSIONS = ("higher_is_better", "output")
"""Fields that plans of earlier versions lack: that one does not say it is no difference."""

Units = tuple[str, str, str]
"""Units of scores and of drops, empty where these are no shares, and the word for a drop."""
NO_UNITS: Units = ("", "", "drop")

_SHARES = ("chips_within", "yield_share", "spread", "confidence")
"""Fields of an outcome that are shares whatever the metric."""
_SCORES = ("baseline", "value")
_DROPS = ("drop", "interval", "chip_interval", "sample_interval", "max_drop", "predicted_drop")
_HEALED = {
    "neither": "without healing",
    "copies": "with copies",
    "calibration": "with calibration",
    "both": "with both",
}
"""Those in the metric's unit; drops may be relative."""
_RANGES = "ranges."
"""Beginning of the path of a tensor's range."""
_DIGITS = range(4, 18)
"""Significant digits: as few as tell two values apart."""
_SHOWN, _EVERY = 4, 10**9
"""Values of a list that a line shows; of longer ones the number, the first and the last, if these tell them apart."""
_DIGEST, _SHA_256 = 12, re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class LayerChange:
    """A layer that is not the same in both plans; None where it is missing.

    Attributes:
        name: of the layer in the first plan that has it.
    """

    name: str
    before: LayerPlan | None
    after: LayerPlan | None

    @property
    def moved(self) -> bool:
        """Whether it is placed otherwise, or in one plan only."""
        return self.before is None or self.after is None or self.before.placement != self.after.placement

    @property
    def told_apart(self) -> bool | None:
        """Whether the sensitivities' intervals have nothing in common; None where one is not known."""
        one, other = (None if layer is None else layer.sensitivity for layer in (self.before, self.after))
        if one is None or other is None or one.metric != other.metric or not one.interval or not other.interval:
            return None
        return one.interval[1] < other.interval[0] or other.interval[1] < one.interval[0]


@dataclass(frozen=True)
class MachineDiff:
    """Differences between two machines.

    Attributes:
        hardware: path of a field -> its two values; a list or table of values is one field.
    """

    hardware: dict[str, Change]

    def lines(self) -> list[str]:
        """A line each field; all fields of an override, which calibrated layers have, are in one."""
        found: dict[str, list[str]] = {}
        for path, values in self.hardware.items():
            override = _OVERRIDE.match(path)
            place, field = (path, "") if override is None else (override[1], f"{path[override.end() :]} ")
            found.setdefault(place, []).append(field + _change_text(*values))
        return [one_line(f"hardware {place}: {', '.join(told)}") for place, told in found.items()]

    def rendered(self, before: str, after: str, width: float) -> list[str]:
        """Differences as lines of text, one at least."""
        return self.lines() or ["no difference"]

    def document(self) -> dict[str, object]:
        """Differences as a document for JSON."""
        return {"empty": not self.hardware, "hardware": {path: list(values) for path, values in self.hardware.items()}}


@dataclass(frozen=True)
class PlanDiff:
    """Differences between two plans.

    Attributes:
        same_network: whether graph and weights are the same.
        layers: that differ in placement, reason, sensitivity or size.
        outcome: field -> its two values.
        hardware: path of a field -> its two values.
        shares: analog shares of all MACs.
        sizes: how many layers each has.
        common: how many of them belong together.
        units: of scores and of drops, where these are shares in both plans.
        drop_word: what a drop is called, where the metric says it in both plans.
        digital: field of the arithmetic of digital products, or ``ranges.`` and a tensor -> its two values.
    """

    same_network: bool
    layers: tuple[LayerChange, ...]
    outcome: dict[str, Change]
    hardware: dict[str, Change]
    shares: tuple[float, float]
    sizes: tuple[int, int]
    common: int
    units: tuple[str, str] = ("", "")
    drop_word: str = "drop"
    digital: dict[str, Change] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        return self.same_network and not (self.layers or self.digital or self.outcome or self.hardware)

    @property
    def moved(self) -> tuple[LayerChange, ...]:
        """Layers that are placed otherwise."""
        return tuple(change for change in self.layers if change.moved)

    @property
    def unrelated(self) -> bool:
        """Whether the networks have less than half of the smaller one's layers in common."""
        return not self.same_network and 2 * self.common < min(self.sizes)

    @property
    def notice(self) -> str | None:
        """First line of a comparison; None for two placements of one network."""
        if self.same_network:
            return None
        if not self.unrelated:
            return "the networks differ in graph or weights; layers are compared by name"
        one, two = self.sizes
        return (
            f"different networks: of {one} and {two} layers, {self.common} have the same name or weight, so layers are"
            " not compared (--json lists them); give two placements of one network, such as 'lhc partition' writes with"
            " two budgets"
        )

    def table(self) -> Table:
        """One row a layer that differs."""
        headers = ["layer", "placement", "reason", "sizes", "sensitivity", "intervals"]
        return Table(headers, [_row(change) for change in self.layers], spare=(4, 2, 3, 5))

    def rendered(self, before: str, after: str, width: float) -> list[str]:
        """All differences of two files as text, for a terminal ``width`` characters wide."""
        told = [f"{before}, {after}: {self.notice}\n"] if self.notice is not None else []
        if self.layers and not self.unrelated:
            table, note = self.table().fitted(width, "--json")
            told += [table.render(), *([note] if note else []), ""]
        return [*told, *self.lines()]

    def lines(self) -> list[str]:
        """Differences beside single layers, a line each; the last one sums up."""
        lines = self._judged_otherwise()
        lines += MachineDiff(self.hardware).lines()
        lines += self._of_digital()
        lines += self._of_outcome()
        one, two = map(share_text, self.shares)
        total = f"analog MACs {one} -> {two}"
        if not self.unrelated:
            differ = f"{len(self.layers)} {'differs' if len(self.layers) == 1 else 'differ'}"
            total = f"{counted(len(self.moved), 'layer')} placed otherwise, {differ}; {total}"
        return [*map(one_line, lines), "no difference" if self.empty else total]

    def _of_digital(self) -> Iterator[str]:
        """A line a field of the arithmetic; one for the ranges of all tensors."""
        ranges = {name: values for name, values in self.digital.items() if name.startswith(_RANGES)}
        for name, values in self.digital.items():
            if name not in ranges:
                yield f"digital {_field_words(name)}: {_change_text(*values)}"
        if ranges:
            name, values = next(iter(ranges.items()))
            example = f"{name.removeprefix(_RANGES)} {_change_text(*values)}"
            yield f"digital ranges: other for {counted(len(ranges), 'tensor')}, e.g. {example}"

    def _of_outcome(self) -> Iterator[str]:
        """A line a field; intervals that read the same are one."""
        units = (*self.units, self.drop_word)
        told = {name: _change_text(one, two, name, units) for name, (one, two) in self.outcome.items()}
        same = [name for name in _INTERVALS if "interval" in told and told.get(name) == told["interval"]]
        alike = len(same) == len(_INTERVALS)
        for name, text in told.items():
            called = _NAMES.get(name, _field_words(name)).replace("drop", self.drop_word)
            if name in same and len(same) > 1:
                if alike == (name != "interval"):
                    continue
                called += ", for these samples and others alike" if alike else " (compared with the budget)"
            yield f"{called}: {text}"

    def _judged_otherwise(self) -> list[str]:
        """Note that drops and budgets cannot be compared, where metric, its direction or the output is another."""
        ways = [self.outcome[name] for name in ("metric", "output", "higher_is_better") if name in self.outcome]
        if all(None in values for values in ways):
            return []
        one, two = self.outcome.get("metric", ("", ""))
        how = f"by {one} and by {two}" if one != two else "on other outputs or in another direction"
        return [f"judged {how}: their values, drops and budgets cannot be compared"]

    def document(self) -> dict[str, object]:
        """Differences as a document for JSON."""
        return {
            "empty": self.empty,
            "same_network": self.same_network,
            "analog_mac_fraction": list(self.shares),
            "layers": [
                {
                    "name": change.name,
                    "moved": change.moved,
                    "told_apart": change.told_apart,
                    "before": _fields(change.before),
                    "after": _fields(change.after),
                }
                for change in self.layers
            ],
            "digital": {name: list(values) for name, values in self.digital.items()},
            "outcome": {name: list(values) for name, values in self.outcome.items()},
            "hardware": {path: list(values) for path, values in self.hardware.items()},
        }


def compare(before: Plan, after: Plan) -> PlanDiff:
    """Differences between two plans. Layers belong together by name, else by that of a weight that both have once."""
    pairs = list(_pairs(before.layers, after.layers))
    return PlanDiff(
        before.source == after.source,
        tuple(LayerChange((one or two).name, one, two) for one, two in pairs if _fields(one) != _fields(two)),  # type: ignore[union-attr]
        _changes(_outcome(before), _outcome(after), _ROUNDING),
        compare_machines(before.hardware, after.hardware).hardware,
        (before.analog_mac_fraction, after.analog_mac_fraction),
        (len(before.layers), len(after.layers)),
        sum(one is not None and two is not None for one, two in pairs),
        _units(before, after),
        _drop_word(before, after),
        _changes(_digital(before), _digital(after)),
    )


def compare_machines(before: Hardware, after: Hardware) -> MachineDiff:
    """Differences between two machines."""
    return MachineDiff(_changes(_machine(before), _machine(after)))


def _machine(hardware: Hardware) -> dict[str, object]:
    """Its fields by their path, without who chose the tiles of layers that were given none."""
    nested = fields_by_path(hardware.model_dump(mode="json"))
    # A number has a source of its own or not: it is the same field.
    fields = {path.removesuffix(".value"): value for path, value in nested.items()}
    idle = {f"{path}_by" for path in fields if path.endswith(".on_tiles") and fields[path] is None}
    return {path: value for path, value in fields.items() if path not in idle}


def _units(before: Plan, after: Plan) -> tuple[str, str]:
    """Units of scores and of drops; empty where both plans do not have the same."""
    found = [plan.outcome for plan in (before, after) if plan.outcome is not None]
    shares, kinds = all(outcome.percent for outcome in found), {outcome.drop_type for outcome in found}
    if kinds == {"relative"}:
        return "%" if shares else "", "% of the digital value"
    return ("%", "points") if shares and kinds == {"absolute"} else ("", "")


def _drop_word(before: Plan, after: Plan) -> str:
    words = {plan.outcome.drop_word for plan in (before, after) if plan.outcome is not None}
    return words.pop() if len(words) == 1 else "drop"


def _pairs(
    before: tuple[LayerPlan, ...], after: tuple[LayerPlan, ...]
) -> Iterator[tuple[LayerPlan | None, LayerPlan | None]]:
    names = {layer.name for layer in before}
    waiting = {layer.name: layer for layer in after}
    by_weight = {layer.weight: layer for layer in after if layer.weight is not None and layer.name not in names}
    for layer in before:
        other = waiting.get(layer.name) or by_weight.get(layer.weight or "")
        if other is not None:
            other = waiting.pop(other.name, None)
        yield layer, other
    yield from ((None, layer) for layer in waiting.values())


def _fields(layer: LayerPlan | None) -> dict[str, object] | None:
    """Compared fields of a layer: not its sentence, nor its name in either file; digital ones take no tiles."""
    if layer is None:
        return None
    kept = {"placement", "reason", "sensitivity", "macs", "parameters", "tiles", "copies"}
    return layer.model_dump(mode="json", include=kept)


def _outcome(plan: Plan) -> dict[str, object]:
    # What else was tested says how a placement was found, not how it does.
    return {} if plan.outcome is None else plan.outcome.model_dump(mode="json", exclude={"tested"})


def _digital(plan: Plan) -> dict[str, object]:
    """Arithmetic of the digital products by field; every tensor's range is one, and what is not set is left out."""
    if plan.digital is None:
        return {}
    fields = plan.digital.model_dump(mode="json")
    ranges = {f"{_RANGES}{tensor}": found for tensor, found in fields.pop("ranges").items()}
    fields["as_file"] = sorted(fields["as_file"])
    return {name: value for name, value in fields.items() if value not in (None, [])} | ranges


def _changes(before: dict[str, object], after: dict[str, object], rounding: float = 0.0) -> dict[str, Change]:
    pairs = {key: (before.get(key), after.get(key)) for key in (*before, *after)}
    return {
        key: (one, two)
        for key, (one, two) in pairs.items()
        if not _equal(one, two, rounding) and not (key in _OF_LATER_VERSIONS and None in (one, two))
    }


def _equal(one: object, two: object, rounding: float) -> bool:
    if isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=rounding, abs_tol=rounding)
    return one == two


def _row(change: LayerChange) -> list[str]:
    one, two = change.before, change.after
    apart = {True: "apart", False: "overlap", None: "-"}[change.told_apart]
    if one and two and one.sensitivity is not None and one.sensitivity == two.sensitivity:
        apart = "same"
    names = ("placement", "reason", "sensitivity")
    placement, reason, sensitivity = (
        _change_text(getattr(one, name, None), getattr(two, name, None)) for name in names
    )
    return [_title(one, two), placement, reason, _sizes(one, two), sensitivity, apart]


def _sizes(one: LayerPlan | None, two: LayerPlan | None) -> str:
    """Changes of a layer's size."""
    if one is None or two is None:
        return "-"
    names = ("macs", "parameters", "tiles", "copies")
    before, after = _fields(one) or {}, _fields(two) or {}
    changed = [name for name in names if before[name] != after[name]]
    return ", ".join(f"{name} {_change_text(before[name], after[name])}" for name in changed) or "-"


def _title(one: LayerPlan | None, two: LayerPlan | None) -> str:
    """Title of a layer; both where the plans name it differently."""
    if one is not None and two is not None and one.name != two.name:
        return f"{one.title} -> {two.title}"
    layer = one or two
    return "-" if layer is None else layer.title


def _field_words(name: str, units: Units = NO_UNITS, of: str = "") -> str:
    """A field as people call it; ``of``: the field whose part it is."""
    if of == "healing" and name in _HEALED:
        return _HEALED[name]
    return name.replace("_", " ").replace("drop", units[2])


def _change_text(one: object, two: object, field: str = "", units: Units = NO_UNITS, part: bool = False) -> str:
    """Change of a value: both, with digits enough to tell them apart; of two records, what differs.

    Args:
        field: of an outcome, where they are of one.
        units: of what a plan says.
        part: they are of a record, in whose line units are long enough once for both.
    """
    if isinstance(one, dict) and isinstance(two, dict):
        changed = [name for name in {**one, **two} if one.get(name) != two.get(name)]
        return ", ".join(
            f"{_field_words(name, units, field)} {_change_text(one.get(name), two.get(name), name, units, True)}"
            for name in changed
        )
    texts: tuple[str, ...] = ()
    for longest, digits in product((_SHOWN, _EVERY), _DIGITS):
        texts = tuple(_shown(value, digits, field, units, longest) for value in (one, two))
        if one == two or texts[0] != texts[1]:
            break
    if one == two:
        return texts[0]
    unit = _unit(field, units)
    if part and unit and texts[1].endswith(unit):
        texts = texts[0].removesuffix(f" {unit}"), texts[1]
    return " -> ".join(texts)


def _shown(value: object, digits: int, field: str, units: Units, longest: int) -> str:
    """A value: so many digits, hundredths where it has a unit; digests, and lists longer than ``longest``, are cut."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    unit = _unit(field, units)
    if isinstance(value, float):
        if field == "t_s":
            return time_text(value)
        return f"{100 * value:.{digits}g} {unit}" if unit else f"{value:.{digits}g}"
    if isinstance(value, Sensitivity):
        bounds = "" if value.interval is None else f" {_shown(list(value.interval), digits, field, units, longest)}"
        return f"{value.mean:.{digits}g}{bounds} {value.metric}, {value.basis}"
    if isinstance(value, list):
        texts = [_shown(inner, digits, field, units, longest).removesuffix(f" {unit}") for inner in value]
        cut = len(texts) > longest
        inside = f"{len(texts)}: {texts[0]}, …, {texts[-1]}" if cut else ", ".join(texts)
        return f"[{inside}] {unit}".strip()
    if isinstance(value, dict):
        return ", ".join(
            f"{_field_words(name, units, field)} {_shown(inner, digits, name, units, longest)}"
            for name, inner in value.items()
        )
    return str(value)[:_DIGEST] if _SHA_256.fullmatch(str(value)) else str(value)


def _unit(field: str, units: Units) -> str:
    """Unit of a field that is a share."""
    if field in _SHARES:
        return "%"
    if field in _SCORES:
        return units[0]
    return units[1] if field in (*_DROPS, *_HEALED) else ""
