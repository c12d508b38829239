"""Arithmetic on the damage and the time of regions: which of them a mixture of precisions leaves in float."""
