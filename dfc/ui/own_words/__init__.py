"""What each model says itself, those texts first that the other would least have said."""
