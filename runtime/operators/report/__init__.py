"""Operators that write reports."""
