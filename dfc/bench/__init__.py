"""Benchmarks: what is measured stands beside its floor or a peer, in one table of one run."""
