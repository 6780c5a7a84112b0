"""``lhc models``: the zoo."""

from lhc.cli.framework.output import emit_json, say
from lhc.options.output_options import Json


def models(asked: Json) -> None:
    """List the models that come with lhc."""
    from lhc.models import zoo_entry, zoo_names

    entries = [zoo_entry(name) for name in zoo_names()]
    if asked.json:
        told = [{"name": e.name, "description": e.description, "max_drop": e.max_drop} for e in entries]
        emit_json({"models": told})
    else:
        say("\n".join(f"{entry.name}: {entry.description}" for entry in entries))
