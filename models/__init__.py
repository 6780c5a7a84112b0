"""The zoo: networks that can be named instead of a file, each with its own samples and metric.

Importing this package loads no torch, onnx or numpy; an entry is imported when it is asked for.
"""

from difflib import get_close_matches
from importlib import import_module

from lhc.errors import UsageError
from lhc.models.zoo_entry import ZooEntry
from lhc.support.lazy_names import make_callable

__all__ = ["ZooEntry", "is_zoo_name", "nearest_zoo_name", "zoo_entry", "zoo_names"]

make_callable(__name__, "lhc.commands.models:models")

_ENTRIES = {
    "digits": "lhc.models.digits:Digits",
    "digits-narrow": "lhc.models.digits:DigitsNarrow",
    "resnet20": "lhc.models.resnet20:ResNet20",
    "resnet8": "lhc.models.resnet8:ResNet8",
    "minilm": "lhc.models.minilm:MiniLm",
    "minilm-squad": "lhc.models.minilm:MiniLmSquad",
    "stories260k": "lhc.models.stories260k:Stories260k",
    "smollm2": "lhc.models.smollm2:SmolLm2",
    "mobilebert": "lhc.models.mobilebert:MobileBert",
    "magika": "lhc.models.magika:Magika",
    "g2p-en": "lhc.models.g2p_en:G2pEn",
    "g2pm": "lhc.models.g2pm:G2pM",
    "langid": "lhc.models.langid:LangId",
    "mtcnn-rnet": "lhc.models.mtcnn_rnet:MtcnnRNet",
    "swift-f0": "lhc.models.swift_f0:SwiftF0",
    "fracast": "lhc.models.fracast:Fracast",
    "ppocr-cls": "lhc.models.ppocr_cls:PpocrCls",
    "ppocr-det": "lhc.models.ppocr_det:PpocrDet",
}


def zoo_names() -> tuple[str, ...]:
    """Names of all entries."""
    return tuple(_ENTRIES)


def is_zoo_name(name: str) -> bool:
    """Whether the zoo has an entry of exactly this name."""
    return name in _ENTRIES


def nearest_zoo_name(name: str) -> str | None:
    """The name of an entry that is most like a wrong one; None where none is like it."""
    return next(iter(get_close_matches(name, _ENTRIES, n=1)), None)


def zoo_entry(name: str) -> ZooEntry:
    """The entry of that name.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    if name not in _ENTRIES:
        near = nearest_zoo_name(name)
        hint = "" if near is None else f"did you mean {near!r}? "
        raise UsageError(f"the zoo has no model {name!r}; {hint}it has {', '.join(_ENTRIES)}")
    module, _, class_name = _ENTRIES[name].partition(":")
    entry = getattr(import_module(module), class_name)()
    if not isinstance(entry, ZooEntry):
        raise TypeError(f"{_ENTRIES[name]} is not a ZooEntry")
    return entry
