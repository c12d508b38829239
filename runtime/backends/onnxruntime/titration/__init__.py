"""Repair an int8 graph, and mix precisions in it, layer by layer and region by region."""
