"""Worlds whose truth is known: what a crosscoder finds in them can be counted."""
