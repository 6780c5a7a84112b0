"""Formatting of times, energies, percentages, counts, scores and drops: one formatter for each quantity."""

import math

_TIME_UNITS = ((365 * 86400, "year"), (86400, "day"), (3600, "hour"), (60, "minute"))
"""Seconds of a unit, and its name."""
_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}


def time_text(t_s: float) -> str:
    """A time, not rounded: in the largest unit that takes at most one decimal, else in seconds.

    Where these are more than a day, what they are in days stands beside.

    >>> time_text(31536000), time_text(86400), time_text(7200), time_text(90), time_text(0)
    ('1 year', '1 day', '2 hours', '1.5 minutes', '0 s')
    >>> time_text(3153600), time_text(2592000), time_text(3700), time_text(1234567)
    ('36.5 days', '30 days', '3700 s', '1234567 s (14.3 days)')
    """
    for size, unit in _TIME_UNITS:
        tenths, rest = divmod(10 * t_s, size)
        if tenths >= 10 and rest == 0:
            return f"{tenths / 10:g} {unit}{'' if tenths == 10 else 's'}"
    return f"{t_s:.15g} s" + (f" ({t_s / 86400:.1f} days)" if t_s > 86400 else "")


def field_text(path: str, value: float) -> str:
    """A value of a hardware's field, by its path: seconds as times, all others as numbers."""
    return time_text(value) if path.endswith("_s") and value >= 1 else f"{value:g}"


def work_text(seconds: float) -> str:
    """Duration of work, to two digits or the minute.

    >>> work_text(0.123), work_text(45.6), work_text(150), work_text(9000)
    ('0.12 s', '46 s', '2 min', '2 h 30 min')
    """
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def amount(value: float, unit: str) -> str:
    """Three significant digits with an SI prefix.

    >>> amount(0.000012345, "s"), amount(0, "J"), amount(9.9996e-4, "s")
    ('12.3 µs', '0 J', '1.00 ms')
    """
    if value == 0:
        return f"0 {unit}"
    rounded = float(f"{value:.2e}")
    exponent = min(max(3 * math.floor(math.log10(abs(rounded)) / 3), -15), 12)
    scaled = rounded / 10.0**exponent
    return f"{scaled:.{max(2 - max(math.floor(math.log10(abs(scaled))), 0), 0)}f} {_PREFIXES[exponent]}{unit}"


def millionths(value: float | None) -> str:
    """Seconds or joules as a cell of a column in µs or µJ: hundredths, or two digits of less; None is not known.

    >>> millionths(0.001386), millionths(1.97e-5), millionths(None), millionths(0.0), millionths(1.23e-9)
    ('1,386.00', '19.70', '-', '0.00', '0.0012')
    """
    if value is None:
        return "-"
    return f"{1e6 * value:.2g}" if 0 < value < 1e-7 else f"{1e6 * value:,.2f}"


def count(value: int) -> str:
    """A count with a prefix where it is large.

    >>> count(123), count(4608), count(40_551_424)
    ('123', '4.61 k', '40.6 M')
    """
    return str(value) if value < 1000 else amount(value, "").rstrip()


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Number with its noun: ``3 layers``.

    >>> counted(1, "layer"), counted(20, "layer"), counted(2, "process", "processes")
    ('1 layer', '20 layers', '2 processes')
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def counted_samples(samples: int, documents: int | None = None) -> str:
    """Number of samples, and of documents where they come in such.

    >>> counted_samples(400), counted_samples(40, 12), counted_samples(1, 1)
    ('400 samples', '12 documents (40 windows)', '1 document (1 window)')
    """
    if documents is None:
        return counted(samples, "sample")
    return f"{counted(documents, 'document')} ({counted(samples, 'window')})"


def ratio(value: float) -> str:
    """Ratio as text: one digit behind the point below 10, none above.

    >>> ratio(1.834), ratio(12.3)
    ('1.8', '12')
    """
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def scale_text(value: float) -> str:
    """A factor on the machine's noise, or of an estimate.

    >>> scale_text(1.0), scale_text(0.3333)
    ('1', '0.333')
    """
    return f"{value:.3g}"


def share_text(share: float, decimals: int = 1) -> str:
    """A share of a whole; what is less than the whole does not read as all of it.

    >>> share_text(0.968), share_text(-0.001, 0), share_text(0.99998), share_text(1.0)
    ('96.8 %', '0 %', '99.9 %', '100.0 %')
    """
    if share < 1 - 1e-9 and round(100 * share, decimals) == 100:
        share = 1 - 10.0 ** -(decimals + 2)
    return f"{round(100 * share, decimals) + 0.0:.{decimals}f} %"  # + 0.0: no "-0"


