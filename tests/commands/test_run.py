import pytest

import lhc

pytestmark = pytest.mark.analog


def test_every_layer_is_analog_by_the_flag_or_by_the_word() -> None:
    (flag,) = lhc.evaluate("digits-narrow", samples=20, draws=2, all_analog=True)
    (word,) = lhc.evaluate("digits-narrow", samples=20, draws=2, placement="all-analog")
    assert flag == word
    assert flag.drops != (0.0, 0.0)
