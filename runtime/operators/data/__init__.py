"""Operators that load, split and transform data."""
