"""What each feature is: statistics, contexts, and the tokens it promotes."""
