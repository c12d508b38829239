"""Run a recorded run again: its choices replayed, every step anew, the two compared."""
