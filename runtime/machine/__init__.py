"""Measure the machine, its engines, and the memory of a process."""
