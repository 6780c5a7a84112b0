"""Models to files, never half of one, and never over something of the user's."""
