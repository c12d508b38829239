"""Inspection: what is known of a model and its data without training or timing anything."""
