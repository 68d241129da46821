"""From findings to what a person signs: what they are about, in which order to read them, what was decided."""
