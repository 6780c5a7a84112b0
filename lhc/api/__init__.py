"""What lhc does, one function each: analyze, sensitivity, partition, retrain, evaluate, compile, estimate.

Nothing here prints; warnings go to the logger ``lhc``. ``model`` is a path, a zoo name, an ``onnx.ModelProto``, a
loaded model or a ``torch.nn.Module`` (exported on the first two samples of ``data``); ``data`` an ``.npz`` file, arrays
by input name (and ``labels``), or a `Task`; a zoo name brings its own.
Every error is an `LhcError`.
"""

from lhc.api.compiling import compile, compile_draws, placed, split
from lhc.api.estimating import estimate
from lhc.api.exploring import attribute, pareto, robustness
from lhc.api.looking import analyze
from lhc.api.measuring import analog_outputs, evaluate, sensitivity
from lhc.api.placing import DEFAULT_MAX_DROP, partition
from lhc.api.placing_trained import partition_retrained
from lhc.api.reapplying import reapply
from lhc.api.reporting import diff, report_of
from lhc.api.retraining import retrain

__all__ = [
    "DEFAULT_MAX_DROP",
    "analog_outputs",
    "analyze",
    "attribute",
    "compile",
    "compile_draws",
    "diff",
    "estimate",
    "evaluate",
    "pareto",
    "partition",
    "partition_retrained",
    "placed",
    "reapply",
    "report_of",
    "retrain",
    "robustness",
    "sensitivity",
    "split",
]
