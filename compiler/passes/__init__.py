"""Passes over a plan: each a function from plan to plan."""
