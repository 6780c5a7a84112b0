"""What samples tell of an operator whose way the file leaves open."""

import numpy as np
import pytest

from lhc.canonical.control_flow.unresolved import UnresolvedChoice
from lhc.errors import DataError


def test_a_value_chooses_a_branch_or_a_number_of_turns_and_a_size_the_steps() -> None:
    assert UnresolvedChoice("c", is_condition=True).answer(np.array([True])) == "then_branch"
    assert UnresolvedChoice("c", is_condition=True).answer(np.array(False)) == "else_branch"
    assert UnresolvedChoice("n").answer(np.array(3)) == "3"
    assert UnresolvedChoice("x", axis=1).answer(np.zeros((2, 7, 3))) == "7"


@pytest.mark.parametrize(
    ("question", "shape"), [(UnresolvedChoice("c", is_condition=True), (0,)), (UnresolvedChoice("x", axis=1), (4,))]
)
def test_a_tensor_that_tells_nothing_is_named(question: UnresolvedChoice, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=rf"'{question.tensor}' is \[{shape[0]}\], which tells nothing"):
        question.answer(np.zeros(shape))
