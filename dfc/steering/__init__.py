"""Feature vectors in each model's own space, generation with edits, and what the edits do."""
