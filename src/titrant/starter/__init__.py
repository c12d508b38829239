"""Starter recipes: what is known of a model and its data as keys, the rest as questions."""
