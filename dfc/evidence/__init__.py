"""Whether one model alone has a feature: what speaks for it and against it, and the rule that judges."""
