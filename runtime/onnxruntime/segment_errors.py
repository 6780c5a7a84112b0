"""Attribution of a failing digital segment: to samples, to analog layers before it, or to the cut."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lhc.errors import CutError, DataError, LhcError, ModelError
from lhc.onnx_io import input_shapes
from lhc.onnx_model import OnnxModel
from lhc.runtime.onnxruntime.sessions import Array, create_session, observe_tensors, run_session
from lhc.runtime.segments import Segment, SegmentModels

if TYPE_CHECKING:
    from lhc.runtime.onnxruntime.library import onnxruntime

_REPORT = "The mistake is in lhc; please report it where you got lhc, with the model if you may share it"


def answers_of(
    model: OnnxModel, models: SegmentModels, segment: Segment, given: Mapping[str, Array], feeds: Mapping[str, Array]
) -> list[Array]:
    """Outputs of a segment by itself.

    Args:
        given: its inputs.
        feeds: inputs of the network, which runs on them.

    Raises:
        CutError: it cannot be loaded, or fails.
    """
    try:
        session = create_session(models.of(segment), model.label)
    except ModelError as failed:
        raise cut_failure(model, segment, failed) from failed
    try:
        return run_session(session, segment.outputs, given, model.label)
    except DataError as failed:
        raise run_failure(model, segment, session, feeds, failed) from failed


def run_failure(
    model: OnnxModel,
    segment: Segment,
    session: "onnxruntime.InferenceSession",
    feeds: Mapping[str, Array],
    failed: DataError,
) -> LhcError:
    """The error to raise where a segment failed: of the samples, unless the digital network runs on them.

    Args:
        session: of the segment.
        feeds: inputs of the network, perhaps with other tensors.
        failed: what running the segment raised.
    """
    asked = [value.name for value in model.proto.graph.output]
    feeds = {name: feeds[name] for name in input_shapes(model)}
    inner = [tensor for tensor in segment.inputs if tensor not in feeds]
    try:
        # What is written out for calls that go one way fails in others, though the file runs.
        written_out = model.file is not None and model.file.control
        whole = model.proto if written_out else model.as_file()
        run_session(create_session(whole, model.label), asked, feeds, model.label)
        digital = dict(feeds) | observe_tensors(model, inner, feeds)
    except LhcError:
        return failed
    try:
        run_session(session, segment.outputs, {name: digital[name] for name in segment.inputs}, model.label)
    except DataError:
        control = {} if model.file is None else model.file.control
        if control:  # written out for the iterations or steps of the calls that it was placed for
            taken = ", ".join(f"{way} of {node!r}" for node, way in control.items())
            return DataError(f"{failed}. It is placed for calls that take {taken}, and this data may ask for others")
        return CutError(f"{failed}. The whole network runs on the same data, {_title(segment)} does not. {_REPORT}")
    return DataError(
        f"{failed}. The digital network runs on it: what {_title(segment)} reads comes from analog layers, whose errors"
        " it does not stand; keep layers before it digital (--exclude)"
    )


def cut_failure(model: OnnxModel, segment: Segment, failed: LhcError) -> LhcError:
    """The error to raise where onnxruntime does not load a segment: of the model, unless it loads that."""
    try:
        create_session(model.as_file(), model.label)
    except LhcError:
        return failed
    return CutError(f"{failed}. It loads the whole network, but not {_title(segment)}. {_REPORT}")


def _title(segment: Segment) -> str:
    """``the segment from 'a' to 'b'``."""
    first, last = segment.layers[0], segment.layers[-1]
    return f"the segment of {first!r}" if first == last else f"the segment from {first!r} to {last!r}"
