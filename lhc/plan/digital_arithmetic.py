"""How the digital products of a plan compute: number formats, and the ranges that int8 codes stand for."""

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lhc.hardware.description.digital import Precision
from lhc.plan.field_types import Name, Samples
from lhc.plan.layer_plan import PlanRecord

TensorRange = tuple[Annotated[float, Field(le=0)], Annotated[float, Field(ge=0)]]
"""Least and greatest value that the codes of a tensor hold; 0 is among them, since padding needs a code."""


class DigitalArithmetic(PlanRecord):
    """Arithmetic of the digital products of a network on a machine.

    A product is in ``precision``, or in ``high_precision`` where ``raised`` names it. Products in int8 whose tensors
    have no range are computed as in the file.
    """

    precision: Precision
    high_precision: Literal["bf16", "fp16", "fp32"] | None = None
    raised: tuple[Name, ...] = ()
    """Names of the operators in the high precision."""
    per_channel: bool = True
    """Whether int8 weights have a scale for every output channel."""
    ranges: dict[str, TensorRange] = Field(default_factory=dict)
    """By tensor; of int8 alone."""
    samples: Samples = 1
    """That the ranges are of."""
    as_file: dict[str, str] = Field(default_factory=dict)
    """Operators that multiply and are computed as in the file, by name, with their kind."""

    @model_validator(mode="after")
    def _raised_to_something(self) -> "DigitalArithmetic":
        if self.raised and self.high_precision is None:
            raise ValueError("raised: there is no high_precision")
        return self

    def of(self, name: str) -> Precision | None:
        """Number format of an operator's digital product; None: that of the file."""
        if name in self.as_file:
            return None
        return self.high_precision if self.high_precision is not None and name in self.raised else self.precision

    def with_raised(self, names: Iterable[str]) -> "DigitalArithmetic":
        """The same with exactly these products in the high precision."""
        return self.model_copy(update={"raised": tuple(sorted(names))})

    def with_names(self, names: Mapping[str, str], gone: Collection[str]) -> "DigitalArithmetic":
        """The same for a network whose products have other names, some of which are gone.

        Args:
            names: the earlier name, and the present one; products that are not named here keep theirs.
        """
        raised = tuple(sorted(names.get(name, name) for name in self.raised if name not in gone))
        as_file = {names.get(name, name): kind for name, kind in self.as_file.items() if name not in gone}
        return self.model_copy(update={"raised": raised, "as_file": as_file})

    def of_tensors(self, names: Collection[str]) -> "DigitalArithmetic":
        """The same with the ranges of these tensors alone."""
        return self.model_copy(update={"ranges": {name: r for name, r in self.ranges.items() if name in names}})

    @property
    def _is_of_file(self) -> bool:
        """Whether no product is in a format of the machine: none has ranges, as in a network of float16."""
        return self.precision == "int8" and not self.ranges

    @property
    def text(self) -> str:
        """Number formats in words: ``int8, 2 products in bf16``."""
        if self._is_of_file:
            return "the file's format"
        if not self.raised:
            return self.precision
        many = f"{len(self.raised)} product{'s' if len(self.raised) > 1 else ''}"
        return f"{self.precision}, {many} in {self.high_precision}"

    @property
    def as_file_text(self) -> str:
        """Kinds of operators that compute in the format of the file, in brackets behind `text`; empty without any."""
        kinds = "" if self._is_of_file else ", ".join(dict.fromkeys(self.as_file.values()))
        return f" ({kinds} as in the file)" if kinds else ""
