"""Checks of numbers: whether arrays and a running model are finite, and what their values look like."""
