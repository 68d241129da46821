"""One feature: its contexts, its evidence, what it writes, and what readers said of it."""
