"""Notes and lists."""
