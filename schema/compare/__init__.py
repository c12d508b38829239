"""What differs between two recipes, plans, locks or runs, in causal order."""
