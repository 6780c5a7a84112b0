"""What follows a convolution, computed where its outputs are stored: the same bytes as by onnxruntime behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from lhc.errors import DataError
from lhc.hardware import Hardware, Tiles
from lhc.onnx_io import Constants, load_model, read_graph
from lhc.runtime import HybridSession
from lhc.runtime.engines.protocol import Position
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.operators.epilogue import Epilogue, epilogues

pytestmark = pytest.mark.analog

Array = npt.NDArray[np.float32]

LIONHEART = Hardware.load("lionheart")
SMALL = LIONHEART.model_copy(update={"tiles": Tiles(rows=20, cols=5)})
"""Rows and columns of tiles for every layer of a dozen channels."""
OFFSET = Hardware.model_validate(
    {
        "name": "offset",
        "tiles": {"rows": 64, "cols": 20},
        "dac": {"bits": 6},
        "adc": {"bits": 9, "bound": 40.0, "bound_management": "none"},
        "devices": {"model": "pcm", "pair": "digital-offset", "g_max_us": 25.0, "g_min_us": 5.0},
        "compensation": {"drift": "none", "outputs": "none"},
    }
)


@dataclass(frozen=True)
class _Case:
    """A convolution ``p`` of 12 channels 9x9, its group, kernel and stride, and what reads it, up to ``y``."""

    behind: str
    group: int = 1
    kernel: int = 3
    stride: int = 1
    channels: int = 12
    opset: int = 17

    def model(
        self, inputs: Mapping[str, Sequence[int | str]] | None = None, outputs: str = "float y"
    ) -> onnx.ModelProto:
        """With another convolution ``q`` before it, and stored numbers; more inputs by name."""
        more = "".join(f", float[{', '.join(map(str, shape))}] {name}" for name, shape in (inputs or {}).items())
        pads = f"pads = [{', '.join([str(self.kernel // 2)] * 4)}], strides = [{self.stride}, {self.stride}]"
        model = onnx.parser.parse_model(
            f'<ir_version: 8, opset_import: ["": {self.opset}]> g (float[N, 12, 9, 9] x{more}) => ({outputs}) {{'
            f" [other] q = Conv <{pads}> (x, v) [c] p = Conv <group = {self.group}, {pads}> (x, w, b) {self.behind} }}"
        )
        rng = np.random.default_rng(1)
        weights = {
            "w": rng.normal(size=(self.channels, 12 // self.group, self.kernel, self.kernel)),
            "v": rng.normal(size=(self.channels, 12, self.kernel, self.kernel)),
            "b": rng.normal(size=self.channels),
            "zero": np.array(0),
            "six": np.array(6),
            "one": np.array([1]),
            "three": np.array([3]),
            "b1": rng.normal(size=(1, self.channels, 1, 1)),
        }
        read = {tensor for node in model.graph.node for tensor in node.input}
        model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value, np.int64 if name in ("one", "three") else np.float32), name)
            for name, value in weights.items()
            if name in read
        )
        return model

    def epilogue(self, outputs: str = "float y") -> Epilogue | None:
        """Of the convolution, all analog."""
        model = load_model(self.model(outputs=outputs))
        graph, nodes = read_graph(model, sizes=False), {node.name: node for node in model.proto.graph.node}
        return epilogues(graph, nodes, frozenset({"c", "other"}), Constants(model.proto.graph)).get("c")


def _feeds(shapes: Mapping[str, Sequence[int]], samples: int = 3) -> dict[str, Array]:
    """Some of them no numbers, or infinite."""
    rng = np.random.default_rng(2)
    feeds = {name: rng.normal(size=(samples, *shape)).astype(np.float32) for name, shape in shapes.items()}
    for value, array in zip((np.nan, np.inf), feeds.values(), strict=False):
        array[-1, 0].flat[0] = value
    feeds["x"][0, :, 3:5] = 0
    feeds["x"][-1, 1, 8, 8] = -np.inf
    return feeds


def _answers(
    model: onnx.ModelProto,
    feeds: Mapping[str, Array],
    hardware: Hardware,
    engine: str = "fast",
    calibrated: bool = False,
) -> list[bytes]:
    session = HybridSession(model, hardware, "all-analog", engine=engine)  # type: ignore[arg-type]
    if calibrated:
        session.calibrate({name: np.nan_to_num(array, posinf=1, neginf=-1) for name, array in feeds.items()})
    outputs = [output for _ in range(2) for output in session.run(None, feeds)]
    # The sign of what is no number means nothing, and PyTorch's products give either.
    plain = outputs if engine == "fast" else [np.where(np.isnan(one), np.float32(np.nan), one) for one in outputs]
    return [output.tobytes() for output in plain]


def _both(
    model: onnx.ModelProto,
    feeds: Mapping[str, Array],
    hardware: Hardware,
    engine: str = "fast",
    calibrated: bool = False,
) -> tuple[list[bytes], list[bytes]]:
    """With epilogues, and by onnxruntime behind the products."""
    found = _answers(model, feeds, hardware, engine, calibrated)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lhc.runtime.executor.epilogues", lambda *_: {})
        return found, _answers(model, feeds, hardware, engine, calibrated)


RELU = "[r] y = Relu (p)"
SUM = "[s] y = Add (q, p)"
BOTH = "[s] a = Add (p, q) [r] y = Relu (a)"
CLIP = "[r] y = Clip (p, zero, six)"
FOLLOWED = {
    "Relu": _Case(RELU),
    "Clip": _Case(CLIP),
    "Clip, one bound": _Case("[r] y = Clip (p, , six)"),
    "Clip without bounds": _Case("[r] y = Clip (p)"),
    "Clip of old": _Case("[r] y = Clip <min = -1.0, max = 2.0> (p)", opset=9),
    "Relu, then moved": _Case("[r] a = Relu (p) [m] d = Slice (a, one, three, one) [t] y = Transpose (d)"),
    "Add": _Case(SUM),
    "Add and Clip": _Case("[s] a = Add (p, q) [r] y = Clip (a, zero, six)"),
}
PATHS = {
    "a kernel of one tap": _Case(BOTH, kernel=1),
    "stride 2": _Case(BOTH, stride=2),
    "groups": _Case(BOTH, group=3),
    "channels by themselves": _Case(BOTH, group=12),
    "one output": _Case(BOTH, channels=1),
    "5x5": _Case(BOTH, kernel=5),
}


@pytest.mark.parametrize("name", [*FOLLOWED, *PATHS])
@pytest.mark.parametrize("hardware", [LIONHEART, SMALL], ids=["one tile", "tiles"])
def test_bytes_are_those_of_the_operators_behind(name: str, hardware: Hardware) -> None:
    """Of numbers, of infinite ones, of zeros with either sign, and of what is no number."""
    case = (FOLLOWED | PATHS)[name]
    assert case.epilogue() is not None
    found, expected = _both(case.model(), _feeds({"x": (12, 9, 9)}), hardware)
    assert found == expected
    values = np.frombuffer(found[0], np.float32)
    assert not np.isfinite(values).all()
    assert np.isfinite(values).any()


@pytest.mark.parametrize(("engine", "hardware", "calibrated"), [
    ("aihwkit", LIONHEART, False), ("fast", LIONHEART, True), ("auto", OFFSET, False),
], ids=["reference", "calibrated chips", "digital offset"])  # fmt: skip
@pytest.mark.parametrize("case", [_Case(RELU), _Case(BOTH), _Case(BOTH, group=12)], ids=["Relu", "sum", "channels"])
def test_whatever_multiplies(engine: str, hardware: Hardware, calibrated: bool, case: _Case) -> None:
    found, expected = _both(case.model(), _feeds({"x": (12, 9, 9)}), hardware, engine, calibrated)
    assert found == expected


@pytest.mark.parametrize("shape", [(12, 9, 9), (12, 1, 1), (1, 9, 9), (9,)], ids=str)
def test_what_is_added_may_be_stretched(shape: Sequence[int]) -> None:
    given: dict[str, Sequence[int | str]] = {"z": ("N", *shape) if len(shape) > 1 else shape}
    model = _Case("[s] a = Add (z, p) [r] y = Relu (a) [t] o = Neg (q)").model(given, "float y, float o")
    feeds = _feeds({"x": (12, 9, 9)} | ({"z": shape} if len(shape) > 1 else {}))
    feeds.setdefault("z", np.arange(9, dtype=np.float32))
    feeds["z"].flags.writeable = False  # as mapped files are
    found, expected = _both(model, feeds, LIONHEART)
    assert found == expected


def test_chips_together_are_each_by_itself() -> None:
    """Two chips in one call, which share what is added."""
    model = load_model(_Case("[s] a = Add (z, p) [r] y = Relu (a) [t] o = Neg (q)").model({"z": ("N", 12, 9, 9)}))
    feeds = _feeds({"x": (12, 9, 9), "z": (12, 9, 9)})
    executor = HybridExecutor(model, read_graph(model, sizes=False), ["c"])
    assert executor.layers[0].epilogue is not None
    chips = [executor.states(LIONHEART, 0, draw, 0.0) for draw in (0, 1)]
    programmed = executor.on_chips(chips, LIONHEART, 0, (0, 1))
    together = [y.tobytes() for (y,) in executor.finish(executor.prefix(feeds), programmed, Position(0, 3), ["y"])]
    alone = [
        y.tobytes()
        for number, chip in enumerate(chips)
        for (y,) in executor.finish(
            executor.prefix(feeds), executor.on_chips([chip], LIONHEART, 0, (number,)), Position(0, 3), ["y"]
        )
    ]
    assert together == alone
    assert len(set(alone)) == 2


def test_what_is_added_is_refused_where_it_does_not_fit() -> None:
    model = _Case("[s] y = Add (z, p) [t] o = Neg (q)").model({"z": ("N", "C", "H", "W")}, "float y, float o")
    session = HybridSession(model, LIONHEART, "all-analog")
    with pytest.raises(
        DataError, match=r"'s' adds tensors of shapes \(3, 12, 9, 9\) and \(3, 12, 4, 4\), which do not fit"
    ):
        session.run(None, _feeds({"x": (12, 9, 9), "z": (12, 4, 4)}))


def test_what_becomes_part_of_a_convolution() -> None:
    assert _Case(RELU).epilogue() == Epilogue(("r",), "y", None, 0.0, np.inf)
    assert _Case(CLIP).epilogue() == Epilogue(("r",), "y", None, 0.0, 6.0)
    assert _Case(BOTH).epilogue() == Epilogue(("s", "r"), "y", "q", 0.0, np.inf)
    assert _Case(BOTH).epilogue("float y, float a") == Epilogue(("s",), "a", "q")
    assert _Case("[n] n = Neg (q) [s] a = Add (p, n) [r] y = Relu (a)").epilogue() is None, "what comes later"


@pytest.mark.parametrize(
    ("behind", "outputs"),
    [
        (RELU, "float y, float p"),
        ("[r] r = Relu (p) [s] y = Add (r, p)", "float y"),
        ("[r] y = Clip (p, zero, u) [m] u = ReduceMax <keepdims = 0> (q)", "float y"),
        ("[r] y = Clip (p, six, zero)", "float y"),
        ("[r] y = Clip (p, b1, six)", "float y"),
        ("[s] y = Add (p, p)", "float y"),
        ("[s] y = Add (p, b1)", "float y"),
        ("[r] y = Sigmoid (p)", "float y"),
        ("[r] a = Relu (p) [g] y = GlobalAveragePool (a)", "float y"),
    ],
    ids=[
        "asked for",
        "read twice",
        "bound at run time",
        "no range",
        "many bounds",
        "itself",
        "constant",
        "other",
        "averaged",
    ],
)
def test_what_does_not(behind: str, outputs: str) -> None:
    assert _Case(behind).epilogue(outputs) is None
