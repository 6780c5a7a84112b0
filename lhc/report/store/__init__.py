"""Results that reports are made from, kept in a folder."""
