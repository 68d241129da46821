"""Every type of causal language model that the installed transformers has: built tiny, checked, and listed on a page."""
