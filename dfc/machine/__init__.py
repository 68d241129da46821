"""What a machine offers and how long work takes on it: devices, processes of torchrun, progress."""
