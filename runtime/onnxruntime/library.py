"""onnxruntime, told to send nothing: lhc gets it from here, and imports it nowhere else.

The wheels of onnxruntime 1.32 write a record of this machine, the process and its sessions into the user's cache
(``Microsoft/DeveloperTools/.onnxruntime``) and send it to Microsoft, unless the environment says otherwise before the
library is loaded (its Privacy.md). Where a program has loaded onnxruntime before lhc, the start is recorded already;
what comes later is switched off.

Processes that lhc starts inherit the variable. The one that opens a model first
(`lhc.runtime.onnxruntime.sandboxed_open`) loads onnxruntime without this package, and sets it itself.
"""

import os

from lhc.runtime.onnxruntime.sandboxed_open import TELEMETRY_OFF

os.environ.update(TELEMETRY_OFF)

import onnxruntime

onnxruntime.disable_telemetry_events()

__all__ = ["onnxruntime"]
