"""A text of one's own, read by both models."""
