"""Where one model knows better what follows: the findings of a run."""
