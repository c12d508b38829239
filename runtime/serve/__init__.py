"""Use a released model."""
