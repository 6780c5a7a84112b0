"""Rewrite rules, one operator (or family of operators) a module."""
