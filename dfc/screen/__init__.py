"""From what a run holds to an answer: what tells sets of prompts apart."""
