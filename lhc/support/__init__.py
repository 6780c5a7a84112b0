"""Support of any program: files written whole, bounded YAML, tables as text, functions that users name."""
