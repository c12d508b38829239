"""What decides which regions of a graph stay in float: the regions themselves, and the mixes made of them."""
