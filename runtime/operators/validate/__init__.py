"""Operators that answer, measure and judge."""
