"""Findings one at a time: what is needed to decide, and what was decided."""
