"""How far the engines may differ on a layer before that is told as a fault."""

import pytest

from lhc.plan.conformance_result import LayerConformance


@pytest.mark.parametrize(
    ("found", "conforms"),
    [
        ({"apart": 0, "further": 0, "greatest": 0.0}, True),
        ({"apart": 5, "further": 0, "greatest": 1.0}, True),
        ({"apart": 6, "further": 0, "greatest": 1.0}, False),
        ({"apart": 4, "further": 4, "greatest": 3.0}, True),
        ({"apart": 5, "further": 5, "greatest": 3.0}, False),
        ({"apart": 1, "further": 1, "greatest": 200.0}, False),
        ({"apart": 5, "further": 0, "greatest": 1.0, "column": 0.6}, False),
    ],
    ids=["none", "half a percent", "more", "few far", "many far", "one as far as no step explains", "one column"],
)
def test_what_conforms(found: dict[str, float], conforms: bool) -> None:
    layer = LayerConformance.model_validate({"name": "a", "outputs": 1000, "column": 0.0} | found)
    assert layer.conforms is conforms
