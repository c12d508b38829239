"""Rows beside an earlier release: what it answers now, and its times, memory and bytes beside the new ones."""
