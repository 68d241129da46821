"""Where one model does better than in like texts: the findings of a run."""
