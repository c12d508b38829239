"""The evidence pack: documents about a run for those who have to trust it, made from its record alone."""
