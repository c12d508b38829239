"""Operators that let one network learn from another."""
