"""Memory that a process and its accelerators hold, step by step, and what never gives it back."""
