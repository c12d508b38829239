"""Operators that quantize models."""
