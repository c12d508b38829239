"""Low-rank factors: where they pay, how they are found, and the module that has them."""
