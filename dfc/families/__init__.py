"""Every type of causal language model of the installed transformers: built tiny, checked, listed on a page."""
