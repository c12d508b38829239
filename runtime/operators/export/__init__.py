"""Operators that export models to other formats."""
