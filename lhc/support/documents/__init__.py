"""YAML and JSON documents from outside, read in bounded time and memory."""
