"""What tells two sets of prompts apart."""
