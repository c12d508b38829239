"""Operators that fit a model's weights."""
