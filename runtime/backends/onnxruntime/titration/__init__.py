"""Repair an int8 graph, and mix precisions in it, region by region."""