def level_text(confidence: float) -> str:
    """A level of confidence.

    >>> level_text(0.9), level_text(0.992), level_text(0.94)
    ('90 %', '99.2 %', '94 %')
    """
    return f"{100 * confidence:.3g} %"


def number_text(value: float) -> str:
    """A number in its own unit.

    >>> number_text(0.0123456), number_text(12.0)
    ('0.01235', '12')
    """
    return f"{value:.4g}"


def bounds_text(interval: tuple[float, float]) -> str:
    """An interval of such numbers.

    >>> bounds_text((0.0123456, 0.5))
    '[0.01235, 0.5]'
    """
    return f"[{number_text(interval[0])}, {number_text(interval[1])}]"


def metric_value(value: float, percent: bool) -> str:
    """A metric's value: shares in %, others in their own unit.

    >>> metric_value(0.9123, True), metric_value(0.01234567, False)
    ('91.23 %', '0.01235')
    """
    return share_text(value, 2) if percent else number_text(value)


def drop_unit(percent: bool, drop_type: str, metric: str) -> str:
    """The unit of drops, as the name of a column or an axis ends with it; what `drop_value` shows is in it.

    >>> drop_unit(True, "absolute", "accuracy"), drop_unit(False, "relative", "mse"), drop_unit(False, "absolute", "kl")
    (' (points)', ' (% of the digital value)', ' (kl)')
    """
    if drop_type == "relative":
        return " (% of the digital value)"
    return " (points)" if percent else f" ({metric})"


def drop_word(higher_is_better: bool | None) -> str:
    """Word for a worse metric: scores drop, errors rise; None, in plans of earlier versions, counts as a score.

    >>> drop_word(True), drop_word(False)
    ('drop', 'rise')
    """
    return "rise" if higher_is_better is False else "drop"


def drop_value(value: float, percent: bool, budget: float | None = None) -> str:
    """A drop without its unit: hundredths where the metric or the drop is a share.

    Args:
        budget: a share has as many decimals as it takes to read as over it, or as within it; itself it is not rounded.

    >>> drop_value(-0.00001, True), drop_value(0.0123, True), drop_value(1.25, False)
    ('0.00', '1.23', '1.25')
    >>> drop_value(0.01002, True), drop_value(0.01002, True, budget=0.01), drop_value(0.00998, True, budget=0.01)
    ('1.00', '1.002', '1.00')
    >>> drop_value(0.00125, True, budget=0.00125)
    '0.125'
    >>> drop_value(0.00126, True, budget=0.00129), drop_value(0.00121, True, budget=0.00129)
    ('0.126', '0.12')
    """
    if not percent:
        return number_text(value)
    decimals = 2
    if budget is not None:
        exact = next((d for d in range(2, 5) if math.isclose(round(100 * budget, d), 100 * budget)), 2)
        if value > budget:
            enough = (d for d in range(2, 7) if round(100 * value, d) > round(100 * budget, d))
        else:
            first = exact if value == budget else 2
            enough = (d for d in range(first, exact + 1) if round(100 * value, d) <= round(100 * budget, exact))
        decimals = next(enough, decimals)
    return share_text(value, decimals).removesuffix(" %")


def drop_text(value: float, percent: bool, drop_type: str, budget: float | None = None) -> str:
    """A drop in points of a share, % of the baseline, or the metric's own unit; ``budget``: as in `drop_value`.

    >>> drop_text(0.02, True, "absolute"), drop_text(0.02, False, "relative"), drop_text(0.5, False, "absolute")
    ('2.00 points', '2.00 % of the digital value', '0.5')
    """
    if drop_type == "relative":
        return f"{drop_value(value, True, budget=budget)} % of the digital value"
    return f"{drop_value(value, True, budget=budget)} points" if percent else number_text(value)


def drop_range(interval: tuple[float, float], percent: bool, budget: float | None = None) -> str:
    """An interval of drops without their unit, as `drop_value` writes them.

    >>> drop_range((0.01, 0.02), True)
    '1.00 to 2.00'
    """
    return " to ".join(drop_value(bound, percent, budget=budget) for bound in interval)


def drop_interval(
    interval: tuple[float, float] | None, percent: bool, drop_type: str, budget: float | None = None
) -> str:
    """An interval of drops, the unit once.

    >>> drop_interval((0.01, 0.02), True, "absolute"), drop_interval(None, True, "absolute")
    ('1.00 to 2.00 points', 'not known')
    """
    if interval is None:
        return "not known"
    low = drop_value(interval[0], percent or drop_type == "relative", budget=budget)
    return f"{low} to {drop_text(interval[1], percent, drop_type, budget)}"
