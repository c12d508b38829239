"""Checks of a recipe against itself, its files and the catalog; each yields findings and none imports torch."""
