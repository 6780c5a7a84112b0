"""How options are declared, parsed and shown."""
