"""Recipes that are built in Python: constructors of their sections, the recipe of them, and its text."""
