"""Arrays of torch, NumPy and MLX: which library an array is of, and what its numbers are, each read in one pass."""
