"""Starter recipes: what was found out about a model and its data as keys, the rest as questions."""
