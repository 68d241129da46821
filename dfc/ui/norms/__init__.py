"""Decoder norms, as a histogram and feature by feature."""
