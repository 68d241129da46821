"""The Dedicated Feature Crosscoder: the partitioned dictionary, BatchTopK, and training."""
