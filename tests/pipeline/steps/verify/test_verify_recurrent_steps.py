"""Steps of a recurrent operator are one layer where a placement is told that was tested and not kept."""

import lhc
from lhc.measure import Budget, PlacementJudge
from lhc.passes import STRATEGIES
from lhc.samples.metrics import METRICS
from tests.networks import drawn, parsed
from tests.pipeline.known_drops import BUDGET, FakeEvaluator, place

LSTM = """
<ir_version: 10, opset_import: ["" : 20]>
net (float[5, N, 16] x) => (float[1, N, 8] last) {
  [lstm] all, last, cell = LSTM <hidden_size = 8> (x, w, r)
}"""


def test_steps_are_counted_as_one_layer() -> None:
    analysis = lhc.analyze(parsed(LSTM, drawn({"w": (1, 32, 16), "r": (1, 32, 8)})))
    inputs, *steps = [row.name for row in analysis.plan.layers]
    select = FakeEvaluator(METRICS["accuracy"], dict.fromkeys([inputs, *steps], 0.00001), 3)
    verify = FakeEvaluator(METRICS["accuracy"], {inputs: 0.0001} | dict.fromkeys(steps, 0.01), 3, split=1)
    found = place(
        analysis.facts, analysis.plan, STRATEGIES["sensitivity"], PlacementJudge(select, Budget(BUDGET)), verify
    )
    assert found.verdict.accepted
    assert found.plan.analog == {inputs}
    assert len(steps) == 4
    assert any(note.startswith("tested too: 2 analog layers, with lstm/recurrent, 4 steps: ") for note in found.notes)
