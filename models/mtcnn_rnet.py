"""R-Net of MTCNN: whether a window of 24 x 24 pixels is a face (Zhang et al., IEEE SPL 23, 2016).

The second of the three networks of a face detector, which throws out most of what the first proposed. Its weights,
100,178 of them, are those of the Python package ``mtcnn`` (MIT).

Windows are those of ``lfw_subset.npy`` in scikit-image: 100 faces of Labeled Faces in the Wild and 100 windows of the
same photographs without one, grey, 25 x 25, of which the last row and column are left out. The data set's authors made
it public for research; the file comes with scikit-image (BSD-3-Clause). It is an easy task: windows without a face were
drawn at random, and do not look like one. MTCNN's authors state what all three networks do together on whole
photographs (FDDB, WIDER FACE), not the accuracy of this one. All 200 are told right.
"""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lhc.errors import DataError
from lhc.models.installed_files import InstalledFile, PackageEntry
from lhc.models.zoo_entry import require
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

if TYPE_CHECKING:
    import onnx

WINDOWS = InstalledFile(
    "scikit-image==0.26.0",
    "skimage",
    "data/lfw_subset.npy",
    "9560ec2f5edfac01973f63a8a99d00053fecd11e21877e18038fbe500f8e872c",
)
FACES, SIZE = 100, 24
"""The first so many windows are faces."""


class MtcnnRNet(PackageEntry):
    """Faces and other windows: three convolutions and two dense layers that find them, one that places their boxes."""

    name: ClassVar[str] = "mtcnn-rnet"
    description: ClassVar[str] = "R-Net of MTCNN, faces among 200 windows of photographs; needs lhc[zoo]"
    max_drop: ClassVar[float] = 0.01
    weights: ClassVar[InstalledFile] = InstalledFile(
        "mtcnn==1.0.0",
        "mtcnn",
        "assets/weights/rnet.lz4",
        "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    )

    def built(self, path: Path) -> "onnx.ModelProto":
        """The network from ``x``, ``(batch, 3, 24, 24)``, to ``face``, ``(batch, 2)``, and ``box``, ``(batch, 4)``."""
        require("reading the weights of mtcnn-rnet", "joblib", "lz4", extra="zoo")
        import joblib

        # A pickle runs what it says; this one is known by its digest.
        return _network([np.asarray(array, np.float32) for array in joblib.load(path)])

    def task(self) -> Task:
        """200 windows, half of them faces, judged by accuracy."""
        windows = np.load(WINDOWS.find(self.name), allow_pickle=False)
        if windows.shape != (2 * FACES, SIZE + 1, SIZE + 1):
            raise DataError(f"lfw_subset.npy holds windows {windows.shape}, not 200 of 25 x 25")
        pixels = np.repeat(windows[:, None, :SIZE, :SIZE], 3, axis=1) * 255
        labels = (np.arange(2 * FACES) < FACES).astype(np.int64)
        order = np.random.default_rng(0).permutation(2 * FACES)
        return Task({"x": ((pixels - 127.5) / 128).astype(np.float32)[order]}, labels[order], get_metric("accuracy"))


def _network(arrays: list[np.ndarray]) -> "onnx.ModelProto":
    """R-Net from Keras' arrays: kernels ``(height, width, in, out)``, biases and slopes, in the order of its layers."""
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes, weights = [], []

    def stored(name: str, array: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    value = "x"
    kernels, biases, slopes = arrays[0:9:3], arrays[1:9:3], arrays[2:9:3]
    for number, (kernel, bias, slope) in enumerate(zip(kernels, biases, slopes, strict=True), 1):
        conv, prelu = f"conv{number}", f"prelu{number}"
        inputs = [value, stored(f"{conv}.weight", kernel.transpose(3, 2, 0, 1)), stored(f"{conv}.bias", bias)]
        nodes.append(helper.make_node("Conv", inputs, [conv], conv))
        nodes.append(
            helper.make_node("PRelu", [conv, stored(f"{prelu}.slope", slope.reshape(-1, 1, 1))], [prelu], prelu)
        )
        value = prelu
        if number < 3:
            pads = {"auto_pad": "SAME_UPPER"} if number == 1 else {}
            value = f"pool{number}"
            nodes.append(
                helper.make_node("MaxPool", [prelu], [value], value, kernel_shape=[3, 3], strides=[2, 2], **pads)
            )
    # Keras flattens (width, height, channels): its permutation is undone in the rows of the matrix.
    side, channels = 3, kernels[-1].shape[3]
    rows = arrays[9].reshape(side, side, channels, -1).transpose(2, 1, 0, 3).reshape(side * side * channels, -1)
    nodes.append(helper.make_node("Flatten", [value], ["flat"], "flat"))
    dense: list[tuple[str, str, np.ndarray, np.ndarray]] = [
        ("fc4", "flat", rows, arrays[10]),
        ("box", "prelu4", arrays[12], arrays[13]),
        ("fc5", "prelu4", arrays[14], arrays[15]),
    ]
    for name, source, matrix, bias in dense:
        inputs = [source, stored(f"{name}.weight", matrix), stored(f"{name}.bias", bias)]
        nodes.append(helper.make_node("Gemm", inputs, [name], name))
        if name == "fc4":
            nodes.append(helper.make_node("PRelu", [name, stored("prelu4.slope", arrays[11])], ["prelu4"], "prelu4"))
    nodes.append(helper.make_node("Softmax", ["fc5"], ["face"], "face", axis=1))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", n]) for name, n in (("face", 2), ("box", 4))
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])
    graph = helper.make_graph(nodes, "rnet", [image], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    checker.check_model(model, full_check=True)
    return model
