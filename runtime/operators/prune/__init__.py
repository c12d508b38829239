"""Operators that remove what a network can do without, or set its weights to zero."""
