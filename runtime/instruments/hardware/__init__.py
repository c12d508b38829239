"""Hardware while something runs: processors, memory and accelerators, sampled beside it."""
