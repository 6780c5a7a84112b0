"""``lhc models``: the zoo."""

from typing import ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import emit_json, say
from lhc.options.declare import option, options


@options
class ModelsOptions:
    """Of ``lhc models``."""

    PANEL: ClassVar[str] = "Output"

    json: bool = option("One JSON document.", default=False, result="lhc.models.zoo_entry(name)")


def models(asked: ModelsOptions) -> None:
    """List the models that come with lhc."""
    from lhc.models import zoo_entry, zoo_names

    entries = [zoo_entry(name) for name in zoo_names()]
    document = {"models": [{"name": e.name, "description": e.description, "max_drop": e.max_drop} for e in entries]}
    if asked.json:
        emit_json(document)
    else:
        say("\n".join(f"{entry.name}: {entry.description}" for entry in entries))


command = terminal_command("models", models, ModelsOptions)
