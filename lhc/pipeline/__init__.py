"""The pipeline: from what a user names to a placement that is verified. What has effects is here."""
