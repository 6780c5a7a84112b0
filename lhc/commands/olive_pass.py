"""lhc as a pass of Olive (extra ``lhc[olive]``), to be put behind those that convert or quantise.

olive.workflows.run(
    {"passes": {"int8": {"type": "OnnxStaticQuantization", …}, "place": {"type": "LhcPartition", …}}, …},
    package_config=package_config(),
)

Olive keeps what a pass made by its settings and its model, and does not look into files that settings name: after a
change of the samples, give them another name or clean Olive's cache.
"""

import json
import logging
from pathlib import Path
from typing import Any

from olive.hardware import AcceleratorSpec
from olive.model import ONNXModelHandler
from olive.model.handler.base import OliveModelHandler
from olive.model.utils import resolve_onnx_path
from olive.package_config import OlivePackageConfig
from olive.passes import Pass
from olive.passes.pass_config import BasePassConfig, PassConfigParam

from lhc.commands.partition import partition
from lhc.errors import UsageError
from lhc.options.by_command import PartitionOptions
from lhc.options.declaration.option_fields import options_of
from lhc.report.wording.placement import verdict_sentence

__all__ = ["LhcPartition", "package_config"]

log = logging.getLogger(__name__)


class LhcPartition(Pass):  # type: ignore[misc]  # Olive is untyped
    """`lhc.partition`: annotates an ONNX model; its parameters are the keywords of the function, but ``model``.

    The model's attributes tell ``lhc``: the verdict in a sentence, and whether the budget is held. Where it is not, the
    model is written all the same, and a warning says so.
    """

    @classmethod
    def _default_config(cls, accelerator_spec: AcceleratorSpec) -> dict[str, PassConfigParam]:
        """Olive's parameters; those that are left out have lhc's own defaults."""
        return {
            one.name: PassConfigParam(type_=Any, default_value=None, description=one.text)
            for one in options_of(PartitionOptions)
            if one.name != "model"
        }

    def _run_for_config(
        self, model: OliveModelHandler, config: BasePassConfig, output_model_path: str
    ) -> ONNXModelHandler:
        if not isinstance(model, ONNXModelHandler):
            raise UsageError(f"LhcPartition places ONNX models, not {type(model).__name__}; put it behind a conversion")
        asked = {name: value for name, value in config.model_dump().items() if value is not None}
        result = partition(model.model_path, **asked)
        path = Path(resolve_onnx_path(output_model_path, Path(model.model_path).name))
        result.save(path, force=True, external_data="copy")
        outcome = result.plan.outcome
        said = verdict_sentence(result.plan, result.plan.tiles(result.facts))
        if outcome is not None and not outcome.within_budget:
            log.warning(said)
        held = None if outcome is None else outcome.within_budget
        attributes = {**(model.model_attributes or {}), "lhc": {"verdict": said, "within_budget": held}}
        if path.with_name(f"{path.name}.data").exists():  # weights beside it: Olive takes the folder along
            return ONNXModelHandler(str(path.parent), onnx_file_name=path.name, model_attributes=attributes)
        return ONNXModelHandler(str(path), model_attributes=attributes)


def package_config() -> dict[str, object]:
    """Olive's own package configuration, with this pass beside its own."""
    found: dict[str, Any] = json.loads(Path(OlivePackageConfig.get_default_config_path()).read_text(encoding="utf-8"))
    everywhere = {key: ["*"] for key in ("supported_providers", "supported_accelerators", "supported_precisions")}
    found["passes"][LhcPartition.__name__] = {"module_path": f"{__name__}.{LhcPartition.__name__}", **everywhere}
    return found
