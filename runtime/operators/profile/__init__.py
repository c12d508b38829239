"""Operators that time models."""
