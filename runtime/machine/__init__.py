"""Measure this machine: how fast it computes, which engines load, and the memory that work takes."""
