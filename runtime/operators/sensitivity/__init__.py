"""Operators that measure what quantizing parts of a model does to its answers."""
