"""What multiplies by programmed tiles: one definition on aihwkit's arithmetic, and one fast path that is compiled."""
