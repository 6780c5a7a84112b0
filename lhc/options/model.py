"""Options of the network that a command takes."""

from typing import TYPE_CHECKING, Literal

from lhc.options.declaration.option_fields import argument, option, options

if TYPE_CHECKING:
    from lhc.onnx_model import ModelSource

__all__ = ["ExternalData", "Model", "ModelForm"]

ExternalData = Literal["keep", "copy"]


@options
class Model:
    """The network."""

    PANEL = "Model"

    model: "ModelSource" = argument(
        "An .onnx file, or a name that 'lhc models' lists.", kw_only=False, metavar="MODEL", reads=str, names="models"
    )


@options
class ModelForm(Model):
    """The network, and what of it is seen as products."""

    dequantize: bool = option(
        "Place operators on integers (QLinearConv, MatMulInteger, …) too, by their dequantised weights.",
        default=False,
        rare=True,
    )
