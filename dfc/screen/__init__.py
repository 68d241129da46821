"""From what a run holds to an answer: what tells sets of prompts apart, what findings are about, what was decided."""
