"""The report and the plan as files: Markdown, PDF, JSON, graphs, files of other viewers."""
