"""The table of exclusive features."""
