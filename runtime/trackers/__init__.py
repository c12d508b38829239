"""Trackers: readers of a run's journal, each in a process of its own, that can neither stop nor slow the run."""
