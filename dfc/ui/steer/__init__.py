"""Steering either model or both, beside the same model left alone."""
