"""Operators that make a network smaller by leaving weights out."""
