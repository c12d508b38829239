"""The weights of a module, a graph or a file, read one at a time, with the output channels in front."""
