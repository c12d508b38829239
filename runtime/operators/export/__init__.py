"""Operators that export."""
