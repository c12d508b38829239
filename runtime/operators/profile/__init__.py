"""Operators that time."""
