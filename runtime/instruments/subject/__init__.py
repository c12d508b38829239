"""What an instrument looks at: a live module, a graph or a file of weights, and inputs for it."""
