import pytest

from lhc.commands.partition import pipeline
from lhc.errors import UsageError
from lhc.options.by_command import PartitionOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PartitionOptions("m.onnx", strategy="json:dumps"), "--strategy json:dumps: not a strategy"),
        (PartitionOptions("m.onnx", strategy="pathlib:Path"), "--strategy pathlib:Path: not a strategy"),
        (PartitionOptions("m.onnx", passes=("json:dumps",)), "--pass json:dumps: not a pass"),
        (
            PartitionOptions("m.onnx", passes=("lhc.passes.decide.parity_gate:ParityGate",)),
            "errors, tolerance must be given: write NAME{errors=…, tolerance=…}",
        ),
    ],
)
def test_what_is_no_strategy_or_pass_is_refused_by_name(options: PartitionOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pipeline(options)
