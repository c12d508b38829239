"""Operators that quantize."""
