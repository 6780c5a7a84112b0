"""Strategies: how the set of analog layers is found."""
