"""Cost models of published machines, and their registry."""
