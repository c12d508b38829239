"""The worker process: the side of the parent, the side of the child, and what crosses between them."""
