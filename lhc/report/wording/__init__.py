"""Sentences about placements and measurements, for the terminal, HTML and Markdown alike."""
