"""Feature vectors in each model's own space, and generation with them."""
