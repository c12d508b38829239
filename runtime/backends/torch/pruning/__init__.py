"""Structured pruning of modules: what must go together, what it is worth, how much of each, and the cut itself."""
