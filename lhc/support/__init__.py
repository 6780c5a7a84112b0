"""What any program needs: files written whole, bounded YAML, tables as text, functions that users name."""
