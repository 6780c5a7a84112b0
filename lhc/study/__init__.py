"""The stages of the work, from what a user names to a placement that is verified: what has effects."""
