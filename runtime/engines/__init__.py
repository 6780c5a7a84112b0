"""Engines that multiply by programmed tiles: ``aihwkit``, the definition, and ``fast``, compiled."""
