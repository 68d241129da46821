"""The front page of a run."""
