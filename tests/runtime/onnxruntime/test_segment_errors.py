"""A digital segment that fails: the samples' fault, that of the layers before it, or lhc's own."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.canonical import canonical
from lhc.errors import CRASHED, CutError, DataError
from lhc.onnx_io import load_model, read_graph
from lhc.runtime import HybridSession, parity_errors
from lhc.runtime.segments import Segment, SegmentModels
from tests.runtime.models_on_tiles import IDEAL, LIONHEART

pytestmark = pytest.mark.analog

TEXT = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 2] x) => (float[N, 2] y)
<float[2, 1] w = {1, 1}, int64[1] last = {-1}, float[5, 2] table = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}> {
  [sum] a = MatMul (x, w)
  [cut] f = Floor (a)
  [index] i = Cast <to = 7> (f)
  [flat] j = Reshape (i, last)
  [look] y = Gather (table, j)
}"""


def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(TEXT)


def samples(last: float) -> dict[str, np.ndarray]:
    return {"x": np.array([[0.25, 1.0], [2.0, 1.0], [4.0, last]], np.float32)}


def test_samples_that_the_whole_network_does_not_take() -> None:
    with pytest.raises(DataError, match=r"onnxruntime fails on this data.*idx=6") as caught:
        HybridSession(model(), IDEAL, "all-analog").run(None, samples(2.0))
    assert "digital network" not in str(caught.value)


def test_a_list_that_onnxruntime_announces_is_told() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 4, 4, 4] x, float[4] s) => (float[N, A, B, C] y) {
      y = Resize <mode = "cubic"> (x, , s)
    }"""
    feeds = {"x": np.ones((1, 4, 4, 4), np.float32), "s": np.array([1, 0.5, 0.5, 0.5], np.float32)}
    with pytest.raises(DataError, match=r"mode only supports: \* 2-D inputs"):
        HybridSession(onnx.parser.parse_model(text), IDEAL, ()).run(None, feeds)


def test_what_errors_of_analog_layers_do_is_told_from_samples() -> None:
    """4.98 of at most 5: noise makes it 5 in some of 200 samples, for which there is no entry."""
    many = {"x": np.repeat(samples(0.98)["x"], 200, axis=0)}
    with pytest.raises(
        DataError, match=r"The digital network runs on it: what the segment from 'cut' to 'look' reads.*--exclude"
    ):
        HybridSession(model(), LIONHEART, "all-analog").run(None, many)


def test_a_segment_that_was_cut_wrongly_is_a_mistake_of_lhc_s(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = SegmentModels.of

    def lossy(self: SegmentModels, segment: Segment) -> onnx.ModelProto:
        found = whole(self, segment)
        for tensor in found.graph.initializer:
            if tensor.name == "table":
                tensor.CopyFrom(numpy_helper.from_array(np.ones((1, 2), np.float32), "table"))
        return found

    monkeypatch.setattr(SegmentModels, "of", lossy)
    with pytest.raises(CutError, match=r"whole network runs on the same data, the segment from 'cut'.*mistake") as one:
        HybridSession(model(), IDEAL, "all-analog").run(None, samples(0.0))
    assert one.value.exit_code == CRASHED


def test_a_segment_that_does_not_load_is_a_mistake_of_lhc_s(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = SegmentModels.of

    def lossy(self: SegmentModels, segment: Segment) -> onnx.ModelProto:
        found = whole(self, segment)
        del found.graph.initializer[:]
        return found

    monkeypatch.setattr(SegmentModels, "of", lossy)
    with pytest.raises(CutError, match="It loads the whole network, but not the segment from 'cut' to 'look'"):
        HybridSession(model(), IDEAL, "all-analog")


def test_a_canonical_form_that_does_not_run_is_a_mistake_of_lhc_s(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 2] x) => (float[N, 2] y)
    <float[2, 2] w = {1, 2, 3, 4}> { r = Relu (x) [sum] y = Einsum <equation = "nf,fo->no"> (r, w) }"""
    network = canonical(load_model(onnx.parser.parse_model(text)))
    whole = SegmentModels.of

    def lossy(self: SegmentModels, segment: Segment) -> onnx.ModelProto:
        found = whole(self, segment)
        for tensor in found.graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(np.ones((3, 2), np.float32), tensor.name))
        return found

    graph, feeds = read_graph(network), {"x": np.ones((3, 2), np.float32)}
    (name,) = (layer.name for layer in graph.candidates)
    assert parity_errors(network, graph, IDEAL, [name], feeds, 3)[name] < 1e-5
    monkeypatch.setattr(SegmentModels, "of", lossy)
    with pytest.raises(CutError, match="The mistake is in lhc"):
        parity_errors(network, graph, IDEAL, [name], feeds, 3)
