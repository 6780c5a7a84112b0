"""The report as data: what it says, before anything draws it."""
