"""Samples: what a network is judged on, where they come from, how they are split, how answers are scored."""
