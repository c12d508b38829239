"""Run a recorded run again and compare the two."""
