"""Memory: large arrays that are used again."""
