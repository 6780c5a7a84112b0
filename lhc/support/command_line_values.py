"""Values of a command line as they were written.

typer converts them by pydantic, which takes longer to load than numpy. Options of lhc convert themselves
(`lhc.options.declaration.option_fields`), so text is left as text, and a path becomes one without that.
"""

from pathlib import Path
from typing import Any

__all__ = ["AsWritten"]

_KINDS: dict[Any, type[str] | type[Path]] = {str: str, Path: Path, list[str]: str, list[Path]: Path}


class AsWritten:
    """Command of typer whose parameters take texts and paths as written."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - of typer's own copy of click
        """The parameters, as click gives them."""
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # of the command
        for one in found:
            one.get_runtime_param = _Written  # typer's own would load pydantic
        return found


class _Written:
    """Converter of a value for typer."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 - as typer has it
        """The value of a parameter; one that is neither text nor path is typer's to convert."""
        several, kind = param.multiple or param.nargs == -1, _KINDS.get(param.type_descriptor.annotation)
        if value is None:
            return () if several else None
        if kind is None or (several and isinstance(value, str)):
            return type(param).get_runtime_param(param).coerce(value, param=param, ctx=ctx)
        return [kind(one) for one in value] if several else kind(value)
