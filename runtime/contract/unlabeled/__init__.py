"""Judging where only rows that two models decide otherwise need a label, and which rows these are."""
