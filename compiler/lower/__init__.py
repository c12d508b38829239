"""From decisions to a plan's steps."""
