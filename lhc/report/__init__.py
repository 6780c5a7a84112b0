"""Reports of placed models, their files, and an annotated model in Netron in two colours."""

from lhc.support.lazy_names import make_callable

make_callable(__name__, "lhc.commands.report:report")
