"""Paired activations of two models: collecting them, and the store they lie in."""
