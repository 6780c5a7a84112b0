"""`onnx.backend` over `HybridSession`: ``prepare``, ``run_model``, ``supports_device``, as ONNX's own tools call them.

rep = lhc.runtime.backend.prepare(model, hardware="lionheart", placement="all-analog")
outputs = rep.run([array])
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, namedtupledict

from lhc.errors import LhcError, UsageError
from lhc.runtime.hybrid_session import HybridSession
from lhc.runtime.onnxruntime.sessions import Array

__all__ = ["HybridBackend", "HybridBackendRep", "is_compatible", "prepare", "run_model", "supports_device"]


class HybridBackendRep(BackendRep):
    """A prepared model."""

    def __init__(self, session: HybridSession) -> None:
        """Wrap a session, which is ``session``."""
        self.session = session

    def run(
        self, inputs: Mapping[str, Array] | Sequence[Array] | Array, **kwargs: Any
    ) -> tuple[Array, ...]:  # onnx's signature
        """Outputs of one run, in order and by name.

        Args:
            inputs: by name, or in the model's order; an array where there is one.

        Raises:
            UsageError: more inputs than the model has, or an option.
            DataError: data that does not fit.
        """
        if kwargs:
            raise UsageError(f"run takes no options, got {', '.join(kwargs)}")
        names = [info.name for info in self.session.get_inputs()]
        if isinstance(inputs, Mapping):
            feeds = dict(inputs)
        else:
            arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
            if len(arrays) > len(names):
                raise UsageError(f"{len(arrays)} inputs given, the model has {len(names)}: {', '.join(names)}")
            feeds = dict(zip(names, arrays, strict=False))
        outputs = [info.name for info in self.session.get_outputs()]
        result: tuple[Array, ...] = namedtupledict("Outputs", outputs)(*self.session.run(None, feeds))
        return result


class HybridBackend(Backend):
    """Runs models with their analog layers on emulated tiles."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether a model can be prepared."""
        try:
            cls.prepare(model, device, **kwargs)
        except LhcError:
            return False
        return True

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> HybridBackendRep:
        """A model ready to run.

        Args:
            model: annotated, or given a placement.
            kwargs: of `HybridSession`: hardware, placement, seed, t_inference, engine.

        Raises:
            UsageError: another device, or an option that makes no sense.
            ModelError: the model cannot be read or run.
        """
        if not cls.supports_device(device):
            raise UsageError(f"device {device!r}: this backend computes on the CPU")
        return HybridBackendRep(HybridSession(model, **kwargs))

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Array, ...]:
        """Prepare a model and run it once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """The CPU alone."""
        return device.partition(":")[0] == "CPU"


is_compatible = HybridBackend.is_compatible
prepare = HybridBackend.prepare
run_model = HybridBackend.run_model
supports_device = HybridBackend.supports_device
