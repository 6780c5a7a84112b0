"""A session on another machine than a placement was made for: what of the plan stays valid there."""

import numpy as np
import pytest

from lhc.canonical import canonical
from lhc.errors import UsageError
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.passes import qualified_plan
from lhc.runtime import HybridSession
from tests.networks import parsed

pytestmark = pytest.mark.analog

MODEL = parsed(
    '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 8] x) => (float[n, 4] y) { y = MatMul (x, w) }',
    {"w": np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)},
)
STATIC = Hardware.load("static-range")


def test_static_ranges_are_not_those_of_another_machine() -> None:
    model = canonical(load_model(MODEL))
    graph = read_graph(model)
    (name,) = (layer.name for layer in graph.candidates)
    plan = qualified_plan(graph, STATIC, model.source).with_ranges({name: (0.7,)})
    plan = plan.decide({name: ("analog", "forced", "chosen by the user")})
    x = np.full((3, 8), 2.0, np.float32)
    quiet = STATIC.model_copy(update={"devices": None})
    (clipped,) = HybridSession(MODEL, hardware=quiet, placement=plan).run(None, {"x": x})
    (half,) = HybridSession(MODEL, hardware=quiet, placement=plan).run(None, {"x": x / 2})
    assert np.allclose(clipped, half, atol=0.2), "both are beyond the range of the plan"
    wider = STATIC.model_copy(update={"dac": STATIC.dac.model_copy(update={"range_quantile": 1.0})})
    with pytest.raises(UsageError, match="needs calibration data: its tiles have static input ranges"):
        HybridSession(MODEL, hardware=wider, placement=plan)
