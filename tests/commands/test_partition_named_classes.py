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
            PartitionOptions("m.onnx", passes=("lhc.passes.decide.eligibility:ParityGate",)),
            "errors, tolerance must be given: write NAME{errors=…, tolerance=…}",
        ),
    ],
)
def test_what_is_no_strategy_or_pass_is_refused_by_name(options: PartitionOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pipeline(options)


def test_passes_of_the_users_run_in_the_order_in_which_they_are_given() -> None:
    text = "lhc.passes.decide.eligibility:ParityGate{errors={}, tolerance=1.0}"
    unjudged = "lhc.passes.decide.eligibility:LeaveUnjudged{outputs=[]}"
    for given in ((text, unjudged), (unjudged, text)):
        steps = str(pipeline(PartitionOptions("m.onnx", passes=given)))
        assert (steps.index("  parity  ") < steps.index("  leave-unjudged  ")) == (given[0] == text)
