"""Operators that report."""
