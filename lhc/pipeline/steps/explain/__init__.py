"""Explanations by measuring: why a budget is not met, what does the damage, and how far a placement holds."""
