"""Checkpoints of a training: what they hold, how they are written and read, and which of a folder is meant."""
