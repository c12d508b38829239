"""Operators that fit weights."""
