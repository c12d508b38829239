"""Training: the loop, and what may be put around it."""
